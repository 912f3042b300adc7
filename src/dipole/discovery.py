"""Parts that are found by themselves: the classes of the modules of a package."""

import difflib
import importlib
import pkgutil
from collections.abc import Iterable, Iterator
from types import ModuleType
from typing import Any

from dipole.errors import InputError


def classes_in(package: ModuleType, base: Any, *, having: str) -> Iterator[Any]:
    """Yield the classes in the modules of a package that derive from `base` and define the attribute `having`.

    Args:
        package: searched with its packages.
        base: of the classes.
        having: an attribute that a class must define itself; classes without it are bases of others.

    Example:
        >>> import dipole.methods
        >>> from dipole.methods.base import Method
        >>> "SimCLR" in {cls.__name__ for cls in classes_in(dipole.methods, Method, having="card")}
        True
    """
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, base) and having in vars(value):
                yield value


def unknown(what: str, name: str, known: Iterable[str], advice: str = "") -> InputError:
    """Return the error for a name that nothing has.

    Args:
        what: is looked for, e.g. `"method"`.
        name: that was given.
        known: names there are; the closest is suggested.
        advice: what to do if none is close; all names by default.

    Example:
        >>> print(unknown("method", "simclt", ["simclr", "moco"]))
        there is no method 'simclt'. Did you mean 'simclr'?
        >>> print(unknown("protocol", "x", ["knn", "linear"]))
        there is no protocol 'x': choose from knn, linear.
    """
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1)
    if close:
        return InputError(f"there is no {what} {name!r}. Did you mean {close[0]!r}?")
    return InputError(
        f"there is no {what} {name!r}" + (f". {advice}" if advice else f": choose from {', '.join(names)}.")
    )
