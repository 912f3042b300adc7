import math

import pytest
import torch
from torch import nn

from dipole.errors import InputError
from dipole.nn import MomentumEncoder, cosine_momentum, mlp, undisturbed


@pytest.mark.parametrize("layers", [1, 2, 3, 5])
@pytest.mark.parametrize("final_norm", [False, True])
def test_a_head_has_so_many_layers(layers: int, final_norm: bool) -> None:
    head = mlp(6, 10, 4, layers, final_norm=final_norm)
    linear = [part for part in head if isinstance(part, nn.Linear)]
    norms = [part for part in head if isinstance(part, nn.BatchNorm1d)]
    assert len(linear) == layers
    assert len(norms) == layers - 1 + final_norm
    assert [part.in_features for part in linear] == [6] + [10] * (layers - 1)
    assert [part.bias is not None for part in linear] == [False] * (layers - 1) + [not final_norm]
    out = head(torch.randn(8, 6))
    assert out.shape == (8, 4)
    if final_norm:
        torch.testing.assert_close(out.mean(dim=0), torch.zeros(4), atol=1e-6, rtol=0)
        assert not norms[-1].affine


@pytest.mark.parametrize(
    ("sizes", "message"),
    [((6, 10, 4, 0), "a projector of 0 layers"), ((6, 0, 4, 2), "from 6 over 0 to 4"), ((6, 10, -1, 2), "10 to -1")],
)
def test_heads_that_are_none(sizes: tuple[int, int, int, int], message: str) -> None:
    with pytest.raises(InputError, match=message):
        mlp(*sizes)


@pytest.mark.parametrize("momentum", [0.0, 0.9, 1.0])
def test_a_momentum_encoder_is_a_moving_average(momentum: float) -> None:
    online = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    slow = MomentumEncoder(online, momentum)
    before = [parameter.clone() for parameter in slow.module.parameters()]
    with torch.no_grad():
        for parameter in online.parameters():
            parameter.normal_()
    slow.update(online)
    for ours, old, new in zip(slow.module.parameters(), before, online.parameters(), strict=True):
        torch.testing.assert_close(ours, momentum * old + (1 - momentum) * new.detach())


def test_the_momentum_of_one_update_can_be_given() -> None:
    online = nn.Linear(2, 2)
    slow = MomentumEncoder(online, 0.9)
    with torch.no_grad():
        online.weight.add_(1)
    slow.update(online, 0.0)
    torch.testing.assert_close(slow.module.weight, online.weight.detach())
    assert slow.momentum == 0.9


def test_a_momentum_encoder_is_a_copy_without_gradients() -> None:
    online = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    slow = MomentumEncoder(online)
    x = torch.randn(5, 3, requires_grad=True)
    assert not slow(x).requires_grad
    assert not any(parameter.requires_grad for parameter in slow.parameters())
    assert all(parameter.requires_grad for parameter in online.parameters())
    shared = {p.data_ptr() for p in slow.parameters()} & {p.data_ptr() for p in online.parameters()}
    assert not shared
    # Its batch statistics are its own.
    assert int(slow.module[1].num_batches_tracked) == 1  # type: ignore[index]
    assert int(online[1].num_batches_tracked) == 0  # type: ignore[arg-type]


@pytest.mark.parametrize("momentum", [-0.1, 1.1, math.nan])
def test_momenta_out_of_range(momentum: float) -> None:
    with pytest.raises(InputError, match=r"expected a number from 0 to 1, e\.g\. 0\.999"):
        MomentumEncoder(nn.Linear(1, 1), momentum)


def test_cosine_momentum_rises_to_one() -> None:
    values = [cosine_momentum(step / 10, 0.9) for step in range(11)]
    assert values == sorted(values)
    assert values[0] == pytest.approx(0.9)
    assert values[5] == pytest.approx(0.95)
    assert values[-1] == 1


def test_undisturbed_restores_modes_and_randomness() -> None:
    module = nn.Sequential(nn.Dropout(), nn.BatchNorm1d(2).eval())
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    with undisturbed(module):
        assert not any(part.training for part in module.modules())
        torch.rand(7)
    assert [part.training for part in module] == [True, False]
    assert torch.equal(torch.rand(3), expected)


def test_undisturbed_restores_modes_after_an_error() -> None:
    module = nn.Dropout()
    with pytest.raises(ZeroDivisionError), undisturbed(module):
        raise ZeroDivisionError
    assert module.training
