"""CUT's loss: written out token by token, its limits, and what it refuses."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dipole.errors import InputError
from dipole.losses import cut_loss, inappropriate_tokens
from dipole.losses.cut import response_mean, response_tokens, unlikelihood

V = 5


class Batch:
    """Random logits of responses of several lengths, behind prompts of several lengths."""

    def __init__(self, lengths: tuple[int, ...], negative: tuple[bool, ...], seed: int = 0) -> None:
        generator = torch.Generator().manual_seed(seed)
        shape = (len(lengths), max(lengths) + 5)
        self.judged, self.plain = (torch.randn(*shape, V, generator=generator, dtype=torch.float64) for _ in range(2))
        self.labels, self.labels_plain = torch.full(shape, -100), torch.full(shape, -100)
        for row, length in enumerate(lengths):
            tokens = torch.randint(V, (length,), generator=generator)
            self.labels[row, 3 : 3 + length] = tokens
            self.labels_plain[row, 1 : 1 + length] = tokens
        self.negative = torch.tensor(negative)

    def tensors(self) -> tuple[Tensor, ...]:
        return self.judged, self.labels, self.plain, self.labels_plain, self.negative

    def loss(self, **options: Any) -> Tensor:
        return cut_loss(*self.tensors(), **options)


def literal(batch: Batch, alpha: float, threshold: float, gamma: float, reduction: str, combine: str) -> float:
    """One token after the other."""
    first: list[list[float]] = []
    second: list[list[float]] = []
    for row in range(len(batch.labels)):
        contrast, likelihood = [], []
        places = [t for t in range(batch.labels.shape[1]) if batch.labels[row, t] != -100]
        for t in places:
            token = int(batch.labels[row, t])
            p_judged = float(batch.judged[row, t - 1].softmax(0)[token])
            p_plain = float(batch.plain[row, t - 3].softmax(0)[token])
            likelihood.append(-math.log(p_judged))
            if p_judged > threshold * p_plain:
                contrast.append(-alpha * p_judged**gamma * math.log(1 - p_plain))
            else:
                contrast.append(-math.log(p_plain))
        if places:
            second.append(likelihood)
            if batch.negative[row]:
                first.append(contrast)

    def mean(values: list[list[float]]) -> float:
        if reduction == "sample":
            return sum(sum(row) / len(row) for row in values) / len(values)
        return sum(map(sum, values)) / sum(map(len, values))

    if not first:
        return mean(second)
    return (mean(first) + mean(second)) / (2 if combine == "mean" else 1)


@pytest.mark.parametrize("reduction", ["token", "sample"])
@pytest.mark.parametrize("combine", ["mean", "sum"])
@pytest.mark.parametrize("negative", [(True, False, True, True), (False,) * 4, (True,) * 4])
def test_token_by_token(reduction: str, combine: str, negative: tuple[bool, ...]) -> None:
    batch = Batch((3, 1, 6, 0), negative)
    options: dict[str, Any] = {"alpha": 0.7, "threshold": 1.3, "gamma": 0.5}
    found = batch.loss(reduction=reduction, combine=combine, **options)
    assert float(found) == pytest.approx(literal(batch, **options, reduction=reduction, combine=combine))


@given(st.permutations(range(4)), st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_the_order_of_samples_does_not_matter(order: list[int], seed: int) -> None:
    batch = Batch((3, 1, 6, 2), (True, False, True, False), seed)
    for reduction in ("token", "sample"):
        moved = cut_loss(*(tensor[order] for tensor in batch.tensors()), reduction=reduction)
        torch.testing.assert_close(moved, batch.loss(reduction=reduction))


@pytest.mark.parametrize("reduction", ["token", "sample"])
def test_gradients_are_finite_differences(reduction: str) -> None:
    batch = Batch((2, 3), (True, False))
    batch.judged, batch.plain = batch.judged.requires_grad_(), batch.plain.requires_grad_()

    # Without γ the logits after the judgment act on L1 through the choice of tokens alone, which is a constant.
    def loss(judged: Tensor, plain: Tensor) -> Tensor:
        return cut_loss(judged, batch.labels, plain, batch.labels_plain, batch.negative, reduction=reduction)

    assert torch.autograd.gradcheck(loss, (batch.judged, batch.plain))


def test_only_the_plain_prompt_is_contrasted() -> None:
    batch = Batch((4, 3), (True, False))
    batch.judged, batch.plain = batch.judged.requires_grad_(), batch.plain.requires_grad_()
    for gamma in (0.0, 2.0):
        likelihood = -response_tokens(batch.judged, batch.labels).log_probability.mean()
        (expected,) = torch.autograd.grad(likelihood, batch.judged)
        judged, plain = torch.autograd.grad(batch.loss(gamma=gamma, combine="sum"), (batch.judged, batch.plain))
        torch.testing.assert_close(judged, expected)
        assert bool((plain[1] == 0).all())
        assert bool(plain[0].abs().sum() > 0)


def test_a_large_threshold_leaves_plain_likelihood() -> None:
    batch = Batch((4, 3), (True, True))
    plain = -response_tokens(batch.plain, batch.labels_plain).log_probability.mean()
    judged = -response_tokens(batch.judged, batch.labels).log_probability.mean()
    torch.testing.assert_close(batch.loss(threshold=1e9), (plain + judged) / 2)


def test_a_certain_token_stays_finite() -> None:
    labels = torch.tensor([[-100, 1]])
    certain = torch.tensor([[[0.0, 1e4], [0.0, 0.0]]]).requires_grad_()
    loss = cut_loss(certain.detach(), labels, certain, labels, torch.tensor([True]), threshold=0.5)
    assert float(loss.detach()) == pytest.approx(-math.log(1e-6) / 2, rel=1e-2)
    (gradient,) = torch.autograd.grad(loss, certain)
    assert bool(gradient.isfinite().all())


def test_half_precision_is_computed_in_float32() -> None:
    batch = Batch((4, 3), (True, False))
    half = [each.bfloat16() if each.is_floating_point() else each for each in batch.tensors()]
    whole = [each.float() if each.is_floating_point() else each for each in half]
    assert cut_loss(*half).dtype == torch.float32
    torch.testing.assert_close(cut_loss(*half), cut_loss(*whole))
    assert batch.loss().dtype == torch.float64


def test_the_ratio_must_exceed_the_threshold() -> None:
    judged, plain = torch.tensor([0.4, 0.6, 0.1]).log(), torch.tensor([0.3, 0.2, 0.2]).log()
    assert inappropriate_tokens(judged, plain, threshold=2.0).tolist() == [False, True, False]
    assert inappropriate_tokens(judged, judged, threshold=1.0).tolist() == [False] * 3


def test_parts() -> None:
    assert float(unlikelihood(torch.tensor(0.25).log())) == pytest.approx(-math.log(0.75))
    values, sample = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([1, 1, 4])
    assert float(response_mean(values, sample, "token")) == 2
    assert float(response_mean(values, sample, "sample")) == 2.25


def change(batch: Batch, what: str) -> Batch:
    if what == "another token":
        batch.labels_plain[0, 1] = (batch.labels_plain[0, 1] + 1) % V
    if what == "fewer tokens":
        batch.labels_plain[0, 1] = -100
    if what == "no tokens":
        batch.labels[:], batch.labels_plain[:] = -100, -100
    if what == "unknown token":
        batch.labels[0, 3] = V
    if what == "not a number":
        batch.judged[:] = float("nan")
    return batch


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("another token", "a response differs between both prompts"),
        ("fewer tokens", "a response differs between both prompts"),
        ("no tokens", "no response has a token"),
        ("unknown token", "not in the vocabulary of 5"),
        ("not a number", "probability of a token is 0 or NaN"),
    ],
)
def test_wrong_batches_are_refused(what: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        change(Batch((3, 2), (True, False)), what).loss()


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": -1.0}, "alpha"),
        ({"gamma": -0.1}, "gamma"),
        ({"threshold": 0.0}, "threshold is 0.0: expected a number above 0"),
        ({"threshold": math.inf}, "threshold"),
        ({"reduction": "none"}, "reduction is 'none'"),
        ({"combine": "max"}, "combine is 'max'"),
    ],
)
def test_arguments_out_of_range(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Batch((3, 2), (True, False)).loss(**options)
