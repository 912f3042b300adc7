"""A folder of images -> a training and a test set."""

import logging
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from dipole.data.checked import damaged_files
from dipole.data.decode import EXTENSIONS, UnreadableImageError, check_image_file, decode_image
from dipole.data.folder_image_set import FolderImageSet
from dipole.data.splits import stratified_split
from dipole.errors import InputError

logger = logging.getLogger(__name__)
DEFAULT_SIZE = 96
TRAIN_NAMES = ("train", "training")
TEST_NAMES = ("test", "testing", "val", "valid", "validation", "dev", "eval")
Skipped = list[tuple[str, str]]
QUICK_CHECK = "images-1"  # changes with what the check asks


def load_image_folder(
    folder: str | Path, size: int = DEFAULT_SIZE, name: str | None = None
) -> tuple[FolderImageSet, FolderImageSet]:
    """Find the images in a folder, check each file's header and end, and split them.

    - **Splits**: sub-folders `train` and `test` (else `val`, `valid`, `validation`, `dev`) are the two parts, however
      they are spelt (`Training`, `test_set`); otherwise
      every fifth image of every class is a test image, chosen at random but always alike.
    - **Classes**: sub-folders are classes, named after the folder; files may lie deeper. Without sub-folders there
      are no labels. With one class there are none either: it could tell nothing apart.
    - **Left out, never in silence**: files without an image's extension, empty and damaged files, and files beside
      class folders are listed with the reason in `skipped` of both sets; one warning is logged. Hidden files (leading
      dot) are ignored. Damage inside a file, behind a sound header and before a sound end, shows only when the file
      is decoded: then `fetch` raises and names it. `unreadable_images` finds such files beforehand.
    - **Opened again**: files that were sound are known by size and time of modification, and not read again.

    Args:
        folder: the folder.
        size: side in pixels of the squares that images are decoded to.
        name: name of the sets; the folder's name by default.

    Returns:
        The training and the test set.

    Raises:
        InputError: the folder is missing, unreadable or empty, holds no image, or too few: two for training and one
            for testing are the least.
    """
    folder = Path(folder)
    if size < 1:
        raise InputError(f"the image size is {size}: expected 1 or more pixels, e.g. {DEFAULT_SIZE}.")
    skipped: Skipped = []
    parts = _parts(folder, skipped)
    found = [_readable_images(folder, part, skipped) for part in parts]
    _report(folder, found, skipped)
    class_names = _class_names(folder, parts, found)
    sets = []
    for part, paths in zip(parts, found, strict=True):
        labels = {}
        if class_names:
            positions = {name: position for position, name in enumerate(class_names)}
            labels["label"] = torch.tensor([positions[_class_of(path, part) or ""] for path in paths], dtype=torch.long)
        names = {"label": class_names} if class_names else None
        sets.append(FolderImageSet(name or folder.resolve().name, folder, paths, size, labels, names, skipped))
    train, test = sets if len(sets) == 2 else _split(sets[0])
    if len(train) < 2 or len(test) < 1:
        raise InputError(
            f"{folder} gives {len(train)} training and {len(test)} test images: at least 2 and 1 are needed."
        )
    return train, test


def unreadable_images(folder: str | Path) -> list[tuple[str, str]]:
    """Decode every image file under a folder and list `(path, reason)` of those that fail; thorough, hence slow.

    Raises:
        InputError: the folder is missing or unreadable.
    """
    skipped: Skipped = []
    candidates = [path for path in files_below(Path(folder), "", skipped) if Path(path).suffix.lower() in EXTENSIONS]

    def reason(path: Path) -> str | None:
        try:
            decode_image(path, 8)
        except UnreadableImageError as error:
            return str(error)
        return None

    return [*skipped, *damaged_files(Path(folder), candidates, reason).items()]


