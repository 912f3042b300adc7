"""CLIP's loss, with several texts, between several modalities."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dipole.errors import InputError
from dipole.losses import clip_loss, info_nce_loss, multi_text_clip_loss, pairwise_clip_loss
from losses.table import DIM, assert_same, random

SEEDS = st.integers(0, 2**32)
X, Y = random(2, 5, DIM)
TEXTS = random(3, 5, DIM, seed=1)


def cosines(x: Tensor, y: Tensor) -> Tensor:
    return F.normalize(x, dim=1) @ F.normalize(y, dim=1).T


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, rows=st.integers(2, 9), smoothing=st.sampled_from([0.0, 0.1, 0.9]), scale=st.floats(0.1, 2000))
def test_by_definition(seed: int, rows: int, smoothing: float, scale: float) -> None:
    leaves = [z.requires_grad_() for z in random(2, rows, DIM, seed=seed)]
    temperature = torch.tensor(1 / scale, dtype=torch.float64, requires_grad=True)
    logits, target = cosines(*leaves) / temperature, torch.arange(rows)
    options: dict[str, Any] = {"label_smoothing": smoothing, "reduction": "none"}
    expected = (F.cross_entropy(logits, target, **options) + F.cross_entropy(logits.T, target, **options)) / 2
    ours = clip_loss(*leaves, temperature=temperature, **options)
    assert_same(ours, expected, (*leaves, temperature))


def test_the_towers_may_be_swapped() -> None:
    torch.testing.assert_close(clip_loss(X, Y, label_smoothing=0.1), clip_loss(Y, X, label_smoothing=0.1))


def test_it_is_the_mean_of_two_info_nce() -> None:
    expected = (info_nce_loss(X, Y, temperature=0.07) + info_nce_loss(Y, X, temperature=0.07)) / 2
    torch.testing.assert_close(clip_loss(X, Y), expected)


def test_a_high_temperature_only_counts_candidates() -> None:
    for value in (
        clip_loss(X, Y, temperature=1e9),
        multi_text_clip_loss(X, TEXTS, temperature=1e9),
        pairwise_clip_loss(torch.stack([X, Y]), temperature=1e9),
    ):
        assert float(value) == pytest.approx(math.log(5), abs=1e-7)


def test_the_gradient_of_the_temperature_is_a_finite_difference() -> None:
    leaves = (X.clone().requires_grad_(), TEXTS.clone().requires_grad_())
    for loss in (
        lambda x, y, t: clip_loss(x, y[0], temperature=t, label_smoothing=0.1),
        lambda x, y, t: multi_text_clip_loss(x, y, temperature=t),
        lambda x, y, t: multi_text_clip_loss(x, y, temperature=t, text_to_image="first"),
        lambda x, y, t: pairwise_clip_loss(torch.stack([x, *y]), temperature=t),
    ):
        temperature = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
        assert torch.autograd.gradcheck(loss, (*leaves, temperature), fast_mode=True)


@settings(max_examples=15, deadline=None)
@given(seed=SEEDS, rows=st.integers(2, 6), versions=st.integers(1, 4))
def test_several_texts_by_definition(seed: int, rows: int, versions: int) -> None:
    image = random(rows, DIM, seed=seed).requires_grad_()
    texts = random(versions, rows, DIM, seed=seed + 1).requires_grad_()
    logits = torch.stack([cosines(image, version) for version in texts]) / 0.2
    to_text = -logits.log_softmax(dim=2).diagonal(dim1=1, dim2=2)
    to_image = -logits.log_softmax(dim=1).diagonal(dim1=1, dim2=2)
    options: dict[str, Any] = {"temperature": 0.2, "reduction": "none"}
    everyone = (to_text.mean(dim=0) + to_image.mean(dim=0)) / 2
    assert_same(multi_text_clip_loss(image, texts, **options), everyone, (image, texts))
    first = (to_text.mean(dim=0) + to_image[0]) / 2
    assert_same(multi_text_clip_loss(image, texts, text_to_image="first", **options), first, (image, texts))


def test_one_text_is_clip() -> None:
    for reading in ("all", "first"):
        loss = multi_text_clip_loss(X, Y[None], text_to_image=reading)
        torch.testing.assert_close(loss, clip_loss(X, Y))
    torch.testing.assert_close(multi_text_clip_loss(X, Y.expand(4, -1, -1)), clip_loss(X, Y))


def test_the_texts_of_an_image_are_no_negatives_of_each_other() -> None:
    """All versions alike in direction: were they negatives, the loss could not vanish."""
    basis = torch.eye(5, dtype=torch.float64)
    assert float(multi_text_clip_loss(basis, basis.expand(3, -1, -1), temperature=0.01)) < 1e-12


def test_pairs_of_modalities() -> None:
    modalities = torch.stack([X, Y, TEXTS[0]])
    terms = torch.stack([clip_loss(X, Y), clip_loss(X, TEXTS[0]), clip_loss(Y, TEXTS[0])])
    torch.testing.assert_close(pairwise_clip_loss(modalities), terms.sum())
    torch.testing.assert_close(pairwise_clip_loss(modalities, pairs="mean"), terms.mean())


@pytest.mark.usefixtures("unchecked")
def test_input_that_is_refused() -> None:
    wrong: list[tuple[Any, str]] = [
        (lambda: clip_loss(X, Y[:4]), "row i of each must belong to the same sample"),
        (lambda: clip_loss(X, Y[:, :3]), "has width 3 and the embeddings before it 4"),
        (lambda: clip_loss(X[0], Y[0]), r"expected embeddings of shape \(N, D\)"),
        (lambda: clip_loss(X[:1], Y[:1]), "a batch of 1 sample has no negatives"),
        (lambda: clip_loss(X, Y, temperature=0.0), "expected a number above 0"),
        (lambda: clip_loss(X, Y, temperature=torch.tensor(-1.0)), r"temperature is -1\.0"),
        (lambda: clip_loss(X, Y, label_smoothing=1.0), "expected a number from 0 to below 1"),
        (lambda: clip_loss(X, Y, reduction="max"), "reduction is 'max'"),  # type: ignore[arg-type]
        (lambda: clip_loss(X.long(), Y.long()), r"type torch\.int64: expected floating point"),
        (lambda: multi_text_clip_loss(X, Y), r"expected \(V, N, D\)"),
        (lambda: multi_text_clip_loss(X, TEXTS[:, :4]), r"image has shape \(5, 4\), texts \(3, 4, 4\)"),
        (lambda: multi_text_clip_loss(X, TEXTS, text_to_image="last"), "text_to_image is 'last'"),  # type: ignore[arg-type]
        (lambda: multi_text_clip_loss(X[:1], TEXTS[:, :1]), "a batch of 1 sample"),
        (lambda: pairwise_clip_loss(TEXTS[:1]), "two or more modalities of N samples"),
        (lambda: pairwise_clip_loss(X), "two or more modalities"),
        (lambda: pairwise_clip_loss(TEXTS, pairs="max"), "pairs is 'max'"),  # type: ignore[arg-type]
        (lambda: pairwise_clip_loss(TEXTS / 0), "modalities contains NaN"),
    ]
    for call, message in wrong:
        with pytest.raises(InputError, match=message):
            call()
