"""Domains: what each kind of data needs around a method that is trained on it."""

import importlib
from functools import cache

from dipole.runs.domains.base import Domain, Embeddings

__all__ = ["Domain", "Embeddings", "get_domain"]


@cache
def get_domain(name: str) -> Domain:
    """Return the domain that a method names in its attribute `domain`; its module is imported now.

    Example:
        >>> get_domain("images").protocols
        ('knn', 'linear')
    """
    domain: Domain = importlib.import_module(f"dipole.runs.domains.{name}").DOMAIN
    return domain
