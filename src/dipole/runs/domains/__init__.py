"""Domains: what each kind of data needs around a method that is trained on it."""

import importlib
from collections.abc import Mapping
from functools import cache
from typing import Any

from dipole.methods.registry import get_method
from dipole.methods.wrapping import base_of
from dipole.runs.domains.base import Domain, Embeddings

__all__ = ["Domain", "Embeddings", "domain_of", "get_domain"]


def domain_of(name: str, arguments: Mapping[str, Any]) -> Domain:
    """Return the domain of a method with its arguments; of the method that it wraps, if it wraps one.

    Raises:
        InputError: there is no such method.

    Example:
        >>> domain_of("grace", {}).name
        'graph'
    """
    cls = get_method(name)
    base = base_of(cls, arguments)
    return get_domain((cls if base is None else get_method(base[0])).domain)


@cache
def get_domain(name: str) -> Domain:
    """Return the domain that a method names in its attribute `domain`; its module is imported now.

    Example:
        >>> get_domain("images").default_data
        'digits'
    """
    domain: Domain = importlib.import_module(f"dipole.runs.domains.{name}").DOMAIN
    return domain
