"""Claims by slug. A new file under `dipole/claims/` with a `CLAIM` is found by itself."""

import importlib
import pkgutil
from functools import cache

import dipole.claims
from dipole.claims.base import Claim
from dipole.discovery import unknown


@cache
def claims() -> dict[str, Claim]:
    """Return every claim by its slug, in alphabetical order.

    Example:
        >>> "cacr" in claims()
        True
    """
    found = {}
    for module in pkgutil.iter_modules(dipole.claims.__path__, "dipole.claims."):
        claim = getattr(importlib.import_module(module.name), "CLAIM", None)
        if claim is not None:
            found[claim.slug] = claim
    return dict(sorted(found.items()))


def get_claim(slug: str) -> Claim:
    """Return a claim.

    Raises:
        InputError: there is no such claim.

    Example:
        >>> get_claim("dcl").slug
        'dcl'
    """
    known = claims()
    if slug not in known:
        raise unknown("claim", slug, known)
    return known[slug]
