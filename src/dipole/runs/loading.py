"""Load what a run has trained, whatever its domain."""

from pathlib import Path

from torch import nn

from dipole.errors import InputError
from dipole.methods.base import Method
from dipole.runs.domains import domain_of
from dipole.runs.model import DESCRIPTION, model_config, model_folder
from dipole.runs.safety import refuse_pickles


def load(path: str | Path, *, encoder: nn.Module | None = None) -> Method:
    """Load the method of a run or of a model folder, ready to embed.

    Args:
        path: a run directory, or the `model` folder in it; or `"hf:user/name"`, which is fetched from a hub once.
        encoder: the module that the method was trained with, if it was not a named encoder.

    Returns:
        The method in evaluation mode.

    Raises:
        InputError: there is no model, a file is not whole, or a pickle lies in the folder.
    """
    if isinstance(path, str) and path.startswith("hf:"):
        from dipole.runs.hub import fetch

        path = fetch(path)
    folder = model_folder(path)
    refuse_pickles(path)
    config = model_config(path)
    try:
        domain = domain_of(config["name"], config["method"])
        method = domain.load(folder, config, encoder)
    except InputError:
        raise
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{folder / DESCRIPTION} does not describe a model of dipole ({error}).") from error
    return method.eval()
