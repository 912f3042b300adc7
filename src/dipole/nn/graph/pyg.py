"""PyTorch Geometric, which is optional."""

import importlib
import warnings
from functools import cache
from typing import Any

from dipole.errors import InputError


@cache
def torch_geometric(module: str = "") -> Any:
    """Return the package, or one of its modules, when it is first needed.

    Args:
        module: below it, e.g. `"nn"`.

    Raises:
        InputError: it is not installed.

    Example:
        >>> torch_geometric("data").Data.__name__
        'Data'
    """
    try:
        with warnings.catch_warnings():
            # It still uses torch.jit, which torch is about to leave behind; nothing that a user could change.
            warnings.simplefilter("ignore")
            return importlib.import_module(f"torch_geometric.{module}".rstrip("."))
    except ModuleNotFoundError as error:
        raise InputError(f"graphs need the package {error.name}: pip install 'dipole[graph]'.") from error
