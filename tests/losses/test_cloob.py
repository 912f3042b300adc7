"""InfoLOOB and CLOOB."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dipole.errors import InputError
from dipole.losses import clip_loss, cloob_loss, info_loob_loss, info_nce_loss
from losses.table import DIM, assert_same, random

SEEDS = st.integers(0, 2**32)
X, Y = random(2, 5, DIM)


def leave_one_out(anchors: Tensor, candidates: Tensor, temperature: Any) -> Tensor:
    logits = anchors @ candidates.T / temperature
    own = torch.eye(len(logits), dtype=torch.bool)
    return temperature * (logits.masked_fill(own, -math.inf).logsumexp(dim=1) - logits.diagonal())


def retrieve(stored: Tensor, queries: Tensor, beta: Any) -> Tensor:
    return F.normalize(torch.softmax(beta * queries @ stored.T, dim=1) @ stored, dim=1)


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, rows=st.integers(2, 8), scale=st.floats(0.5, 2000))
def test_info_loob_by_definition(seed: int, rows: int, scale: float) -> None:
    leaves = [z.requires_grad_() for z in random(2, rows, DIM, seed=seed)]
    temperature = torch.tensor(1 / scale, dtype=torch.float64, requires_grad=True)
    expected = leave_one_out(*(F.normalize(z, dim=1) for z in leaves), temperature)
    options: dict[str, Any] = {"temperature": temperature, "reduction": "none"}
    assert_same(info_loob_loss(*leaves, **options), expected, (*leaves, temperature))
    unscaled = info_loob_loss(*leaves, scale_by_temperature=False, **options)
    assert_same(unscaled, expected / temperature, (*leaves, temperature))


@settings(max_examples=25, deadline=None)
@given(seed=SEEDS, rows=st.integers(2, 7), beta=st.sampled_from([0.0, 0.7, 8.0, 60.0, 900.0]))
def test_cloob_by_definition(seed: int, rows: int, beta: float) -> None:
    """β = 900 takes the path with shifted exponentials."""
    leaves = [z.requires_grad_() for z in random(2, rows, DIM, seed=seed)]
    scalars = [torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (0.2, beta)]
    temperature, sharpness = scalars
    x, y = (F.normalize(z, dim=1) for z in leaves)
    u_x, u_y, v_x, v_y = (retrieve(s, q, sharpness) for s, q in ((x, x), (x, y), (y, x), (y, y)))
    expected = leave_one_out(u_x, u_y, temperature) + leave_one_out(v_y, v_x, temperature)
    options: dict[str, Any] = {"temperature": temperature, "beta": sharpness, "reduction": "none"}
    assert_same(cloob_loss(*leaves, **options), expected, (*leaves, *scalars))
    expected = (u_x @ u_y.T / temperature).log_softmax(dim=1) + (v_y @ v_x.T / temperature).log_softmax(dim=1)
    ours = cloob_loss(*leaves, objective="info_nce", **options)
    assert_same(ours, -expected.diagonal() / 2, (*leaves, *scalars))


def test_ablations_without_retrieval() -> None:
    options: dict[str, Any] = {"temperature": 0.2, "reduction": "none"}
    both = info_loob_loss(X, Y, **options) + info_loob_loss(Y, X, **options)
    torch.testing.assert_close(cloob_loss(X, Y, retrieval=False, **options), both)
    unscaled = cloob_loss(X, Y, retrieval=False, scale_by_temperature=False, **options)
    torch.testing.assert_close(unscaled, both / 0.2)
    plain = cloob_loss(X, Y, retrieval=False, objective="info_nce", **options)
    torch.testing.assert_close(plain, clip_loss(X, Y, **options))


def test_a_sharp_retrieval_returns_the_nearest_stored_rows() -> None:
    """Images find themselves among the images, texts their nearest image."""
    x, y = F.normalize(X, dim=1), F.normalize(Y, dim=1)
    nearest = (x @ y.T).argmax(dim=1), (y @ x.T).argmax(dim=1)
    expected = info_loob_loss(x, x[nearest[1]]) + info_loob_loss(y, y[nearest[0]])
    torch.testing.assert_close(cloob_loss(X, Y, beta=1e6), expected)


@pytest.mark.parametrize("temperature", [0.03, 1.0])
def test_a_flat_retrieval_returns_the_mean_for_all(temperature: float) -> None:
    expected = 2 * temperature * math.log(4)
    assert float(cloob_loss(X, Y, temperature=temperature, beta=0.0)) == pytest.approx(expected)


def test_two_pairs_have_one_negative_each() -> None:
    x, y = X[:2], Y[:2]
    s = F.normalize(x, dim=1) @ F.normalize(y, dim=1).T
    torch.testing.assert_close(info_loob_loss(x, y), (s[0, 1] - s[0, 0] + s[1, 0] - s[1, 1]) / 2)


def test_it_does_not_saturate() -> None:
    """Positives at 1, negatives at 0: the gradient of InfoNCE vanishes, that of InfoLOOB does not."""
    basis = torch.eye(4, dtype=torch.float64).requires_grad_()
    options: dict[str, Any] = {"temperature": 0.02, "normalize": False}
    (saturated,) = torch.autograd.grad(0.02 * info_nce_loss(basis, basis.detach(), **options), basis)
    (alive,) = torch.autograd.grad(info_loob_loss(basis, basis.detach(), **options), basis)
    assert saturated.norm() < 1e-15
    torch.testing.assert_close(alive.diagonal(), torch.full((4,), -1 / 4, dtype=torch.float64))


def test_the_loss_can_be_negative() -> None:
    basis = torch.eye(4)
    torch.testing.assert_close(cloob_loss(basis, basis, beta=1e6), torch.tensor(2 * (math.log(3) / 30 - 1)))


@pytest.mark.usefixtures("unchecked")
def test_input_that_is_refused() -> None:
    wrong: list[tuple[Any, str]] = [
        (lambda: info_loob_loss(X, Y[:4]), "row i of each must belong to the same sample"),
        (lambda: info_loob_loss(X[:1], Y[:1]), "a batch of 1 sample has no negatives"),
        (lambda: info_loob_loss(X, Y, temperature=-1.0), "temperature is -1.0"),
        (lambda: cloob_loss(X, Y[:, :3]), "has width 3"),
        (lambda: cloob_loss(X[:1], Y[:1]), "a batch of 1 sample has no negatives"),
        (lambda: cloob_loss(X[:1], Y[:1], retrieval=False), "a batch of 1 sample has no negatives"),
        (lambda: cloob_loss(X, Y, beta=-1.0), "beta is -1.0: expected a number of at least 0"),
        (lambda: cloob_loss(X, Y, beta=torch.tensor(math.nan)), "beta is nan"),
        (lambda: cloob_loss(X, Y, temperature=0.0), "temperature is 0.0"),
        (lambda: cloob_loss(X, Y, objective="nce"), "objective is 'nce': expected one of"),  # type: ignore[arg-type]
        (lambda: cloob_loss(X, Y, reduction="max"), "reduction is 'max'"),  # type: ignore[arg-type]
    ]
    for call, message in wrong:
        with pytest.raises(InputError, match=message):
            call()
