"""What the cells of a column are, as far as they show it."""

import json
from collections.abc import Sequence
from pathlib import PurePath
from typing import Any

from dipole.data.decode import EXTENSIONS as IMAGES
from dipole.data.multimodal.columns import Kind
from dipole.data.multimodal.sounds import EXTENSIONS as SOUNDS

LOOKED_AT = 1000  # cells


def infer_kind(cells: Sequence[Any]) -> Kind:
    """Say what a column holds, by the most of its first cells.

    Names of image or sound files; lists of numbers and numbers with a decimal point, which are vectors; whole numbers
    and truth values, which are categories; anything else is text, also where few different texts occur. Cells of a CSV
    file are read as JSON where they begin with a bracket.

    Example:
        >>> infer_kind(["a.png", "b.jpg"]), infer_kind(["a cat", None]), infer_kind(["[0.5, 1]"]), infer_kind(["3"])
        ('image', 'text', 'vector', 'category')
    """
    votes: dict[Kind, int] = {}
    known = (value for value in cells if value is not None and value != "")
    for _, value in zip(range(LOOKED_AT), known, strict=False):
        kind = _kind(parsed(value))
        votes[kind] = votes.get(kind, 0) + 1
    return max(votes, key=lambda kind: votes[kind], default="text")


def parsed(value: Any) -> Any:
    """Return the list that a string of JSON holds; anything else as it is.

    Example:
        >>> parsed('["one", "two"]'), parsed("[sic"), parsed(None)
        (['one', 'two'], '[sic', None)
    """
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def as_text(value: Any) -> str | None:
    """Return a cell as a string without white space around it; None if nothing is left.

    Example:
        >>> as_text(" a "), as_text(3), as_text("  "), as_text(None)
        ('a', '3', None, None)
    """
    return None if value is None else str(value).strip() or None


def _kind(value: Any) -> Kind:
    """What one cell is."""
    if isinstance(value, list):
        return "text" if any(isinstance(part, str) for part in value) else "vector"
    if isinstance(value, bool | int):
        return "category"
    if isinstance(value, float):
        return "vector"
    text = str(value).strip()
    suffix = PurePath(text).suffix.lower()
    if suffix in IMAGES or suffix in SOUNDS:
        return "image" if suffix in IMAGES else "sound"
    if text.lstrip("+-").isdecimal():
        return "category"
    try:
        float(text)
    except ValueError:
        return "text"
    return "vector"
