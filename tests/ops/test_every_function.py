"""Every public function answers extreme arguments with finite numbers or an `InputError`, and with nothing else."""

import inspect
import itertools
import math
import typing
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

import dipole.diagnostics
import dipole.evaluation
import dipole.losses
import dipole.ops
from dipole.errors import InputError
from recorded_calls import changed, recorded_call

MODULES = (dipole.losses, dipole.ops, dipole.diagnostics, dipole.evaluation)
FUNCTIONS = {
    f"{module.__name__.rpartition('.')[2]}.{name}": getattr(module, name)
    for module in MODULES
    for name in module.__all__
    if inspect.isfunction(getattr(module, name))
}
SIZES = {"n": 6, "m": 5, "d": 4, "v": 2, "k": 3, "s": 2, "t": 7, "b": 6}
TRIES = 100  # of each function: half of them from arguments that are made, half from those of its example
# Answers: the first two need a model, and hardly any change leaves the last one a split that fits.
MINIMUM = {"diagnostics.coherence": 0, "evaluation.zero_shot_scores": 0, "evaluation.node_accuracies": 2}
DOCUMENTED_INFINITIES = {"ops.pairwise_logsumexp", "ops.pairwise_logsumexp_both", "evaluation.weighted_knn_log_scores"}


def extreme_tensors(x: Tensor, draw: np.random.Generator) -> list[Any]:
    """What people hand in for a tensor."""
    x = x.detach()
    if not x.numel():
        return [x]
    first = x.clone()
    first.reshape(-1)[:1] = 0
    values: list[Any] = [x, x.double(), x.float(), x.half(), x.bfloat16(), x.long(), x > 0, x.int()]
    values += [x.float() * scale for scale in (1e38, 1e30, 1e19, 1e4, 1e-15, 1e-25, 1e-40, 1e-45, 0.0, -1.0)]
    values += [x.double() * scale for scale in (1e308, 1e150, 1e-300)]
    values += [torch.full_like(x.float(), value) for value in (math.nan, math.inf, -math.inf, 1.0)]
    values += [x[:0], x[:1], x[..., :1], x[None], x.reshape(-1), x.flatten()[:1].reshape(()), torch.cat([x, x]), first]
    values += [x.numpy(), x.tolist(), x.double().numpy(), x.to_sparse(), x.to("meta"), x + 1000, x.long() - 100]
    values += [x.float().requires_grad_(), torch.zeros(3, 0), torch.tensor([]), None, "text", [[1.0], [1.0, 2.0]], {}]
    values.append(torch.complex(x.float(), x.float()))
    return [values[int(draw.integers(len(values)))]]


NUMBERS = [0, 1, 2, -1, 5, 1000, 0.0, 0.1, 0.5, 1.0, 1e-45, 1e-20, 1e-4, 1e4, 1e20, 1e38, 1e300, -0.5]
NUMBERS += [math.nan, math.inf, -math.inf]
SCALARS = [torch.tensor(0.1), torch.tensor([0.1]), torch.tensor([[0.1]]), torch.tensor(math.nan), torch.ones(2)]


def usual(name: str, annotation: Any, sizes: dict[str, int], draw: np.random.Generator) -> Any:
    """A plausible argument for an annotation."""
    choices = typing.get_args(annotation) if not hasattr(annotation, "dim_str") else ()
    shaped = next((kind for kind in (annotation, *choices) if hasattr(kind, "dim_str")), None)
    if shaped is not None:
        words = [word.lstrip("*#").split("=")[-1] for word in shaped.dim_str.split()]
        shape = [int(word) if word.isdigit() else sizes.get(word, 3) for word in words if word != "..."]
        generator = torch.Generator().manual_seed(int(draw.integers(1 << 30)))
        kinds = str(shaped.dtypes)
        if "bool" in kinds and "float" not in kinds:
            return torch.rand(shape, generator=generator) > 0.5
        if "int" in kinds and "float" not in kinds:
            return torch.randint(0, 2, shape, generator=generator)
        return torch.randn(shape, generator=generator) if shape else torch.tensor(0.3)
    if annotation is int:
        return 2
    if annotation is str or "Literal" in str(annotation):
        return next(iter(typing.get_args(annotation)), "text")
    if "Tensor" in str(annotation):
        return torch.randn(6, 4)
    return 0.5


def attempts(function: Callable[..., Any], draw: np.random.Generator, count: int) -> typing.Iterator[dict[str, Any]]:
    """Arguments, usual ones but for one or two."""
    parameters = {
        name: parameter
        for name, parameter in inspect.signature(function).parameters.items()
        if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL) and name != "gather"
    }
    for number in range(count):
        arguments = {
            name: usual(name, parameter.annotation, SIZES, draw)
            for name, parameter in parameters.items()
            if parameter.default is parameter.empty
        }
        for name in draw.permutation(list(parameters))[: number % 3]:
            annotation = parameters[str(name)].annotation
            value = arguments.get(str(name), usual(str(name), annotation, SIZES, draw))
            if isinstance(value, Tensor) and value.ndim:
                arguments[str(name)] = extreme_tensors(value, draw)[0]
            elif annotation is bool:
                arguments[str(name)] = not parameters[str(name)].default
            elif isinstance(value, (float, Tensor)):
                arguments[str(name)] = [*NUMBERS, *SCALARS][int(draw.integers(len(NUMBERS) + len(SCALARS)))]
            elif isinstance(value, int):
                arguments[str(name)] = int(draw.choice([-1, 0, 1, 2, 3, 7]))
        yield arguments