def _parts(folder: Path, skipped: Skipped) -> tuple[str, ...]:
    """Sub-folders of the training and the test part, or the one place that is still to be split."""
    try:
        entries = sorted(entry.name for entry in os.scandir(folder) if not entry.name.startswith("."))
    except OSError as error:
        raise InputError(
            f"cannot read the folder {folder}: {error.strerror}. Check the path and its rights."
        ) from error
    if not entries:
        raise InputError(f"{folder} is empty: put images there, in one sub-folder a class if classes are known.")
    folders = [name for name in entries if (folder / name).is_dir()]
    train, test = _split_folder(folders, TRAIN_NAMES), _split_folder(folders, TEST_NAMES)
    if train is None:
        _warn_of_alike(folder, folders)
        return ("",)
    if test is not None:
        others = [name for name in entries if name not in (train, test)]
        skipped.extend(
            (name, f"lies beside the folders {train} and {test}, which are the two parts") for name in others
        )
        return (train, test)
    # A lone `train` is a part without a test part; beside other folders it is a class (a railway train).
    if folders == [train]:
        return (train,)
    _warn_of_alike(folder, folders)
    return ("",)


def _split_folder(folders: list[str], names: tuple[str, ...]) -> str | None:
    """The folder that one of the names means: `Training`, `test_set`, `images-val`; earlier names go first."""
    plain = {re.sub(r"[\W_]+|set$|data$|images$", "", re.sub(r"[\W_]", "", each.lower())): each for each in folders}
    return next((plain[name] for name in names if name in plain), None)


def _warn_of_alike(folder: Path, folders: list[str]) -> None:
    """Warn if all classes hold the same sub-folders: they may be parts whose names are not known."""
    inner = [
        {entry.name for entry in os.scandir(folder / name) if entry.is_dir()}
        for name in folders
        if os.access(folder / name, os.R_OK | os.X_OK)
    ]
    if len(inner) > 1 and len(inner[0]) > 1 and all(names == inner[0] for names in inner):
        logger.warning(
            "%s: the folders %s, taken as classes, all hold the same sub-folders (%s): if they are parts of the data, "
            "call them train and test.",
            folder,
            ", ".join(folders[:5]),
            ", ".join(sorted(inner[0])[:5]),
        )


def files_below(root: Path, part: str, skipped: Skipped) -> Iterator[str]:
    """Yield the paths of all files below `root / part`, relative to `root`, sorted.

    Links are followed, loops and hidden files are not.

    Args:
        root: a folder.
        part: one in it, or `""`.
        skipped: to which folders that cannot be read are added.

    Raises:
        InputError: `root / part` itself cannot be read.
    """

    def unreadable(error: OSError) -> None:
        if Path(error.filename) == root / part:
            raise InputError(f"cannot read the folder {root / part}: {error.strerror}. Check the path and its rights.")
        skipped.append((Path(error.filename).relative_to(root).as_posix(), error.strerror or "unreadable"))

    seen = set()
    for place, folders, files in os.walk(root / part, onerror=unreadable, followlinks=True):
        real = os.path.realpath(place)
        folders[:] = [] if real in seen else sorted(name for name in folders if not name.startswith("."))
        if real in seen:
            continue
        seen.add(real)
        relative = Path(place).relative_to(root).as_posix()
        start = "" if relative == "." else f"{relative}/"
        yield from (start + name for name in sorted(files) if not name.startswith("."))


def _readable_images(root: Path, part: str, skipped: Skipped) -> list[str]:
    """Paths of the images of a part; everything else is added to `skipped`."""
    candidates = _image_paths(root, part, skipped)
    if any(_class_of(path, part) for path in candidates):
        skipped.extend((path, "lies beside the class folders") for path in candidates if not _class_of(path, part))
        candidates = [path for path in candidates if _class_of(path, part)]
    return _undamaged(root, candidates, skipped)


def _image_paths(root: Path, part: str, skipped: Skipped) -> list[str]:
    """Paths of the files that are images by their extension; the others are added to `skipped`."""
    candidates = []
    for path in files_below(root, part, skipped):
        extension = os.path.splitext(path)[1]
        if extension.lower() in EXTENSIONS:
            candidates.append(path)
        else:
            skipped.append((path, f"not an image ({extension or 'no extension'})"))
    return candidates


def _undamaged(root: Path, candidates: list[str], skipped: Skipped) -> list[str]:
    """The files that pass the quick check; the others are added to `skipped`."""
    damaged = damaged_files(root, candidates, check_image_file, remember=QUICK_CHECK)
    skipped.extend(damaged.items())
    return [path for path in candidates if path not in damaged]


