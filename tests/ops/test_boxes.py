"""Boxes: codes come back, crops are torchvision's inside the map, draws stay in the image."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchvision.ops import roi_align

from dipole.errors import InputError
from dipole.ops import decode_boxes, encode_boxes, random_boxes, rescale_boxes
from dipole.ops.boxes import crop_from_level, roi_align_multilevel

SEEDS = st.integers(0, 2**32)


def boxes_of(seed: int, count: int = 6, side: int = 64) -> torch.Tensor:
    return random_boxes(2, count, (side, side), generator=torch.Generator().manual_seed(seed)).double()


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_codes_come_back(seed: int) -> None:
    boxes, anchors = boxes_of(seed), boxes_of(seed + 1)
    torch.testing.assert_close(decode_boxes(encode_boxes(boxes, anchors), anchors), boxes)


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, size=st.integers(1, 5))
def test_crops_inside_the_map_are_those_of_torchvision(seed: int, size: int) -> None:
    feature = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    boxes = rescale_boxes(boxes_of(seed).clamp(0, 59), 0.9)
    boxes = torch.cat([boxes[..., :2], torch.maximum(boxes[..., 2:], boxes[..., :2] + 4)], dim=-1).clamp_max(60)
    whole = (boxes[..., 2:] - boxes[..., :2] >= 4).all(dim=-1)
    ours = crop_from_level(feature, boxes, 4, size)
    listed = [corners[:, [1, 0, 3, 2]] for corners in boxes]
    theirs = roi_align(feature, listed, size, spatial_scale=0.25, sampling_ratio=1, aligned=False).view_as(ours)
    torch.testing.assert_close(ours[whole], theirs[whole])


def test_a_linear_map_gives_its_value_at_the_centre_of_every_cell_also_beyond_its_edge() -> None:
    y, x = torch.meshgrid(torch.arange(8.0), torch.arange(8.0), indexing="ij")
    boxes = torch.tensor([[[1.0, 2.0, 3.0, 6.0], [6.0, 6.0, 30.0, 30.0]]])
    crops = crop_from_level((10 * y + x)[None, None], boxes, 1, 2)[0, :, 0]
    assert crops[0].tolist() == [[18.0, 20.0], [28.0, 30.0]]
    assert crops[1].tolist() == [[77.0, 77.0], [77.0, 77.0]]


def test_every_box_is_cropped_from_its_level() -> None:
    maps = {level: torch.full((1, 1, 256 >> level, 256 >> level), float(level)) for level in (2, 3, 4)}
    boxes = torch.tensor([[[0.0, 0.0, side, side] for side in (0.0, 100.0, 120.0, 250.0)]])
    assert roi_align_multilevel(maps, boxes, 2)[0, :, 0, 0, 0].tolist() == [2, 2, 3, 4]


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS)
def test_draws_stay_in_the_image_and_repeat(seed: int) -> None:
    first, second = (random_boxes(3, 4, (20, 40), generator=torch.Generator().manual_seed(seed)) for _ in range(2))
    assert torch.equal(first, second)
    assert bool((first >= 0).all())
    assert bool((first <= torch.tensor([20.0, 40.0, 20.0, 40.0])).all())
    assert bool((first[..., 2:] >= first[..., :2]).all())


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(InputError, match="scale"):
        random_boxes(1, 1, (8, 8), scale=(0.0, 1.0))
    with pytest.raises(InputError, match="side"):
        encode_boxes(torch.tensor([[5.0, 0.0, 1.0, 1.0]]), torch.tensor([[0.0, 0.0, 1.0, 1.0]]))
