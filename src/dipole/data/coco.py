"""Boxes in a file of COCO's format: which pictures, which names, what is where."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dipole.errors import InputError


@dataclass(frozen=True)
class BoxedPicture:
    """A picture and its boxes.

    Args:
        path: of the picture.
        boxes: [x, y, width, height] in pixels.
        names: of the boxes.
        crowd: whether a box is of a crowd, in which nothing counts.
    """

    path: Path
    boxes: tuple[tuple[float, float, float, float], ...]
    names: tuple[str, ...]
    crowd: tuple[bool, ...]


def read_coco(file: str | Path, folder: str | Path | None = None) -> tuple[list[BoxedPicture], list[str]]:
    """Read a file of COCO's format.

    Args:
        file: JSON with `images`, `annotations` and `categories`.
        folder: of the pictures; that of the file if None.

    Returns:
        The pictures in the file's order, also those without boxes, and the names of the categories.

    Raises:
        InputError: the file is none of this format, a picture is missing, or an annotation names what there is not.

    Example:
        >>> read_coco("none.json")
        Traceback (most recent call last):
        ...
        dipole.errors.InputError: there is no file none.json: expected a JSON file of COCO's format.
    """
    file = Path(file)
    if not file.is_file():
        raise InputError(f"there is no file {file}: expected a JSON file of COCO's format.")
    try:
        content: Any = json.loads(file.read_text(encoding="utf-8"))
        categories = {entry["id"]: str(entry["name"]) for entry in content["categories"]}
        paths = {entry["id"]: Path(folder or file.parent) / str(entry["file_name"]) for entry in content["images"]}
        boxes: dict[Any, list[tuple[tuple[float, float, float, float], str, bool]]] = {key: [] for key in paths}
        for entry in content["annotations"]:
            x, y, width, height = (float(value) for value in entry["bbox"])
            if not (math.isfinite(x + y + width + height) and width > 0 and height > 0):
                raise InputError(f"{file}: the box {entry['bbox']} has no area: expected [x, y, width, height].")
            name, crowd = categories[entry["category_id"]], bool(entry.get("iscrowd", 0))
            boxes[entry["image_id"]].append(((x, y, width, height), name, crowd))
    except InputError:
        raise
    except (UnicodeDecodeError, ValueError, KeyError, TypeError) as error:
        reason = f"{type(error).__name__}: {error}"
        raise InputError(
            f"{file} is not of COCO's format ({reason}): expected images with id and file_name, categories with id and "
            "name, annotations with image_id, category_id and bbox of theirs."
        ) from error
    missing = [path for path in paths.values() if not path.is_file()]
    if missing or not paths:
        what = f"{len(missing)} of {len(paths)} pictures are missing, {missing[0]} first" if missing else "no pictures"
        raise InputError(f"{file}: {what}. Name their folder (--images).")
    if len(set(categories.values())) < len(categories) or not categories:
        raise InputError(f"{file}: categories have no names of their own, or there are none.")
    pictures = [
        BoxedPicture(paths[key], *(tuple(column) for column in zip(*own, strict=True)))
        if own
        else BoxedPicture(paths[key], (), (), ())
        for key, own in boxes.items()
    ]
    return pictures, list(categories.values())
