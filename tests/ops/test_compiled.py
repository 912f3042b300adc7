"""Losses inside `torch.compile`, and without a look at values."""

import operator
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

import dipole.losses
from compiled_losses import LOSSES, NOT_COMPILED, tensors_of
from dipole.losses import (
    cacr_loss,
    cut_loss,
    episode_loss,
    icnn_loss,
    message_passing_bounds,
    node_compactness,
    nt_xent_loss,
    supremix_loss,
    symile_loss,
    token_contrastive_loss,
)
from dipole.ops import check_values, pairwise_logsumexp
from losses.table import LOSSES as TABLE
from recorded_calls import recorded_call

WAITS = {"_local_scalar_dense", "nonzero", "equal", "is_nonzero", "masked_select", "bincount", "isin"}
WAITS |= {"_unique", "_unique2", "unique_dim", "unique_consecutive", "_linalg_check_errors"}
PLACED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
SELECTING = {"mix_positive_index"}  # it returns as many pairs as values say
DRAWN = {"draw_transform", "sample_mixing_coefficients"}  # by numpy, on the processor


CLASSES = torch.tensor([0, 0, 1, 1, 2, 2])
EDGES = torch.tensor([[0, 1, 2, 3, 3, 5, 1], [1, 0, 3, 2, 3, 1, 5]])
TOKENS = torch.tensor([[-100, -100, 0, 3, 1, -100], [-100, 2, 2, -100, -100, -100]])
BLAMED = torch.tensor([True, False])
TERMS = ("cross", "suppicnn", "queryicnn", "fullicnn", "prototriplet")


def compactness(a: Tensor, b: Tensor, bound: Any) -> Tensor:
    """Of some nodes of a graph that has a loop."""
    weights, nodes = (torch.eye(4), torch.ones(4) / 2, torch.eye(4), -torch.ones(4) / 2), torch.tensor([5, 1, 3])
    return node_compactness(
        a, weights, b[nodes], message_passing_bounds(EDGES, 6, drop_rate=0.5), EDGES[:, 1:], nodes, bound=bound
    )


# Settings that select or count rows by values, or draw.
SETTINGS: dict[str, Any] = {
    "cacr, false negatives": lambda a, b: cacr_loss(torch.stack([a, b]), false_negatives=CLASSES[:, None] == CLASSES),
    "cacr, rbf, false negatives": lambda a, b: cacr_loss(
        torch.stack([a, b]), cost="rbf", false_negatives=CLASSES[:, None] == CLASSES
    ),
    "compactness": lambda a, b: compactness(a, b, "fast"),
    "compactness, sound": lambda a, b: compactness(a, b, "sound"),
    "cut": lambda a, b: cut_loss(a.expand(2, -1, -1), TOKENS, b.expand(2, -1, -1), TOKENS.roll(1, 1), BLAMED),
    "cut, samples": lambda a, b: cut_loss(
        a.expand(2, -1, -1), TOKENS, b.expand(2, -1, -1), TOKENS.roll(1, 1), BLAMED, reduction="sample", gamma=1.0
    ),
    "cut, all satisfactory": lambda a, b: cut_loss(
        a.expand(2, -1, -1), TOKENS, b.expand(2, -1, -1), TOKENS.roll(1, 1), BLAMED & False
    ),
    "episode": lambda a, b: episode_loss(a, CLASSES, b, CLASSES, terms=TERMS, k=2),
    "episode, to prototypes": lambda a, b: episode_loss(
        a, CLASSES * 3 + 1, b, CLASSES * 3 + 1, terms=TERMS, query_to="prototypes"
    ),
    "icnn, variance": lambda a, b: icnn_loss(a, CLASSES, b, CLASSES, use_variance=True),
    "supremix": lambda a, b: supremix_loss(torch.stack([a, b]), CLASSES.float(), generator=seeded()),
    "supremix, per block": lambda a, b: supremix_loss(
        torch.stack([a, b]), CLASSES.float(), stabilizer="per_block", mix_neg=False
    ),
    "symile": lambda a, b: symile_loss(torch.stack([a, b, a + b]), generator=seeded()),
    "tokens": lambda a, b: token_contrastive_loss(
        torch.stack([a, b]), torch.arange(6) < torch.tensor([[4], [1]]), reduction="sequence_mean", margin=1.2
    ),
}


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


class Waits(TorchDispatchMode):
    """Names of the operations for whose values the processor waits."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.name().removeprefix("aten::").partition(".")[0]
        masks = name in PLACED and any(place is not None and place.dtype == torch.bool for place in args[1])
        repeats = name == "repeat_interleave" and (kwargs or {}).get("output_size") is None
        if name in WAITS or masks or repeats:
            self.found.append(name)
        return function(*args, **(kwargs or {}))


def with_gradients(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.detach().clone().requires_grad_() if value.is_floating_point() else value
    if isinstance(value, dict):
        return {key: with_gradients(entry) for key, entry in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(with_gradients, value))
    return type(value)(map(with_gradients, value)) if isinstance(value, tuple | list) else value


@pytest.mark.slow
def test_losses_compile_whole() -> None:
    # In a process of its own: the types of arguments are checked here, which cannot be compiled.
    script = Path(__file__).parents[1] / "compiled_losses.py"
    result = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=900, check=False)
    assert result.returncode == 0, result.stderr[-3000:]
    assert f"{len(set(LOSSES) - NOT_COMPILED)} losses compile" in result.stdout


class Copies(TorchDispatchMode):
    """From where to where tensors are copied in such a way that the processor waits."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = function(*args, **(kwargs or {}))
        if "copy" in function.name() and not (kwargs or {}).get("non_blocking"):
            source = args[1] if function.name().endswith("copy_") else args[0]
            if source.device != result.device:
                self.found.append((source.device.type, result.device.type))
        return result