def from_example(name: str, draw: np.random.Generator, count: int) -> typing.Iterator[dict[str, Any]]:
    """The arguments of a function's example, all but the first time with one or two of them changed."""
    arguments = recorded_call(name.rpartition(".")[2], FUNCTIONS[name])
    yield dict(arguments)
    if not arguments:
        return
    for number in range(1, count):
        tried = dict(arguments)
        for key in draw.permutation(list(tried))[: 1 + number % 2]:
            tried[str(key)] = changed(tried[str(key)], lambda value: extreme(value, draw), draw)
        yield tried


def extreme(value: Any, draw: np.random.Generator) -> Any:
    """What people hand in instead of a value."""
    if isinstance(value, Tensor) and value.ndim:
        return extreme_tensors(value, draw)[0]
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return int(draw.choice([-1, 0, 1, 2, 3, 7, 40]))
    if isinstance(value, float | Tensor):
        return [*NUMBERS, *SCALARS][int(draw.integers(len(NUMBERS) + len(SCALARS)))]
    if isinstance(value, str):
        return ["", "unknown", "a b", value][int(draw.integers(4))]
    return value


def not_finite(result: Any) -> bool:
    """Whether a result holds NaN or infinity."""
    if isinstance(result, Tensor):
        return result.is_floating_point() and not bool(result.isfinite().all())
    if isinstance(result, float):
        return not math.isfinite(result)
    return isinstance(result, tuple) and any(not_finite(part) for part in result)


def moderate(name: str, value: Any) -> bool:
    """Whether an argument is so far from the limits of its type that derivatives have room."""
    if isinstance(value, Tensor):
        largest = float(value.detach().double().abs().max()) if value.numel() else 0.0
        if value.dtype in (torch.float16, torch.bfloat16) or ("temperature" in name and largest < 1e-4):
            return False
        return not value.is_floating_point() or largest == 0 or 1e-30 <= largest <= 1e4
    return not isinstance(value, float) or value == 0 or 1e-4 <= abs(value) <= 1e4


def bad_gradient(result: Any, arguments: dict[str, Any]) -> bool:
    """Whether a gradient of a result with respect to an argument holds NaN or infinity."""
    parts = [part for part in (result if isinstance(result, tuple) else (result,)) if isinstance(part, Tensor)]
    outputs = [part for part in parts if part.requires_grad and part.numel()]
    inputs = [value for value in arguments.values() if isinstance(value, Tensor) and value.requires_grad]
    if not outputs or not inputs or not all(itertools.starmap(moderate, arguments.items())):
        return False
    total = sum((part.double().mean() for part in outputs), torch.zeros((), dtype=torch.float64))
    gradients = torch.autograd.grad(total, inputs, allow_unused=True)
    return any(not_finite(gradient) for gradient in gradients)


def with_gradients(arguments: dict[str, Any]) -> dict[str, Any]:
    """The same arguments, as leaves whose gradients are asked for."""
    return {
        name: value.detach().requires_grad_()
        if isinstance(value, Tensor) and value.is_floating_point() and value.device.type == "cpu"
        else value
        for name, value in arguments.items()
    }


def call(function: Callable[..., Any], arguments: dict[str, Any]) -> Any:
    """Call a function with arguments by name, those of `*name` in their order."""
    rest = [each.name for each in inspect.signature(function).parameters.values() if each.kind is each.VAR_POSITIONAL]
    named = dict(arguments)
    positional = [value for name in rest for value in named.pop(name, ())]
    return function(*positional, **named)


def faults_of(name: str, count: int, seed: int = 0) -> tuple[list[str], int]:
    """What goes wrong in `count` tries of a function, and how often there was a result."""
    faults, answered = [], 0
    draw = np.random.default_rng([seed, *map(ord, name)])
    made = attempts(FUNCTIONS[name], draw, count - count // 2)
    for number, arguments in enumerate(itertools.chain(made, from_example(name, draw, count // 2))):
        if number % 2:
            arguments = with_gradients(arguments)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                result = call(FUNCTIONS[name], arguments)
                if bad_gradient(result, arguments):
                    faults.append(f"{name}: a gradient is not finite")
        except InputError:
            continue
        except Exception as error:
            faults.append(f"{name}: {type(error).__name__} {str(error)[:80]}")
            continue
        answered += 1
        if not_finite(result) and name not in DOCUMENTED_INFINITIES:
            faults.append(f"{name}: not finite")
    return faults, answered


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.usefixtures("unchecked")
def test_extreme_arguments(name: str) -> None:
    faults, answered = faults_of(name, TRIES)
    assert not faults, faults[:5]
    assert answered >= MINIMUM.get(name, 5)  # a function that refuses everything has not been tried


@settings(max_examples=100, deadline=None, derandomize=True)
@given(name=st.sampled_from(sorted(FUNCTIONS)), seed=st.integers(1, 2**32 - 1))
@pytest.mark.usefixtures("unchecked")
def test_other_extreme_arguments(name: str, seed: int) -> None:
    faults, _ = faults_of(name, 10, seed)
    assert not faults, faults


def test_there_are_enough_tries() -> None:
    assert len(FUNCTIONS) * TRIES >= 10_000
