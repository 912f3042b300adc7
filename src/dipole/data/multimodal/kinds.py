"""What the cells of a column are, as far as they show it."""

import json
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

from dipole.data.decode import EXTENSIONS as IMAGES
from dipole.data.multimodal.columns import Kind
from dipole.data.multimodal.sounds import EXTENSIONS as SOUNDS
from dipole.data.source import Content, Source
from dipole.data.tables import as_text

LOOKED_AT = 1000  # cells
SOUND_STARTS = (b"RIFF", b"riff", b"fLaC", b"OggS", b"FORM", b".snd", b"ID3")  # WAV, W64, FLAC, Ogg, AIFF, AU, MP3


def infer_kind(cells: Sequence[Any]) -> Kind:
    """Say what a column holds, by the most of its first cells.

    Names or contents of image or sound files; lists of numbers and numbers with a decimal point, which are vectors;
    whole numbers and truth values, which are categories; anything else is text, also where few different texts occur.
    Cells of a CSV file are read as JSON where they begin with a bracket.

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


def source_of(folder: Path, value: Any, name: str) -> Source | None:
    """Return the file that a cell names or contains; None if the cell is empty.

    Args:
        folder: to which paths are relative.
        value: a path, bytes, or a dictionary of `bytes` and `path`.
        name: by which messages tell contents without a path.

    Example:
        >>> source_of(Path("data"), {"bytes": None, "path": "a.png"}, "row 1").as_posix()
        'data/a.png'
        >>> print(source_of(Path("data"), b"...", "row 1"))
        row 1
    """
    path = as_text(value.get("path")) if isinstance(value, dict) else None
    content = value.get("bytes") if isinstance(value, dict) else value
    if isinstance(content, bytes):
        return Content(path or name, content) if content else None
    path = path if isinstance(value, dict) else as_text(value)
    return None if path is None else folder / path


def _kind(value: Any) -> Kind:
    """What one cell is."""
    if isinstance(value, bytes) or (isinstance(value, dict) and {"bytes", "path"} & value.keys()):
        return _kind_of_content(value)
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


def _kind_of_content(value: Any) -> Kind:
    """What a content is, by the first bytes of the formats of sound, or by its path."""
    path = str((value.get("path") if isinstance(value, dict) else None) or "")
    content = (value.get("bytes") if isinstance(value, dict) else value) or b""
    # WebP is RIFF, too. A frame of MP3 begins with eleven bits that are 1; JPEG's second byte does not.
    sound = content.startswith(SOUND_STARTS) and content[8:12] != b"WEBP"
    frame = content[:1] == b"\xff" and content[1:2] >= b"\xe0"
    return "sound" if sound or frame or PurePath(path).suffix.lower() in SOUNDS else "image"