def on_an_accelerator(value: Any) -> Any:
    """Tensors of these shapes that have no values, as on an accelerator."""
    if isinstance(value, Tensor):
        return torch.empty(value.shape, dtype=value.dtype, device="cuda")
    if isinstance(value, dict):
        return {key: on_an_accelerator(entry) for key, entry in value.items()}
    if callable(value):
        return lambda *_: on_an_accelerator(value(*(torch.zeros(given.shape) for given in _)))
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(on_an_accelerator, value))
    return type(value)(map(on_an_accelerator, value)) if isinstance(value, tuple | list) else value


def waited_for(function: Any, *arguments: Any, **named: Any) -> list[str]:
    """Names of the operations for whose values a function and its gradient wait."""
    with check_values(False), Waits() as waits:
        for result in tensors_of(function(*arguments, **named)):
            if result.requires_grad:
                result.sum().backward(retain_graph=True)
    return waits.found


@pytest.mark.parametrize("name", sorted(set(LOSSES) - SELECTING - DRAWN))
def test_a_loss_does_not_wait_for_values(name: str) -> None:
    function = getattr(dipole.losses, name)
    assert waited_for(function, **with_gradients(recorded_call(name, function))) == []


@pytest.mark.parametrize("name", sorted(set(LOSSES) - SELECTING - DRAWN))
def test_a_loss_does_not_wait_for_an_accelerator(name: str) -> None:
    # What has no values cannot be looked at: numbers of rows, items, copies to the processor. No accelerator is needed.
    function = getattr(dipole.losses, name)
    arguments = recorded_call(name, function)
    with FakeTensorMode(), Copies() as copies, check_values(False):
        function(**on_an_accelerator(arguments))
    assert copies.found == []


def views() -> list[Tensor]:
    return [torch.randn(6, 4, generator=torch.Generator().manual_seed(seed)).requires_grad_() for seed in range(2)]


@pytest.mark.parametrize("case", sorted(SETTINGS | TABLE))
def test_no_setting_makes_a_loss_wait(case: str) -> None:
    assert waited_for((SETTINGS | TABLE)[case], *views()) == []


@pytest.mark.parametrize("case", SETTINGS)
def test_values_and_gradients_are_the_same_without_a_look(case: str) -> None:
    found = []
    for look in (True, False):
        given = views()
        with check_values(look):
            values = SETTINGS[case](*given)
            found.append((values, torch.autograd.grad(values.sum(), given, materialize_grads=True)))
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_the_same_without_a_look(name: str) -> None:
    function = getattr(dipole.losses, name)
    arguments = recorded_call(name, function)
    torch.manual_seed(0)
    expected = list(tensors_of(function(**arguments)))
    with check_values(False):
        torch.manual_seed(0)
        found = list(tensors_of(function(**arguments)))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_gradients_are_the_same_without_a_look() -> None:
    drawn = torch.Generator().manual_seed(0)
    views = [torch.randn(40, 8, generator=drawn, requires_grad=True) for _ in range(2)]
    expected = torch.autograd.grad(nt_xent_loss(*views, temperature=0.2), views)
    with check_values(False):
        found = torch.autograd.grad(nt_xent_loss(*views, temperature=0.2), views)
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("exclude", [torch.tensor([[0, 2], [-1, 1], [2, 2]]), torch.tensor([1, -1, 0])])
def test_columns_are_left_out_without_a_look(exclude: Tensor) -> None:
    rows = torch.randn(3, 4, generator=torch.Generator().manual_seed(0))
    columns = exclude.reshape(3, -1)
    mask = torch.zeros(3, 3, dtype=torch.bool)
    for row, column in zip(*(columns >= 0).nonzero(as_tuple=True), strict=True):
        mask[row, columns[row, column]] = True
    expected = (rows @ rows.T).masked_fill(mask, -torch.inf).logsumexp(dim=1)
    with check_values(False):
        torch.testing.assert_close(pairwise_logsumexp(rows, rows, exclude=exclude), expected)
    torch.testing.assert_close(pairwise_logsumexp(rows, rows, exclude=exclude), expected)


def test_checks_are_switched_back_on() -> None:
    with pytest.raises(ZeroDivisionError), check_values(False):
        operator.truediv(1, 0)
    with pytest.raises(ValueError, match="NaN"):
        nt_xent_loss(torch.full((2, 2), torch.nan), torch.ones(2, 2))
