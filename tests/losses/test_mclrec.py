"""The parts of MCLRec's objective that compare views."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dipole.errors import InputError
from dipole.losses import nt_xent_loss
from dipole.losses.mclrec import contrastive_regularizer, mclrec_terms, two_view_info_nce
from losses.table import DIM, assert_same, random

SEEDS = st.integers(0, 2**32)


def by_brackets(a: Tensor, b: Tensor, temperature: float, scope: str) -> Tensor:
    """R as it is written, with the whole matrix."""
    z = torch.cat([a, b])
    scores = z @ z.T / temperature
    rows = torch.arange(len(z))
    partner = rows.roll(len(a))
    other = torch.ones_like(scores, dtype=torch.bool)
    other[rows, rows] = other[rows, partner] = False
    positive, negative = scores[rows, partner], scores[other].view(len(z), -1)
    low, high = (positive, negative.amax(1)) if scope == "row" else (positive.min(), negative.max())
    upper, lower = torch.minimum(low, high), torch.maximum(low, high)
    lower = lower[:, None] if scope == "row" else lower
    return F.relu(positive - upper).mean() + F.relu(lower - negative).mean()


@settings(max_examples=30, deadline=None)
@given(seed=SEEDS, rows=st.integers(2, 9), temperature=st.floats(0.1, 5), scope=st.sampled_from(["row", "batch"]))
def test_the_regularizer_is_its_brackets(seed: int, rows: int, temperature: float, scope: Any) -> None:
    a, b = (z.requires_grad_() for z in random(2, rows, DIM, seed=seed))
    ours = contrastive_regularizer(a, b, temperature=temperature, scope=scope)
    assert_same(ours[None], by_brackets(a, b, temperature, scope)[None], (a, b))
    assert float(ours.detach()) >= -1e-9


@pytest.mark.parametrize("scope", ["row", "batch"])
def test_the_regularizer_in_tiles(scope: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dipole.ops.tiles.TILE_ENTRIES", {"cpu": 16})
    monkeypatch.setattr("dipole.ops.tiles.TILE_COLUMNS", 3)
    a, b = random(2, 10, DIM, seed=1)
    torch.testing.assert_close(contrastive_regularizer(a, b, scope=scope), by_brackets(a, b, 1.0, scope))


@settings(max_examples=20, deadline=None)
@given(seed=SEEDS, rows=st.integers(2, 7))
def test_the_order_of_a_batch_does_not_matter(seed: int, rows: int) -> None:
    h1, h2, z1, z2 = random(4, rows, DIM, seed=seed)
    order = torch.randperm(rows, generator=torch.Generator().manual_seed(seed % 1000))
    there = mclrec_terms(h1, h2, z1, z2)
    back = mclrec_terms(h1[order], h2[order], z1[order], z2[order])
    torch.testing.assert_close(torch.stack(there), torch.stack(back))


def test_gradients_are_finite_differences() -> None:
    h1, h2, z1, z2 = (z.requires_grad_() for z in random(4, 4, DIM, seed=3))
    torch.autograd.gradcheck(lambda *z: torch.stack(mclrec_terms(*z, temperature=0.7)), (h1, h2, z1, z2))


def test_the_parts_add_up() -> None:
    h1, h2, z1, z2 = random(4, 5, DIM, seed=2)
    terms = mclrec_terms(h1, h2, z1, z2, temperature=0.5, similarity="cosine", view_temperature=2.0, scope="batch")
    torch.testing.assert_close(terms.sequences, nt_xent_loss(h1, h2, temperature=0.5))
    pairs = ((h1, z2), (h2, z1), (z1, z2))
    views = sum(nt_xent_loss(a, b, temperature=2.0, normalize=False) for a, b in pairs)
    torch.testing.assert_close(terms.views, views)
    regularizer = sum(contrastive_regularizer(a, b, temperature=0.5, scope="batch") for a, b in pairs)
    torch.testing.assert_close(terms.regularizer, regularizer)


def test_a_batch_of_one_has_nothing_to_contrast_with() -> None:
    parts = [z.requires_grad_() for z in random(4, 1, DIM)]
    terms = mclrec_terms(*parts)
    assert torch.stack(terms).tolist() == [0, 0, 0]
    for gradient in torch.autograd.grad(torch.stack(terms).sum(), parts):
        assert not gradient.any()


def test_large_inner_products_stay_finite() -> None:
    h1, h2 = random(2, 6, DIM) * 1e4
    terms = mclrec_terms(h1.float(), h2.float(), F.normalize(h1.float()), F.normalize(h2.float()))
    assert bool(torch.stack(terms).isfinite().all())


def test_identical_rows_leave_no_gap() -> None:
    z = torch.ones(3, DIM, dtype=torch.float64)
    assert float(contrastive_regularizer(z, z)) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda a, b: two_view_info_nce(a, b, similarity="euclidean"), "similarity is 'euclidean'"),  # type: ignore[arg-type]
        (lambda a, b: two_view_info_nce(a, b, temperature=0.0), "temperature is 0"),
        (lambda a, b: two_view_info_nce(a, b[:2]), "shapes differ"),
        (lambda a, b: two_view_info_nce(a[:1], b[:1] * torch.nan), "NaN"),
        (lambda a, b: contrastive_regularizer(a, b, scope="all"), "scope is 'all'"),  # type: ignore[arg-type]
        (lambda a, b: contrastive_regularizer(a, b, temperature=-1.0), "temperature is -1"),
        (lambda a, b: contrastive_regularizer(a, b * torch.nan), "NaN"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_mistakes(call: Any, message: str) -> None:
    a, b = random(2, 3, DIM)
    with pytest.raises(InputError, match=message):
        call(a, b)
