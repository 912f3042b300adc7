"""Start from the weights of another run."""

import logging
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from dipole.errors import InputError
from dipole.methods.base import Method
from dipole.runs.checkpoint import SafeCheckpointIO
from dipole.runs.loading import load
from dipole.runs.safety import is_pickle

logger = logging.getLogger(__name__)


@torch.no_grad()
def initialise(method: Method, source: str | Path) -> tuple[list[str], list[str]]:
    """Copy the weights of a trained method into another one, where names and shapes agree.

    A method that wraps another one gives and takes the weights of what it wraps, too.

    Args:
        method: to be trained.
        source: a run, a model folder, or a file of safetensors: one of the checkpoints of a run, or bare weights.

    Returns:
        Names of what was copied and of what starts anew; a warning counts the latter.

    Raises:
        InputError: there is no model, or nothing of it fits.
    """
    given = method.given_weights(_weights(Path(source)))
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


def _weights(source: Path) -> dict[str, Tensor]:
    """The weights of a run, a folder or a file, by name."""
    if not source.is_file():
        return load(source).state_dict()
    if is_pickle(source):
        raise InputError(f"{source} is a pickle: refused. Expected a file of safetensors.")
    try:
        with safe_open(source, framework="pt") as file:
            whole = "dipole_checkpoint" in (file.metadata() or {})
        if whole:
            checkpoint = SafeCheckpointIO().load_checkpoint(source)
            if "parts" in checkpoint:
                raise InputError(f"{source} names the parts of several processes: give the run, whose model is whole.")
            weights: dict[str, Tensor] = checkpoint["state_dict"]
            return weights
        return load_file(source)
    except (SafetensorError, OSError) as error:
        raise InputError(f"{source} is not a whole file of safetensors ({error}).") from error
