"""Models as people share them: safetensors and a small JSON file."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from dipole.errors import InputError
from dipole.files import atomic_write, read_json, write_json
from dipole.methods.base import Method
from dipole.methods.registry import get_method
from dipole.methods.wrapping import base_of
from dipole.nn.encoders import stored_weights

DESCRIPTION = "dipole.json"  # in the folder of a model: what it is and how it is built


def save_model(
    method: Method, folder: str | Path, *, name: str, arguments: dict[str, Any], facts: dict[str, Any] | None = None
) -> None:
    """Write `dipole.json` and `model.safetensors`.

    Args:
        method: whose weights are written.
        folder: made if it is missing.
        name: of the method.
        arguments: of its constructor, as JSON can hold them.
        facts: what else is needed to embed, e.g. the size of images.
    """
    folder = Path(folder)
    weights = {key: value.detach().cpu().contiguous().clone() for key, value in method.state_dict().items()}
    with atomic_write(folder / "model.safetensors") as temporary:
        save_file(weights, temporary)
    write_json(folder / DESCRIPTION, {"name": name, **(facts or {}), "method": arguments})


def build_method(name: str, arguments: dict[str, Any], *, seed: int = 0, encoder: nn.Module | None = None) -> Method:
    """Build a method with weights drawn from a seed; the global random state is left as it was.

    Args:
        name: of the method.
        arguments: of its constructor.
        seed: of the weights.
        encoder: a module in place of the named encoder.

    Raises:
        InputError: there is no such method or argument.

    Example:
        >>> build_method("simclr", {"temperature": 0.5}).temperature
        0.5
    """
    cls = get_method(name)
    unknown = sorted(set(arguments) - set(cls.arguments()))
    if unknown:
        raise InputError(f"{name} has no argument {unknown[0]!r}: `dipole train {name} --help` lists them.")
    base = base_of(cls, arguments)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if base is not None:
            own = {key: value for key, value in arguments.items() if key != "base"}
            return cls(**{**own, "base": build_method(*base, seed=seed, encoder=encoder)})
        return cls(**{**arguments, **({} if encoder is None else {"encoder": encoder})})


def load_model(folder: Path, config: dict[str, Any], encoder: nn.Module | None = None) -> Method:
    """Load what `save_model` has written.

    Args:
        folder: of the model.
        config: the content of its `dipole.json`.
        encoder: the module that the method was trained with, if it was not a named encoder.

    Raises:
        InputError: the weights are missing or not whole.
    """
    weights = folder / "model.safetensors"
    try:
        stored = load_file(weights)
        with stored_weights(stored):
            method = build_method(config["name"], config["method"], encoder=encoder)
        method.load_state_dict(stored)
    except (SafetensorError, OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())[:300]  # torch names the weights behind its first line
        raise InputError(f"{weights} does not hold the weights of this model ({reason}).") from error
    return method


def model_folder(path: str | Path) -> Path:
    """Return the folder of the model in a run directory, or the folder itself if it is a model.

    Raises:
        InputError: there is no model.
    """
    folder = Path(path)
    if (folder / DESCRIPTION).is_file():
        return folder
    if (folder / "config.yaml").is_file() and not (folder / "model" / DESCRIPTION).is_file():
        raise InputError(f"{path} has no trained model yet: let it finish with `dipole train --resume --out {path}`.")
    if not (folder / "model" / DESCRIPTION).is_file():
        raise InputError(f"there is no run or model at {path}: give the folder that `dipole train … --out` wrote.")
    return folder / "model"


def model_config(path: str | Path) -> dict[str, Any]:
    """Return how the model of a run or of a model folder is built: `name`, `method` and what its domain adds.

    Raises:
        InputError: there is no model, or the file does not describe one.
    """
    file = model_folder(path) / DESCRIPTION
    config = read_json(file)
    if not isinstance(config, dict) or not {"name", "method"} <= set(config):
        raise InputError(f"{file} does not describe a model of dipole.")
    return config
