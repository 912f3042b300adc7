"""Protocols, a file each. A new file here is found by itself."""

from functools import cache

import dipole.evaluation.protocols
from dipole.discovery import classes_in, unknown
from dipole.evaluation.protocol import Protocol


@cache
def protocols(domain: str) -> dict[str, type[Protocol]]:
    """Return the protocols of a domain by name, in the order of the table.

    Example:
        >>> list(protocols("images"))[:2]
        ['knn', 'linear']
    """
    found = [cls for cls in classes_in(dipole.evaluation.protocols, Protocol, having="name") if domain in cls.domains]
    return {cls.name: cls for cls in sorted(found, key=lambda cls: (not cls.by_default, cls.place, cls.name))}


def get_protocol(domain: str, name: str) -> type[Protocol]:
    """Return a protocol of a domain.

    Raises:
        InputError: the domain has no such protocol.

    Example:
        >>> get_protocol("images", "knn").measures
        'embed'
    """
    known = protocols(domain)
    if name not in known:
        raise unknown("protocol", name, known)
    return known[name]


def names_of_protocols() -> str:
    """Return the names of all protocols by domain, in a line.

    Example:
        >>> "knn, linear" in names_of_protocols()
        True
    """
    found = list(classes_in(dipole.evaluation.protocols, Protocol, having="name"))
    domains = sorted({domain for cls in found for domain in cls.domains})
    return "; ".join(f"{domain}: {', '.join(protocols(domain))}" for domain in domains)
