"""Every public function answers extreme arguments with finite numbers or an `InputError`, and with nothing else."""

import inspect
import math
import typing
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import dipole.diagnostics
import dipole.evaluation
import dipole.losses
import dipole.ops
from dipole.errors import InputError

MODULES = (dipole.losses, dipole.ops, dipole.diagnostics, dipole.evaluation)
FUNCTIONS = {
    f"{module.__name__.rpartition('.')[2]}.{name}": getattr(module, name)
    for module in MODULES
    for name in module.__all__
    if inspect.isfunction(getattr(module, name))
}
SIZES = {"n": 6, "m": 5, "d": 4, "v": 2, "k": 3, "s": 2, "t": 7, "b": 6}
TRIES = 100  # of each function
DOCUMENTED_INFINITIES = {"ops.pairwise_logsumexp", "ops.pairwise_logsumexp_both", "evaluation.weighted_knn_log_scores"}


def extreme_tensors(x: Tensor, draw: np.random.Generator) -> list[Any]:
    """What people hand in for a tensor."""
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


def not_finite(result: Any) -> bool:
    """Whether a result holds NaN or infinity."""
    if isinstance(result, Tensor):
        return result.is_floating_point() and not bool(result.isfinite().all())
    if isinstance(result, float):
        return not math.isfinite(result)
    return isinstance(result, tuple) and any(not_finite(part) for part in result)


def faults_of(name: str, count: int) -> tuple[list[str], int]:
    """What goes wrong in `count` tries of a function, and how often there was a result."""
    faults, answered = [], 0
    draw = np.random.default_rng(sum(map(ord, name)))
    for arguments in attempts(FUNCTIONS[name], draw, count):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                result = FUNCTIONS[name](**arguments)
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
    faults, _ = faults_of(name, TRIES)
    assert not faults, faults[:5]


def test_there_are_enough_tries() -> None:
    assert len(FUNCTIONS) * TRIES >= 10_000