def _class_of(path: str, part: str) -> str | None:
    """First folder below the part, or None for a file that lies directly in it."""
    first, separator, _ = (path.removeprefix(f"{part}/") if part else path).partition("/")
    # macOS writes an accent as a letter of its own: é is one class, however it is composed.
    return unicodedata.normalize("NFC", first) if separator else None


def class_folders(folder: str | Path, paths: Sequence[str]) -> list[str | None]:
    """Return the class folder of each path below a folder, behind `train` or `test`; None for files beside them.

    Example:
        >>> class_folders("photos", ["cat/1.png", "2.png"])
        ['cat', None]
    """
    inner = {Path(path).parts[0] for path in paths if len(Path(path).parts) > 1}
    splits = [_split_folder(sorted(inner), names) for names in (TRAIN_NAMES, TEST_NAMES)]
    parts = [split for split in splits if split] if None not in splits or len(inner) == 1 else []
    found = {part: f"{part}/" for part in parts}
    return [
        _class_of(path, next((part for part, start in found.items() if path.startswith(start)), "")) for path in paths
    ]


def _class_names(folder: Path, parts: tuple[str, ...], found: list[list[str]]) -> list[str]:
    """Sorted names of the classes, or nothing if labels would be incomplete or of no use."""
    per_part = [{_class_of(path, part) for path in paths} for part, paths in zip(parts, found, strict=True)]
    names = sorted({name for names in per_part for name in names if name is not None})
    if names and any(None in part for part in per_part):
        logger.warning("%s: only one of the parts has class folders; the labels are not used.", folder)
        return []
    if len(names) == 1:
        logger.warning(
            "%s has the single class %r: training works, but there are no labels to evaluate by. Put images in one "
            "sub-folder a class.",
            folder,
            names[0],
        )
        return []
    unseen = [name for name in names if name not in per_part[0]]
    if unseen:
        shown = ", ".join(map(repr, unseen[:5])) + (" …" if len(unseen) > 5 else "")
        logger.warning(
            "%s: %d of %d classes have test images and no training images (%s): no measure that goes by the classes of "
            "the training images can be right about them. Are they spelt alike in both parts?",
            folder,
            len(unseen),
            len(names),
            shown,
        )
    return names


def _report(folder: Path, found: list[list[str]], skipped: Skipped) -> None:
    """Warn once about what was left out; refuse a folder without any image."""
    shown = "; ".join(f"{path} ({reason})" for path, reason in skipped[:5])
    count = sum(map(len, found))
    if count == 0:
        raise InputError(f"{folder} holds no image that can be read. Left out: {shown or 'no file at all'}.")
    if skipped:
        more = f"; and {len(skipped) - 5} more" if len(skipped) > 5 else ""
        logger.warning("%s: %d images, %d files left out: %s%s.", folder, count, len(skipped), shown, more)


def _split(whole: FolderImageSet) -> tuple[FolderImageSet, FolderImageSet]:
    """Divide a set 80/20."""
    labels = whole.labels.get("label", torch.zeros(len(whole), dtype=torch.long))
    train, test = stratified_split(labels)
    if not len(test):  # one image in every class
        train, test = stratified_split(torch.zeros_like(labels))
    return whole.select(train), whole.select(test)


def load_images(source: str | Path, size: int = DEFAULT_SIZE) -> FolderImageSet:
    """Collect one image file, or all images below a folder, in the order of their paths; neither split nor labelled.

    Files that are no images, or damaged, are listed in `skipped` and one warning is logged, as by `load_image_folder`.

    Args:
        source: a file or a folder.
        size: side in pixels of the squares that images are decoded to.

    Raises:
        InputError: there is no such file or folder, or no image that can be read in it.
    """
    source = Path(source)
    skipped: Skipped = []
    folder = source.parent if source.is_file() else source
    candidates = [source.name] if source.is_file() else _image_paths(folder, "", skipped)
    paths = _undamaged(folder, candidates, skipped)
    _report(source, [paths], skipped)
    return FolderImageSet(source.name, folder, paths, size, skipped=skipped)
