"""A folder of image and sound files -> rows with one content each."""

import logging
from collections.abc import Mapping
from pathlib import Path, PurePath

import torch

from dipole.data.decode import EXTENSIONS as IMAGES
from dipole.data.image_folder import files_below
from dipole.data.multimodal.columns import Column, Kind
from dipole.data.multimodal.modality_set import ModalitySet
from dipole.data.multimodal.sounds import EXTENSIONS as SOUNDS
from dipole.data.multimodal.table import Reading, column_of
from dipole.errors import InputError

logger = logging.getLogger(__name__)
SUFFIXES: dict[Kind, frozenset[str]] = {"image": IMAGES, "sound": SOUNDS}


def kind_of_file(name: str) -> Kind | None:
    """Return whether a file is an image or a sound by its suffix; None for anything else.

    Example:
        >>> kind_of_file("a/photo.JPG"), kind_of_file("bell.wav"), kind_of_file("a red ring")
        ('image', 'sound', None)
    """
    suffix = PurePath(name).suffix.lower()
    return next((kind for kind, known in SUFFIXES.items() if suffix in known), None)


def load_media_folder(folder: Path, reading: Reading) -> ModalitySet:
    """Find the images and sounds below a folder, a row for each, named by its path.

    Args:
        folder: searched through.
        reading: names one modality of images, of sounds, or one of both; files of the other kind are left out, counted
            and named, as is what cannot be read.

    Raises:
        InputError: it names two of one kind, or none of either; or nothing is found that can be read.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> folder = Path(tempfile.mkdtemp())
        >>> Image.new("RGB", (8, 8)).save(folder / "a.png")
        >>> rows = load_media_folder(folder, Reading(modalities={"photo": "image", "caption": "text"}))
        >>> rows, rows.id(0)
        (ModalitySet('...', 1 rows, photo: image), 'a.png')
    """
    modality = _modality_of_each_kind(folder, reading.modalities or {})
    skipped: list[tuple[str, str]] = []
    paths: list[str] = []
    for path in files_below(folder, "", skipped):
        if kind_of_file(path) in modality:
            paths.append(path)
        else:
            skipped.append((path, f"no file of {' or '.join(modality)}"))
    columns: dict[str, Column] = {}
    for kind, name in modality.items():
        cells = [path if kind_of_file(path) == kind else None for path in paths]
        if any(cells):
            columns[name] = column_of(folder / "files", name, cells, kind, reading, skipped)
    there = torch.stack([column.present for column in columns.values()]).any(dim=0) if columns else torch.zeros(0)
    if not bool(there.any()):
        why = f" Left out: {skipped[0][0]} ({skipped[0][1]})." if skipped else ""
        raise InputError(f"{folder} holds no file of {' or '.join(modality)} that can be read.{why}")
    if skipped:
        logger.warning("%s: %d files left out, %s: %s ...", folder, len(skipped), *skipped[0])
    return ModalitySet(folder.resolve().name, columns, paths, skipped=skipped).select(there.nonzero().flatten())


def _modality_of_each_kind(folder: Path, wanted: Mapping[str, Kind | None]) -> dict[Kind, str]:
    """Which modality the images and which the sounds of a folder are."""
    found: dict[Kind, str] = {}
    for name, kind in wanted.items():
        if kind not in SUFFIXES:
            continue
        if kind in found:
            raise InputError(
                f"{folder} is a folder of files, and {found[kind]!r} and {name!r} are both of {kind}s: say which of "
                f"them it holds, e.g. --loading.modalities {name}."
            )
        found[kind] = name
    if not found:
        raise InputError(
            f"{folder} is a folder of files, and {', '.join(wanted)} are no modalities of images or sounds: give a "
            "table."
        )
    return found
