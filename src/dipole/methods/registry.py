"""Methods by name. A new file under `dipole/methods/` is found by itself."""

import difflib
import importlib
import pkgutil
from functools import cache

import dipole.methods
from dipole.errors import InputError
from dipole.methods.base import Method


@cache
def methods() -> dict[str, type[Method]]:
    """Return every method class by the name on its card, in alphabetical order.

    Example:
        >>> "cacr" in methods()
        True
    """
    found: dict[str, type[Method]] = {}
    for module in pkgutil.walk_packages(dipole.methods.__path__, "dipole.methods."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, Method) and "card" in vars(value):
                found[value.card.name] = value
    return dict(sorted(found.items()))


def get_method(name: str) -> type[Method]:
    """Return the method class of a name.

    Raises:
        InputError: there is no such method; the message names the closest ones.

    Example:
        >>> get_method("simclr").__name__
        'SimCLR'
    """
    known = methods()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else "`dipole methods` lists them."
        raise InputError(f"there is no method {name!r}. {hint}")
    return known[name]
