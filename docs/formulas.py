"""Formulas of losses, found for a method by the losses that its source names."""

import inspect
import re
from functools import cache
from pathlib import Path

from markdown.extensions.toc import slugify

import dipole.losses
from dipole.decoding.base import Decoder
from dipole.decoding.registry import decoders
from dipole.methods.base import Method
from dipole.methods.registry import methods

BASES = (Method, Decoder)
LOSSES = frozenset(dipole.losses.__all__)
GUIDE = Path(__file__).resolve().parent / "formulas.md"
FORMULA = re.compile(r"^\$\$\n.*?^\$\$$", re.MULTILINE | re.DOTALL)
NAME = re.compile(r"`([A-Za-z][\w-]+)[(`]")  # of a loss or, where there is none, of a method


@cache
def sections() -> dict[str, tuple[frozenset[str], frozenset[str], tuple[str, ...]]]:
    """What each section of the guide is about, what else it names, and its formulas, by heading."""
    known = {*LOSSES, *methods(), *decoders()}
    parts = re.split(r"^##+ (.*)$", GUIDE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    found = {}
    for heading, text in zip(parts[1::2], parts[2::2], strict=True):
        formulas = FORMULA.findall(text)
        if formulas:
            first, rest = (known & set(NAME.findall(part)) for part in text.split("$$", 1))
            found[heading] = (frozenset(first), frozenset(rest), tuple(formulas))
    return found


def formulas_of(cls: type[Method] | type[Decoder]) -> dict[str, tuple[str, ...]]:
    """The sections with the formulas that a method computes: those that name it, or a loss that its source names.

    The source is that of the class, or of the nearest class above it that has a loss; sections that are about a loss
    come before those that mention it.
    """
    classes = [base for base in cls.__mro__ if base.__module__.startswith("dipole.") and base not in BASES]
    words = (LOSSES & set(re.findall(r"\w+", inspect.getsource(base))) for base in classes)
    for used in ({cls.card.name}, *words):
        for about in (0, 1):
            found = {heading: parts[2] for heading, parts in sections().items() if parts[about] & used}
            if found:
                return found
    return {}


def formula_text(cls: type[Method] | type[Decoder]) -> str:
    """The formulas of a method for its page, with a link to what the letters mean."""
    parts = []
    for heading, formulas in formulas_of(cls).items():
        parts += [f"[{heading}](../formulas.md#{slugify(heading, '-')})", *formulas]
    return "\n\n".join(["## Formula", *parts]) if parts else ""
