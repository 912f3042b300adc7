"""Losses inside `torch.compile`, and without a look at values."""

import operator
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

import dipole.losses
from compiled_losses import LOSSES, NOT_COMPILED, tensors_of
from dipole.losses import nt_xent_loss
from dipole.ops import check_values, pairwise_logsumexp
from recorded_calls import recorded_call

WAITS = {"_local_scalar_dense", "nonzero", "equal", "_unique2", "is_nonzero", "masked_select", "bincount"}
# They select rows by values, or count how many rows there are of each kind.
WAITING = {"class_concentration", "class_prototypes", "cluster_concentration", "cut_loss", "episode_loss"}
WAITING |= {"message_passing_bounds", "mix_positive_index", "node_compactness", "select_confident"}
DRAWN = {"draw_transform", "sample_mixing_coefficients"}


class Waits(TorchDispatchMode):
    """Names of the operations for whose values the processor waits."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = function.name().removeprefix("aten::").partition(".")[0]
        masks = name.startswith("index") and any(
            isinstance(place, Tensor) and place.dtype == torch.bool
            for place in (args[1] if len(args) > 1 else ()) or ()
        )
        if name in WAITS or masks:
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


@pytest.mark.parametrize("name", sorted(set(LOSSES) - WAITING - DRAWN))
def test_a_loss_does_not_wait_for_values(name: str) -> None:
    function = getattr(dipole.losses, name)
    arguments = with_gradients(recorded_call(name, function))
    with check_values(False), Waits() as waits:
        for result in tensors_of(function(**arguments)):
            if result.requires_grad:
                result.sum().backward(retain_graph=True)
    assert waits.found == []


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
