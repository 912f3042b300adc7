"""Lightning's loggers and callbacks, by their names in settings."""

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch import callbacks as known_callbacks
from lightning.pytorch import loggers as known_loggers
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from dipole.errors import InputError

LOGGERS = ("csv", "tensorboard", "wandb", "mlflow")
MLFLOW = "mlflow.db"  # in the folder of a run


def named_loggers(names: str | Sequence[str] | None, folder: Path) -> list[Any]:
    """Make loggers, which write into the folder of a run.

    Args:
        names: some of `csv`, `tensorboard`, `wandb` and `mlflow`, as a list or separated by commas.
        folder: of the run.

    Raises:
        InputError: there is no such logger, its package is not installed, or it does not start.

    Example:
        >>> named_loggers(None, Path("runs/x"))
        []
    """
    listed = [] if names is None else names.split(",") if isinstance(names, str) else list(names)
    return [_logger(name.strip(), folder) for name in listed if name.strip()]


def _logger(name: str, folder: Path) -> Any:
    """One logger."""
    makers: dict[str, Any] = {
        "csv": lambda: known_loggers.CSVLogger(folder, name="", version="csv"),
        "tensorboard": lambda: known_loggers.TensorBoardLogger(folder, name="", version="tensorboard"),
        "wandb": lambda: known_loggers.WandbLogger(name=folder.name, save_dir=folder),
        "mlflow": lambda: known_loggers.MLFlowLogger(
            folder.name, tracking_uri=f"sqlite:///{(folder / MLFLOW).resolve()}"
        ),
    }
    if name not in makers:
        raise InputError(f"there is no logger {name!r}: expected some of {', '.join(LOGGERS)}.")
    try:
        return makers[name]()
    except ModuleNotFoundError as error:
        raise InputError(f"the logger {name!r} needs a package that is not installed ({error}).") from error
    except Exception as error:  # of its package, whatever that raises
        raise InputError(f"the logger {name!r} does not start: {str(error) or type(error).__name__}") from error


def named_callbacks(given: Sequence[Any] | None) -> list[lightning.Callback]:
    """Make callbacks of `lightning.pytorch.callbacks`; no other code is looked up, whatever settings say.

    Args:
        given: a mapping each, with the class under `name` and its arguments under their own names.

    Raises:
        InputError: there is no such callback, or it refuses its arguments.

    Example:
        >>> [found] = named_callbacks([{"name": "EarlyStopping", "monitor": "loss", "patience": 2}])
        >>> found.patience
        2
    """
    found = []
    for entry in given or ():
        if not isinstance(entry, Mapping) or not isinstance(entry.get("name"), str):
            raise InputError(f"a callback is {entry!r}: expected {{name: EarlyStopping, monitor: loss}} or the like.")
        cls = getattr(known_callbacks, entry["name"], None)
        if not inspect.isclass(cls) or not issubclass(cls, lightning.Callback):
            listed = sorted(name for name in known_callbacks.__all__ if name not in ("Callback", "Checkpoint"))
            raise InputError(f"Lightning has no callback {entry['name']!r}: choose of {', '.join(listed)}.")
        try:
            found.append(cls(**{key: value for key, value in entry.items() if key != "name"}))
        except (TypeError, ValueError, MisconfigurationException, ModuleNotFoundError) as error:
            raise InputError(f"the callback {entry['name']} refuses its arguments: {error}") from error
    return found
