import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dipole.errors import InputError
from dipole.losses import clip_loss
from dipole.methods.optimization import build_optimizer
from dipole.nn import LogitScale

UNBOUNDED = {"minimum": None, "maximum": None}


@given(initial=st.floats(1e-3, 1e4))
def test_scale_and_temperature_are_inverse(initial: float) -> None:
    scale = LogitScale(initial, **UNBOUNDED).double()
    assert float(scale().detach()) == pytest.approx(initial, rel=1e-6)
    torch.testing.assert_close(scale() * scale.temperature, torch.ones((), dtype=torch.float64))


def test_the_default_is_clips() -> None:
    scale = LogitScale()
    assert float(scale.log_scale.detach()) == pytest.approx(math.log(1 / 0.07))
    assert (scale.minimum, scale.maximum) == (1.0, 100.0)


@pytest.mark.parametrize(("log_scale", "clamped"), [(9.0, 100.0), (-2.0, 1.0), (2.0, math.exp(2))])
def test_clamping(log_scale: float, clamped: float) -> None:
    scale, free = LogitScale(), LogitScale(**UNBOUNDED)
    for module in (scale, free):
        torch.nn.init.constant_(module.log_scale, log_scale)
        module.clamp_()
    assert float(scale().detach()) == pytest.approx(clamped)
    assert float(free().detach()) == pytest.approx(math.exp(log_scale))


def test_one_bound() -> None:
    scale = LogitScale(0.5, minimum=None, maximum=2.0)
    for value, expected in ((-5.0, math.exp(-5)), (5.0, 2.0)):
        torch.nn.init.constant_(scale.log_scale, value)
        scale.clamp_()
        assert float(scale().detach()) == pytest.approx(expected)


def test_it_learns_unless_fixed_and_never_decays() -> None:
    x, y = torch.randn(2, 8, 4, generator=torch.Generator().manual_seed(0))
    for learnable in (True, False):
        scale = LogitScale(learnable=learnable)
        tower = torch.nn.Linear(4, 4)
        module = torch.nn.ModuleList([scale, tower])
        before = scale.log_scale.detach().clone()
        optimizer = build_optimizer(module.named_parameters(), "adamw", learning_rate=0.1, weight_decay=0.5)
        decays = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
        assert decays.get(id(scale.log_scale)) == (0.0 if learnable else None)
        clip_loss(tower(x), y, temperature=scale.temperature).backward()
        optimizer.step()
        assert bool(scale.log_scale != before) == learnable


def test_half_precision_is_raised() -> None:
    scale = LogitScale(4.0).bfloat16()
    assert scale().dtype == scale.temperature.dtype == torch.float32
    assert LogitScale(4.0).double()().dtype == torch.float64


def test_it_is_saved() -> None:
    saved = LogitScale(5.0).state_dict()
    other = LogitScale()
    other.load_state_dict(saved)
    assert float(other().detach()) == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"initial": 0.0}, "initial is 0.0: expected a number above 0"),
        ({"initial": math.inf}, "initial is inf"),
        ({"minimum": -1.0}, "minimum is -1.0"),
        ({"maximum": math.nan}, "maximum is nan"),
        ({"initial": 0.5}, "expected a scale from 1.0 to 100.0"),
        ({"initial": 200.0}, "expected a scale from 1.0 to 100.0"),
    ],
)
def test_numbers_that_are_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        LogitScale(**arguments)  # type: ignore[arg-type]


def test_its_representation() -> None:
    assert "scale=10, minimum=1.0, maximum=100.0, learnable=False" in repr(LogitScale(10.0, learnable=False))
