"""Omniglot's zips as they are published: characters of alphabets, and the official one-shot runs."""

import io
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dipole.data.tensor_image_set import TensorImageSet
from dipole.errors import InputError

SIDE = 35  # a third of the 105 pixels of a drawing
BACKGROUND = re.compile(r"images_background.*\.zip$")
RUNS = "all_runs.zip"


@dataclass(frozen=True)
class OneShotRun:
    """A run of the official 20-way one-shot classification.

    Attributes:
        name: such as `run01`.
        support: uint8 (W, 1, S, S), a drawing of each character.
        queries: uint8 (Q, 1, S, S).
        answers: (Q,) which support drawing has the character of each query.
    """

    name: str
    support: Tensor
    queries: Tensor
    answers: Tensor


def load_omniglot(folder: Path) -> tuple[TensorImageSet, TensorImageSet]:
    """Read all `images_background*.zip` of a folder; classes are `alphabet/character`.

    Every fourth alphabet, in alphabetical order, is for testing, so that test characters are new ones. A drawing that
    stands in several files is read once. Ink is white on black, 35 × 35 pixels.

    Args:
        folder: where the zips lie.

    Raises:
        InputError: there is none, or one is damaged or of another layout.
    """
    drawings: dict[str, Tensor] = {}
    archives = sorted(path for path in folder.iterdir() if BACKGROUND.match(path.name))
    if not archives:
        raise InputError(f"{folder} has no images_background*.zip: download Omniglot's drawings there.")
    for archive in archives:
        for name, content in _members(archive, ".png"):
            parts = Path(name).parts[-3:]
            if len(parts) < 3:
                raise InputError(f"{archive}: {name} is not alphabet/character/drawing.png.")
            drawings["/".join(parts)] = _drawing(content, f"{archive}: {name}")
    if not drawings:
        raise InputError(f"{archives[0]} holds no drawing.")
    names = sorted({name.rpartition("/")[0] for name in drawings})
    alphabets = sorted({name.partition("/")[0] for name in names})
    testing = set(alphabets[3::4])
    if not testing:
        raise InputError(f"{folder} has {len(alphabets)} alphabets: four or more are needed, one of them for testing.")
    sets = []
    for of_test in (False, True):
        ids = sorted(name for name in drawings if (name.partition("/")[0] in testing) == of_test)
        labels = torch.tensor([names.index(name.rpartition("/")[0]) for name in ids])
        images = torch.stack([drawings[name] for name in ids])
        sets.append(TensorImageSet("omniglot", images, {"label": labels}, {"label": names}, ids))
    return sets[0], sets[1]


def load_one_shot_runs(path: str | Path) -> list[OneShotRun]:
    """Read the official runs: `runNN/training`, `runNN/test` and `runNN/class_labels.txt`.

    Args:
        path: of `all_runs.zip`.

    Raises:
        InputError: the file is missing, damaged, or names drawings that it does not hold.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path} is missing: it is Omniglot's file of one-shot runs.")
    # Copies of the archive that a Mac has made hold shadows of every file.
    content = {name: data for name, data in _members(path, "") if "__MACOSX" not in name}
    found = []
    for labels in sorted(name for name in content if name.endswith("class_labels.txt")):
        folder = labels.rpartition("/")[0]
        pairs = [line.split() for line in content[labels].decode("utf-8").splitlines() if line.strip()]
        root = folder.rpartition("/")[0]
        named = [[f"{root}/{name}".lstrip("/") for name in pair] for pair in pairs]
        missing = [name for pair in named for name in pair if name not in content]
        if missing or any(len(pair) != 2 for pair in named):
            raise InputError(f"{path}: {labels} names {missing[:1] or pairs[:1]}, which is not in the file.")
        support = sorted(name for name in content if name.startswith(f"{folder}/training/") and name.endswith(".png"))
        found.append(
            OneShotRun(
                Path(folder).name,
                torch.stack([_drawing(content[name], name) for name in support]),
                torch.stack([_drawing(content[query], query) for query, _ in named]),
                torch.tensor([support.index(answer) for _, answer in named]),
            )
        )
    if not found:
        raise InputError(f"{path} holds no class_labels.txt: it is not Omniglot's file of one-shot runs.")
    return found


def _members(archive: Path, suffix: str) -> Iterator[tuple[str, bytes]]:
    """Names and content of the files of a zip, in order."""
    try:
        with zipfile.ZipFile(archive) as opened:
            for name in sorted(opened.namelist()):
                if name.endswith(suffix) and not name.endswith("/") and "__MACOSX" not in name:
                    yield name, opened.read(name)
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(f"cannot read {archive}: {error}. Download it again.") from error


def _drawing(content: bytes, name: str) -> Tensor:
    """A drawing as uint8 (1, 35, 35), ink 255; each pixel is the share of ink in nine of the file's."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content)) as image:
            ink = 255 - np.asarray(image.convert("L"), dtype=np.float32)
    except OSError as error:
        raise InputError(f"{name} is no image: {error}.") from error
    if ink.shape != (3 * SIDE, 3 * SIDE):
        raise InputError(f"{name} has {ink.shape} pixels: a drawing of Omniglot has 105 × 105.")
    return torch.from_numpy(ink.reshape(SIDE, 3, SIDE, 3).mean(axis=(1, 3)).round().astype(np.uint8))[None]
