"""Finite differences for every input of every path: symmetric or not, shifted or not, in many tiles or one."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from dipole.ops import pairwise_logsumexp, pairwise_softmax_mean, softmax_retrieval
from dipole.ops.pairwise import _LogSumExp, _SymmetricLogSumExp
from dipole.ops.tiles import bounded
from ops.dense import tiles_of

MODERATE, LARGE = 1.7, 450.0  # beyond 0.6 · 709 the row maximum is subtracted


@pytest.fixture(autouse=True, params=["one tile", "many tiles"])
def _tiles(request: pytest.FixtureRequest) -> Iterator[None]:
    entries, columns = (1 << 19, 1024) if request.param == "one tile" else (4, 2)
    with tiles_of(entries, columns):
        yield


def rows(n: int, seed: int, length: float = 1.0) -> Tensor:
    z = torch.randn(n, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (length * z / z.norm(dim=1, keepdim=True)).requires_grad_()


def learnable(scale: float) -> Tensor:
    return torch.tensor(scale, dtype=torch.float64, requires_grad=True)


# A long scale with short rows has the same logits, so that finite differences stay exact.
@pytest.mark.parametrize("scale", [MODERATE, LARGE, -MODERATE])
@pytest.mark.parametrize("exclude", [None, torch.tensor([0, 3, -1, 2]), torch.rand(4, 6) < 0.4])
@pytest.mark.parametrize("weighted", [False, True])
def test_logsumexp(scale: float, exclude: Tensor | None, weighted: bool) -> None:
    log_weight = torch.linspace(-2, 1, 6, dtype=torch.float64) if weighted else None
    queries, keys = rows(4, 0), rows(6, 1)
    assert bounded(queries, keys, torch.tensor(scale), log_weight) == (abs(scale) < LARGE)
    kept = slice(None) if exclude is None or exclude.dtype != torch.bool else ~exclude.all(dim=1)
    assert torch.autograd.gradcheck(
        lambda q, k, s: pairwise_logsumexp(q, k, s, exclude=exclude, log_weight=log_weight)[kept],
        (queries, keys, learnable(scale)),
        eps=1e-7,
        atol=1e-4,
    )


@pytest.mark.parametrize("scale", [MODERATE, LARGE])
@pytest.mark.parametrize("exclude", [None, torch.arange(5), torch.tensor([1, 0, 3, 2, -1])])
def test_symmetric_logsumexp(scale: float, exclude: Tensor | None, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = []

    def record(function: Any) -> Any:
        original = function.forward

        def forward(points_or_queries: Tensor, *others: Any) -> Any:
            paths.append(function)
            return original(points_or_queries, *others)

        return staticmethod(forward)

    for function in (_LogSumExp, _SymmetricLogSumExp):
        monkeypatch.setattr(function, "forward", record(function))
    assert torch.autograd.gradcheck(
        lambda z, s: pairwise_logsumexp(z, z, s, exclude=exclude), (rows(5, 0), learnable(scale)), eps=1e-7, atol=1e-4
    )
    assert set(paths) == {_SymmetricLogSumExp if scale == MODERATE else _LogSumExp}


@pytest.mark.parametrize("scale", [0.0, MODERATE, LARGE])
@pytest.mark.parametrize("value", [None, torch.exp, lambda s: torch.exp(-2 * s)])
@pytest.mark.parametrize("exclude", [None, torch.tensor([0, 3, -1, 2])])
def test_softmax_mean(scale: float, value: Any, exclude: Tensor | None) -> None:
    assert torch.autograd.gradcheck(
        lambda q, k, s: pairwise_softmax_mean(q, k, s, value, exclude=exclude),
        (rows(4, 0), rows(6, 1), learnable(scale)),
        eps=1e-7,
        atol=1e-4,
    )


def test_softmax_mean_of_one_tensor() -> None:
    assert torch.autograd.gradcheck(
        lambda z, s: pairwise_softmax_mean(z, z, s, exclude=torch.arange(5)), (rows(5, 0), learnable(MODERATE))
    )


def test_detached_weights_leave_no_gradient_for_the_scale() -> None:
    queries, keys, scale = rows(4, 0), rows(6, 1), learnable(MODERATE)
    gradients = torch.autograd.grad(
        pairwise_softmax_mean(queries, keys, scale, detach_weights=True).sum(), (queries, keys, scale)
    )
    weights = torch.softmax(MODERATE * queries @ keys.T, dim=1).detach()
    torch.testing.assert_close(gradients[0], weights @ keys)
    torch.testing.assert_close(gradients[1], weights.T @ queries)
    assert gradients[2] == 0


@pytest.mark.parametrize("wanted", [0, 1, 2])
def test_only_the_inputs_that_ask_get_a_gradient(wanted: int) -> None:
    for statistic in (pairwise_logsumexp, pairwise_softmax_mean):
        every = [rows(4, 0), rows(6, 1), learnable(MODERATE)]
        expected = torch.autograd.grad(statistic(*every).sum(), every)[wanted]
        inputs = [leaf if index == wanted else leaf.detach() for index, leaf in enumerate(every)]
        statistic(*inputs).sum().backward()
        torch.testing.assert_close(every[wanted].grad, expected)


def test_second_derivatives() -> None:
    scale = torch.tensor(2.0, dtype=torch.float64, requires_grad=True)
    z, keys = rows(4, 0).detach().requires_grad_(), rows(5, 1).detach().requires_grad_()
    own = torch.arange(4)
    weight = torch.tensor([0.0, -1.0, 0.5, 2.0], dtype=torch.float64)
    for function in (
        lambda z, keys, scale: pairwise_logsumexp(z, z, scale, exclude=own, log_weight=weight),
        lambda z, keys, scale: pairwise_logsumexp(z, keys, scale, exclude=own),
        lambda z, keys, scale: pairwise_softmax_mean(z, keys, scale, torch.exp, exclude=own),
        lambda z, keys, scale: softmax_retrieval(z, z, scale, groups=[1, 3]),
        lambda z, keys, scale: softmax_retrieval(z, keys, scale),
    ):
        assert torch.autograd.gradgradcheck(function, (z, keys, scale))


@pytest.mark.filterwarnings("ignore:.*torch.jit.script.*")
def test_transforms_of_functions_give_the_same_derivatives() -> None:
    z, tangent = rows(4, 0).detach(), rows(4, 1).detach()
    leaf = z.clone().requires_grad_()
    (expected,) = torch.autograd.grad(pairwise_logsumexp(leaf, leaf, 2.0).sum(), leaf)
    loss = lambda x: pairwise_logsumexp(x, x, 2.0).sum()  # noqa: E731
    torch.testing.assert_close(torch.func.grad(loss)(z), expected)
    _, along = torch.func.jvp(loss, (z,), (tangent,))
    torch.testing.assert_close(along, (expected * tangent).sum())
