"""Look at a network in training without disturbing it."""

from collections.abc import Iterator
from contextlib import contextmanager

from lightning.pytorch.utilities.seed import isolate_rng
from torch import nn


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
