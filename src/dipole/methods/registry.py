"""Methods by name. A new file under `dipole/methods/` is found by itself."""

from functools import cache

import dipole.methods
from dipole.discovery import classes_in, unknown
from dipole.methods.base import Method


@cache
def methods() -> dict[str, type[Method]]:
    """Return every method class by the name on its card, in alphabetical order.

    Example:
        >>> "cacr" in methods()
        True
    """
    found = {cls.card.name: cls for cls in classes_in(dipole.methods, Method, having="card")}
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
        raise unknown("method", name, known, "`dipole methods` lists them.")
    return known[name]
