"""Start from the weights of another run."""

import logging
from pathlib import Path

import torch

from dipole.errors import InputError
from dipole.methods.base import Method
from dipole.runs.loading import load

logger = logging.getLogger(__name__)


@torch.no_grad()
def initialise(method: Method, source: str | Path) -> tuple[list[str], list[str]]:
    """Copy the weights of a trained method into another one, where names and shapes agree.

    A method that wraps another one gives and takes the weights of what it wraps, too.

    Args:
        method: to be trained.
        source: a run or a model folder.

    Returns:
        Names of what was copied and of what starts anew; a warning counts the latter.

    Raises:
        InputError: there is no model, or nothing of it fits.
    """
    given = method.given_weights(load(source).state_dict())
    given |= {name.removeprefix("base."): value for name, value in given.items() if name.startswith("base.")}
    copied, anew = [], []
    for name, value in method.state_dict().items():
        if name.startswith(method.begins_anew):
            continue
        # A layer with adapters begins as the layer whose weights took in those of the run before.
        names = (name, name.removeprefix("base."), name.replace(".base_layer.", "."))
        found = next((given[each] for each in names if each in given), None)
        if found is not None and found.shape == value.shape:
            value.copy_(found)
            copied.append(name)
        else:
            anew.append(name)
    if not copied:
        raise InputError(f"nothing in {source} has a name and a shape of this method: use the same encoder and sizes.")
    if anew:
        logger.warning("%s: %d of %d weights start anew, such as %s.", source, len(anew), len(anew + copied), anew[0])
    return copied, anew
