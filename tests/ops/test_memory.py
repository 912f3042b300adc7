"""No N × M tensor is made, let alone kept for the gradient: the case of CACR with MoCo's queue."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dipole.losses import (
    cacr_loss,
    cacr_queue_loss,
    clip_loss,
    cloob_loss,
    cwcl_loss,
    info_nce_loss,
    nt_xent_loss,
    symile_loss,
)
from dipole.ops import pairwise_logsumexp, pairwise_logsumexp_both, pairwise_softmax_mean, softmax_retrieval

N, M, D = 256, 65_536, 16


class LargestTensor(TorchDispatchMode):
    """Remember the most entries that any operation returned."""

    def __init__(self) -> None:
        super().__init__()
        self.entries = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for leaf in tree_leaves(result):
            if isinstance(leaf, Tensor):
                self.entries = max(self.entries, leaf.numel())
        return result


def measure(function: Callable[[], Tensor], *leaves: Tensor) -> tuple[int, int]:
    """Entries of all distinct tensors kept for the gradient, and of the largest one in either pass."""
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes() // tensor.element_size()
        return tensor

    with LargestTensor() as largest:
        with saved_tensors_hooks(keep, lambda tensor: tensor):
            result = function().sum()
        torch.autograd.grad(result, leaves)
    return sum(kept.values()), largest.entries


@pytest.fixture
def nothing_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep no exponentials, so that all that grows with N · M is seen."""
    monkeypatch.setattr("dipole.ops.tiles.KEPT_ENTRIES", {"cpu": 0})


def rows(*shape: int) -> Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(0)), dim=-1)


def test_the_measure_sees_a_dense_matrix() -> None:
    queries, keys = rows(20, D).requires_grad_(), rows(300, D)
    kept, largest = measure(lambda: (queries @ keys.T).logsumexp(dim=1), queries)
    assert kept >= 20 * 300
    assert largest == 20 * 300


@pytest.mark.parametrize("statistic", [pairwise_logsumexp, pairwise_softmax_mean])
def test_statistics_with_a_queue(statistic: Callable[..., Tensor]) -> None:
    queries, keys = rows(N, D).requires_grad_(), rows(M, D)
    kept, largest = measure(lambda: statistic(queries, keys, 5.0), queries)
    assert kept <= (N + M) * D + 8 * N
    assert largest <= M * D < N * M / 8


@pytest.mark.usefixtures("nothing_kept")
@pytest.mark.parametrize("scale", [5.0, 500.0])
def test_statistics_of_both_directions_and_of_vectors(scale: float) -> None:
    queries, keys = rows(N, D).requires_grad_(), rows(M, D).requires_grad_()
    for function in (
        lambda: torch.cat(pairwise_logsumexp_both(queries, keys, scale)),
        lambda: softmax_retrieval(queries, keys, scale),
    ):
        kept, largest = measure(function, queries, keys)
        assert kept <= (2 * N + M) * D + M + 8 * N
        assert largest <= M * D < N * M / 8


def test_cacr_with_a_queue() -> None:
    queries, keys, queue = rows(2, N, D).requires_grad_(), rows(2, N, D), rows(M, D)
    kept, largest = measure(lambda: cacr_queue_loss(queries, keys, queue), queries)
    # Normalised and lifted copies of the queue, for each of two views and two statistics: all O(M D).
    assert kept <= 12 * (N + M) * (D + 2) < N * M
    assert largest <= M * (D + 2)


@pytest.mark.usefixtures("nothing_kept")
@pytest.mark.parametrize(
    "loss",
    [
        lambda z: nt_xent_loss(z[0], z[1]),
        lambda z: info_nce_loss(z[0], z[1]),
        lambda z: cacr_loss(z),
        lambda z: cacr_loss(z, cost="rbf"),
        lambda z: clip_loss(z[0], z[1], label_smoothing=0.1),
        lambda z: clip_loss(z[0], z[1], temperature=0.01),
        lambda z: cloob_loss(z[0], z[1]),
        lambda z: cwcl_loss(z[0], z[1]),
        lambda z: symile_loss(z),
    ],
    ids=["nt_xent", "info_nce", "cacr", "cacr rbf", "clip", "clip, shifted", "cloob", "cwcl", "symile"],
)
def test_large_batches(loss: Callable[[Tensor], Tensor]) -> None:
    n = 3000
    views = rows(2, n, 8).requires_grad_()
    kept, largest = measure(lambda: loss(views), views)
    assert kept <= 20 * 2 * n * 10 < n * n
    assert largest <= 1 << 20 < n * n / 8


@pytest.mark.parametrize("affordable", [0, 10_000, 100_000, 10**9])
def test_what_is_kept_is_limited(monkeypatch: pytest.MonkeyPatch, affordable: int) -> None:
    monkeypatch.setattr("dipole.ops.tiles.KEPT_ENTRIES", {"cpu": affordable})
    monkeypatch.setattr("dipole.ops.tiles.TILE_ENTRIES", {"cpu": 64 * 64})
    monkeypatch.setattr("dipole.ops.tiles.TILE_COLUMNS", 64)
    n, linear = 300, 2 * 300 * (D + 4)
    z = rows(n, D).requires_grad_()
    # Of a symmetric matrix 5 square tiles in a row make 15 on and above the diagonal.
    for function, most in (
        (lambda: torch.cat(pairwise_logsumexp_both(z, z.flip(0), 5.0)), n * n),
        (lambda: pairwise_logsumexp(z, z, 5.0), (n * n + 4 * 64 * 64 + 44 * 44) // 2),
    ):
        kept, _ = measure(function, z)
        bound = min(affordable, most)
        assert bound - 64 * 64 <= kept <= bound + linear
