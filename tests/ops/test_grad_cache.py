from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.losses import nt_xent_loss
from dipole.ops import GradCache


def encoder(dropout: float = 0.0, norm: bool = False) -> nn.Sequential:
    torch.manual_seed(0)
    middle: list[nn.Module] = [nn.BatchNorm1d(8)] if norm else []
    return nn.Sequential(nn.Linear(5, 8), *middle, nn.ReLU(), nn.Dropout(dropout), nn.Linear(8, 3)).double()


def inputs() -> Tensor:
    return torch.randn(10, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()


def loss_and_gradients(encode: Callable[[Tensor], Tensor], module: nn.Module, x: Tensor) -> list[Tensor]:
    torch.manual_seed(3)
    loss = nt_xent_loss(*encode(x).chunk(2))
    # What is drawn in between must not reach the second pass.
    torch.rand(7)
    return [loss.detach(), *torch.autograd.grad(loss, [*module.parameters(), x])]


@pytest.mark.parametrize("chunk_size", [1, 3, 5, 10, 64])
@pytest.mark.parametrize("dropout", [0.0, 0.4])
def test_equals_direct_encoding(chunk_size: int, dropout: float) -> None:
    module, x = encoder(dropout), inputs()

    def in_chunks(rows: Tensor) -> Tensor:
        return torch.cat([module(chunk) for chunk in rows.split(chunk_size)])

    expected = loss_and_gradients(in_chunks, module, x)
    found = loss_and_gradients(GradCache(module, chunk_size), module, x)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-14)
    if dropout == 0:
        torch.testing.assert_close(found[0], nt_xent_loss(*module(x).chunk(2)).detach())


def test_dropout_is_drawn() -> None:
    module, x = encoder(0.4), inputs()
    cached = GradCache(module, 4)
    assert not torch.equal(cached(x), cached(x))


def test_batch_statistics_are_counted_once() -> None:
    x = inputs().detach()
    direct, cached = encoder(norm=True), encoder(norm=True)
    torch.cat([direct(chunk) for chunk in x.split(5)]).sum().backward()
    GradCache(cached, 5)(x).sum().backward()
    for (name, ours), theirs in zip(cached.named_buffers(), direct.buffers(), strict=True):
        torch.testing.assert_close(ours, theirs, msg=name)
    for ours, theirs in zip(cached.parameters(), direct.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_no_pass_sees_more_than_a_chunk() -> None:
    module, seen = encoder(), []
    module.register_forward_pre_hook(lambda _, rows: seen.append(len(rows[0])))
    loss = GradCache(module, 4)(inputs().detach()).sum()
    assert seen == [4, 3, 3]
    loss.backward()
    assert sorted(seen) == [3, 3, 3, 3, 4, 4]


def test_a_chunk_of_one_row_has_no_batch_statistics() -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    assert GradCache(module, 4)(torch.randn(9, 3)).shape == (9, 2)
    with pytest.raises(InputError, match="leave a chunk of one row"):
        GradCache(module, 2)(torch.randn(5, 3))


def test_without_gradients_every_chunk_is_encoded_once() -> None:
    module, calls = encoder(), []
    module.register_forward_hook(lambda *_: calls.append(1))
    with torch.no_grad():
        GradCache(module, 4)(inputs())
    assert len(calls) == 3


@pytest.mark.parametrize("chunk_size", [0, -2])
def test_chunks_without_rows(chunk_size: int) -> None:
    with pytest.raises(InputError, match=f"chunk_size is {chunk_size}: expected 1 or more"):
        GradCache(nn.Identity(), chunk_size)
