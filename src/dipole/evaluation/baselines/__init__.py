"""Baselines, a file each. A new file here is found by itself."""

from functools import cache

import dipole.evaluation.baselines
from dipole.discovery import classes_in
from dipole.evaluation.protocol import Baseline


@cache
def baselines(domain: str) -> dict[str, type[Baseline]]:
    """Return the baselines of a domain by name.

    Example:
        >>> list(baselines("images"))
        ['raw pixels']
    """
    found = {cls.name: cls for cls in classes_in(dipole.evaluation.baselines, Baseline, having="name")}
    return {name: cls for name, cls in sorted(found.items()) if domain in cls.domains}
