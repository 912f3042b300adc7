from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from dipole.errors import InputError
from dipole.methods.optimization import build_optimizer, learning_rate_factor


def network() -> nn.Module:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 2))
    module.register_parameter("temperature", nn.Parameter(torch.tensor(1.0)))
    frozen = nn.Linear(2, 2).requires_grad_(False)
    module.add_module("frozen", frozen)
    return module


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "lars"])
def test_only_matrices_decay(name: Any) -> None:
    module = network()
    optimizer = build_optimizer(module.named_parameters(), name, learning_rate=0.1, weight_decay=0.3, momentum=0.8)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    for key, parameter in module.named_parameters():
        if key.startswith("frozen"):
            assert id(parameter) not in decay
        else:
            assert decay[id(parameter)] == (0.3 if parameter.ndim > 1 else 0.0), key
    assert all(group["lr"] == 0.1 for group in optimizer.param_groups)
    if name in ("sgd", "lars"):
        assert all(group["momentum"] == 0.8 for group in optimizer.param_groups)


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw", "lars"])
def test_a_step_goes_downhill(name: Any) -> None:
    torch.manual_seed(0)
    linear, x = nn.Linear(3, 1), torch.randn(20, 3)
    optimizer = build_optimizer(linear.named_parameters(), name, learning_rate=0.01)
    before = linear(x).square().mean()
    before.backward()
    optimizer.step()
    assert linear(x).square().mean() < before


@given(total=st.integers(1, 300), warmup=st.integers(0, 50), constant=st.booleans())
def test_the_rate_rises_then_falls(total: int, warmup: int, constant: bool) -> None:
    schedule: Any = "constant" if constant else "cosine"
    factors = [learning_rate_factor(step, total, warmup=warmup, schedule=schedule) for step in range(total)]
    assert all(0 <= factor <= 1 for factor in factors)
    assert factors[:warmup] == sorted(factors[:warmup])
    assert factors[warmup:] == sorted(factors[warmup:], reverse=True)
    if warmup < total:
        assert factors[warmup] == 1
        if warmup:
            assert factors[warmup - 1] == 1
    if not constant and warmup < total:
        assert learning_rate_factor(total, total, warmup=warmup) == pytest.approx(0, abs=1e-12)


@given(total=st.integers(1, 300), warmup=st.integers(0, 50), ratio=st.floats(0, 1))
def test_linear_schedules(total: int, warmup: int, ratio: float) -> None:
    def factors(schedule: Any) -> list[float]:
        return [
            learning_rate_factor(step, total, warmup=warmup, schedule=schedule, min_ratio=ratio)
            for step in range(total + 1)
        ]

    clean, official = factors("linear"), factors("linear_contriever")
    assert clean[warmup:] == official[warmup:]
    assert official[:warmup] == pytest.approx([(1 - ratio) * factor for factor in clean[:warmup]])
    if warmup < total:
        assert clean[warmup] == 1
        assert clean[-1] == pytest.approx(ratio)
        assert factors("cosine")[-1] == pytest.approx(ratio)
        steps = [later - earlier for earlier, later in zip(clean[warmup:], clean[warmup + 1 :], strict=False)]
        assert steps == pytest.approx([-(1 - ratio) / (total - warmup)] * len(steps))
    if warmup:
        assert clean[0] == 0


def test_transformers_has_the_same_linear_schedule() -> None:
    transformers = pytest.importorskip("transformers")
    optimizer = torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1.0)
    peer = transformers.get_linear_schedule_with_warmup(optimizer, 7, 40)
    for step in range(40):
        ours = learning_rate_factor(step, 40, warmup=7, schedule="linear")
        assert ours == pytest.approx(peer.get_last_lr()[0])
        optimizer.step()
        peer.step()


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_all_parameters_may_decay(name: Any) -> None:
    module = network()
    optimizer = build_optimizer(
        module.named_parameters(),
        name,
        learning_rate=0.1,
        weight_decay=0.3,
        adam_beta2=0.98,
        adam_epsilon=1e-6,
        decay_all=True,
    )
    (group,) = optimizer.param_groups
    assert len(group["params"]) == len([p for p in module.parameters() if p.requires_grad])
    assert (group["weight_decay"], group["betas"], group["eps"]) == (0.3, (0.9, 0.98), 1e-6)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "rmsprop"}, "optimizer is 'rmsprop': expected 'sgd', 'adam', 'adamw' or 'lars'"),
        ({"learning_rate": 0.0}, "learning_rate is 0.0: expected a number above 0"),
        ({"learning_rate": float("nan")}, "learning_rate is nan"),
        ({"weight_decay": -1e-4}, "weight_decay is -0.0001: expected a number of at least 0"),
        ({"momentum": -0.1}, "momentum is -0.1"),
        ({"adam_beta2": 1.0}, "adam_beta2 is 1.0: expected a number from 0 to below 1"),
        ({"adam_epsilon": 0.0}, "adam_epsilon is 0.0: expected a number above 0"),
    ],
)
def test_numbers_that_no_optimiser_takes(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_optimizer(nn.Linear(2, 2).named_parameters(), **{"learning_rate": 0.1, **options})


@given(total=st.integers(1, 200), warmup=st.integers(0, 50), cycles=st.integers(1, 5))
def test_restarts(total: int, warmup: int, cycles: int) -> None:
    def factors(cycles: int) -> list[float]:
        return [
            learning_rate_factor(step, total, warmup=warmup, schedule="cosine_restarts", cycles=cycles)
            for step in range(total + 1)
        ]

    rates = factors(cycles)
    assert rates[:warmup] == [step / warmup for step in range(min(warmup, total + 1))]
    if warmup < total:
        assert rates[warmup] == 1
        assert rates[-1] == pytest.approx(0, abs=1e-12)
        rises = sum(later > earlier for earlier, later in zip(rates[warmup:], rates[warmup + 1 :], strict=False))
        assert rises <= cycles - 1
        plain = [learning_rate_factor(step, total, warmup=warmup) for step in range(warmup, total + 1)]
        assert factors(1)[warmup:] == pytest.approx(plain, abs=1e-12)


@given(warmup=st.integers(2, 50), start=st.floats(0, 1))
def test_the_first_step_of_the_warmup_can_be_given(warmup: int, start: float) -> None:
    rates = [learning_rate_factor(step, 100, warmup=warmup, warmup_start=start) for step in range(warmup + 1)]
    assert rates[0] == start
    assert rates[warmup - 1 :] == pytest.approx([1, 1])
    default = [learning_rate_factor(step, 100, warmup=warmup) for step in range(warmup)]
    same = [learning_rate_factor(step, 100, warmup=warmup, warmup_start=1 / warmup) for step in range(warmup)]
    assert same == pytest.approx(default)
