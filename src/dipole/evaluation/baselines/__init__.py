"""Baselines, a file each. A new file here is found by itself."""

import importlib.util
from functools import cache

import dipole.evaluation.baselines
from dipole.discovery import classes_in
from dipole.evaluation.protocol import Baseline, Material


@cache
def baselines(domain: str) -> dict[str, type[Baseline]]:
    """Return the baselines of a domain by name.

    Example:
        >>> list(baselines("images"))
        ['raw pixels']
    """
    found = {cls.name: cls for cls in classes_in(dipole.evaluation.baselines, Baseline, having="name")}
    return {name: cls for name, cls in sorted(found.items()) if domain in cls.domains}


def add_baselines(material: Material) -> None:
    """Put the baselines of a material's domain beside its candidates; what is not installed is said in its notes."""
    for name, baseline in baselines(material.domain).items():
        if baseline.package and importlib.util.find_spec(baseline.package) is None:
            material.notes[name] = f"left out: it needs {baseline.package} (pip install 'dipole[{baseline.extra}]')"
        else:
            material.candidates[name] = baseline(material)
