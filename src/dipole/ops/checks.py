"""Checks that every loss makes on its input, so that a mistake is told where it was made."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.door import looking


def check_embeddings(**embeddings: Tensor) -> None:
    """Require finite floating-point matrices `(N, D)` that share D.

    Args:
        embeddings: the tensors under their argument names, which the message repeats.

    Raises:
        InputError: a tensor is not a matrix, not floating point, empty, of another width or not finite.

    Example:
        >>> check_embeddings(z1=torch.ones(4, 2), z2=torch.ones(3, 2))
        >>> check_embeddings(z1=torch.ones(4))
        Traceback (most recent call last):
        ...
        dipole.errors.InputError: z1 has shape (4,): expected embeddings of shape (N, D).
    """
    width: int | None = None
    for name, tensor in embeddings.items():
        if tensor.ndim != 2:
            raise InputError(f"{name} has shape {tuple(tensor.shape)}: expected embeddings of shape (N, D).")
        if not tensor.is_floating_point():
            raise InputError(f"{name} has type {tensor.dtype}: expected floating point. Convert it with .float().")
        if tensor.numel() == 0:
            raise InputError(f"{name} has shape {tuple(tensor.shape)}: expected at least one row and one column.")
        if width is not None and tensor.shape[1] != width:
            raise InputError(f"{name} has width {tensor.shape[1]} and the embeddings before it {width}: project both.")
        width = tensor.shape[1]
        if not looking():
            continue
        # A sum is finite only if every entry is: one cheap pass without a boolean copy of the input.
        if not math.isfinite(float(tensor.detach().sum())) and not bool(torch.isfinite(tensor).all()):
            raise InputError(
                f"{name} contains NaN or infinite values: look at the encoder's output and the learning rate."
            )


def check_same_rows(**embeddings: Tensor) -> None:
    """Require matrices of one shape, whose rows belong to each other.

    Raises:
        InputError: the shapes differ, or a check of `check_embeddings` fails.
    """
    check_embeddings(**embeddings)
    shapes = {name: tuple(tensor.shape) for name, tensor in embeddings.items()}
    if len(set(shapes.values())) > 1:
        listed = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
        raise InputError(f"shapes differ ({listed}): row i of each must belong to the same sample i.")


def check_views(views: Tensor, minimum: int = 2) -> None:
    """Require finite embeddings `(V, N, D)` of at least `minimum` views.

    Raises:
        InputError: another rank, too few views, or a check of `check_embeddings` fails.
    """
    if views.ndim != 3:
        raise InputError(f"views has shape {tuple(views.shape)}: expected (V, N, D), V views of N samples.")
    if views.shape[0] < minimum:
        raise InputError(f"views has shape {tuple(views.shape)}: {minimum} or more views are needed, e.g. two crops.")
    check_embeddings(views=views.flatten(0, 1))


def check_temperature(temperature: float | Tensor, name: str = "temperature") -> None:
    """Require a finite temperature above zero.

    Raises:
        InputError: the value is zero, negative or not finite.
    """
    if not looking():
        return
    if isinstance(temperature, Tensor) and temperature.numel() != 1:
        raise InputError(f"{name} has shape {tuple(temperature.shape)}: expected one number.")
    value = float(temperature.detach() if isinstance(temperature, Tensor) else temperature)
    if not (math.isfinite(value) and value > 0):
        raise InputError(f"{name} is {value}: expected a number above 0; 0.05 to 1 is usual.")


def check_at_least(value: float | Tensor, minimum: float, name: str) -> None:
    """Require a finite number that is `minimum` or more.

    Raises:
        InputError: the value is smaller or not finite.
    """
    if not looking():
        return
    if isinstance(value, Tensor) and value.numel() != 1:
        raise InputError(f"{name} has shape {tuple(value.shape)}: expected one number.")
    value = float(value.detach()) if isinstance(value, Tensor) else value
    if not (math.isfinite(value) and value >= minimum):
        raise InputError(f"{name} is {value}: expected a number of at least {minimum}.")


def check_choice(value: str, choices: Sequence[str], name: str) -> None:
    """Require one of several names.

    Raises:
        InputError: another value.

    Example:
        >>> check_choice("rbf", ("euclidean", "rbf"), "cost")
    """
    if value not in choices:
        raise InputError(f"{name} is {value!r}: expected one of {', '.join(map(repr, choices))}.")


def check_node_pairs(pairs: Tensor, num_nodes: int, name: str) -> Tensor:
    """Return pairs of nodes as int64 (2, E).

    Raises:
        InputError: another shape, a number that is not whole, or a node outside 0 … num_nodes − 1.

    Example:
        >>> check_node_pairs(torch.tensor([[0.0], [1.0]]), 2, "edges").tolist()
        [[0], [1]]
    """
    if pairs.ndim != 2 or len(pairs) != 2:
        raise InputError(f"{name} has shape {tuple(pairs.shape)}: expected (2, E), sources and targets.")
    whole = pairs.detach().long()
    if not looking():
        return whole
    if bool((whole != pairs).any()):
        raise InputError(f"{name} holds numbers that are not whole: expected the numbers of nodes.")
    if whole.numel() and not 0 <= int(whole.min()) <= int(whole.max()) < num_nodes:
        raise InputError(
            f"{name}: edges name nodes from {int(whole.min())} to {int(whole.max())}: expected 0 to {num_nodes - 1}."
        )
    return whole
