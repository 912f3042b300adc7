"""Decoders by name. A new file under `dipole/decoding/` is found by itself."""

import difflib
import importlib
import pkgutil
from functools import cache

import dipole.decoding
from dipole.decoding.base import Decoder
from dipole.errors import InputError


@cache
def decoders() -> dict[str, type[Decoder]]:
    """Return every decoder class by the name on its card, in alphabetical order.

    Example:
        >>> list(decoders())[:3]
        ['adacad', 'beam', 'cad']
    """
    found: dict[str, type[Decoder]] = {}
    for module in pkgutil.walk_packages(dipole.decoding.__path__, "dipole.decoding."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, Decoder) and "card" in vars(value):
                found[value.card.name] = value
    return dict(sorted(found.items()))


def get_decoder(name: str) -> type[Decoder]:
    """Return the decoder class of a name.

    Raises:
        InputError: there is no such decoder; the message names the closest one, or all.

    Example:
        >>> get_decoder("contrastive-search").__name__
        'ContrastiveSearch'
    """
    known = decoders()
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        hint = f"Did you mean {close[0]!r}?" if close else f"There are {', '.join(known)}."
        raise InputError(f"there is no decoder {name!r}. {hint}")
    return known[name]
