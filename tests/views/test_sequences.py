"""Views of histories: what each operation may do, and how often."""

from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dipole.errors import InputError
from dipole.views.sequences import NextItem, SequenceViews, crop_sequences, cropped_length, share_of

WIDTH = 9


def records(lengths: list[int]) -> dict[str, Tensor]:
    length = torch.tensor(lengths)
    places = torch.arange(WIDTH)
    history = torch.where(places < length[:, None], places + 1, 0)  # items 1, 2, 3, …
    return {"user": torch.arange(len(lengths)), "history": history, "length": length, "target": length + 1}


def views(lengths: list[int], seed: int = 0, **options: Any) -> dict[str, Tensor]:
    return SequenceViews(**options)(records(lengths), generator=torch.Generator().manual_seed(seed))


@settings(max_examples=50, deadline=None)
@given(
    lengths=st.lists(st.integers(1, WIDTH), min_size=1, max_size=12),
    seed=st.integers(0, 2**32),
    crop=st.floats(0, 1),
    mask=st.floats(0, 1),
    reorder=st.floats(0, 1),
)
def test_every_view_is_a_crop_a_mask_or_a_new_order(
    lengths: list[int], seed: int, crop: float, mask: float, reorder: float
) -> None:
    made = views(lengths, seed, crop=crop, mask=mask, reorder=reorder)
    for row, length in enumerate(lengths):
        own = list(range(1, length + 1))
        for view, kept in zip(made["views"][:, row].tolist(), made["view_lengths"][:, row].tolist(), strict=True):
            assert view[kept:] == [0] * (WIDTH - kept)
            body = view[:kept]
            if length == 1:
                assert body == own
                continue
            masked = sum(item == 0 for item in body)
            moved = [place for place, (old, new) in enumerate(zip(own, body, strict=False)) if new not in (0, old)]
            if kept < length:  # a contiguous part
                assert kept == max(1, int(length * (1 - crop)))
                assert body == list(range(body[0], body[0] + kept))
            elif masked:
                assert masked == int(length * mask)
                assert not moved
            else:
                assert sorted(body) == own
                assert not moved or moved[-1] - moved[0] < int(length * reorder)


def test_two_different_operations_each_as_often() -> None:
    made = views([WIDTH] * 3000)
    crops = (made["view_lengths"] < WIDTH).double().mean()
    assert float(crops) == pytest.approx(1 / 3, abs=0.03)
    assert not ((made["view_lengths"] < WIDTH).all(dim=0)).any()  # never two crops
    masks = ((made["views"] == 0).sum(dim=2) == WIDTH // 2) & (made["view_lengths"] == WIDTH)
    assert float(masks.double().mean()) == pytest.approx(1 / 3, abs=0.03)
    assert not masks.all(dim=0).any()


def test_places_are_uniform() -> None:
    made = views([8] * 6000, crop=0.5, mask=0.25)
    crops = made["view_lengths"] == 4
    starts = made["views"][crops][:, 0]
    shares = torch.bincount(starts, minlength=6)[1:6].double() / len(starts)
    torch.testing.assert_close(shares, torch.full((5,), 0.2, dtype=torch.float64), atol=0.03, rtol=0)
    masks = ((made["views"][..., :8] == 0).sum(dim=2) == 2) & ~crops
    hidden = (made["views"][masks][:, :8] == 0).double().mean(dim=0)
    torch.testing.assert_close(hidden, torch.full((8,), 0.25, dtype=torch.float64), atol=0.03, rtol=0)


def test_the_generator_decides() -> None:
    assert torch.equal(views([5, 9], 3)["views"], views([5, 9], 3)["views"])
    assert not torch.equal(views([9] * 9, 3)["views"], views([9] * 9, 4)["views"])


def test_plain_rows_and_parts() -> None:
    rows = records([3])
    assert NextItem()(rows).keys() == {"history", "length", "target"}
    assert crop_sequences(rows["history"], torch.tensor([1]), torch.tensor([2]))[0].tolist() == [2, 3] + [0] * 7
    assert share_of(torch.tensor([5]), 0.8).tolist() == [4]
    assert cropped_length(torch.tensor([2]), 0.9).tolist() == [1]


@pytest.mark.parametrize("name", ["crop", "mask", "reorder"])
@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_shares_out_of_range(name: str, share: float) -> None:
    with pytest.raises(InputError, match=f"{name} is"):
        SequenceViews(**{name: share})
