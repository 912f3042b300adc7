"""Look at a network in training without disturbing it, and move what it reads to its device."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn


@contextmanager
def undisturbed(module: nn.Module) -> Iterator[None]:
    """Put a module in evaluation mode for a while.

    Afterwards every part is in the mode it was in, and all global random states are as before.

    Example:
        >>> layer = nn.Dropout()
        >>> with undisturbed(layer):
        ...     layer.training
        False
        >>> layer.training
        True
    """
    modes = {part: part.training for part in module.modules()}
    with isolate_rng():
        module.eval()
        try:
            yield
        finally:
            for part, training in modes.items():
                part.training = training


def moved(value: Any, device: torch.device) -> Any:
    """Return nested tuples and lists of tensors on a device.

    Example:
        >>> moved([(1, torch.ones(1))], torch.device("cpu"))
        [(1, tensor([1.]))]
    """
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(moved(each, device) for each in value))
    return type(value)(moved(each, device) for each in value) if isinstance(value, list | tuple) else value
