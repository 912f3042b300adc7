"""Tiles of the photographs that scikit-image and scikit-learn ship."""

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dipole.data.tensor_image_set import TensorImageSet
from dipole.errors import InputError

SIDE = 32  # of a tile, in pixels
LONGEST = 512  # side of a photograph, in pixels; larger ones are made smaller
BLOCK = 4  # tiles along the side of the squares that are divided between training and test
# Every picture of the two packages with a short side of 300 pixels or more that is no drawing or test pattern, and of
# one scene seen twice (motorcycle) the left one.
SCIKIT_IMAGE = (
    *("astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "clock_motion.png", "coffee.png"),
    *("coins.png", "grass.png", "gravel.png", "hubble_deep_field.jpg", "ihc.png", "moon.png", "motorcycle_left.png"),
    *("retina.jpg", "rocket.jpg"),
)
SCIKIT_LEARN = ("china.jpg", "flower.jpg")
INSTALL = "pip install 'dipole[demo]'"


def load_photographs() -> tuple[TensorImageSet, TensorImageSet]:
    """Cut 18 photographs into tiles of 32x32 pixels that do not overlap; the label is the photograph.

    To name the photograph of a tile is to tell materials and textures apart: brick, grass, fur, gravel, stars. Test
    tiles come from other places than training tiles: each photograph is divided into squares of four by four tiles, and
    every fourth square tests. A photograph larger than 512 pixels is made smaller first.

    Returns:
        The training and the test set, always alike for one version of the packages.

    Raises:
        InputError: scikit-image or Pillow is not installed, or a version of it lacks one of the photographs.

    Source: scikit-image's `skimage.data` and scikit-learn's `load_sample_images`, which name the photographers.
    """
    tiles, places, labels, ids, names = [], [], [], [], []
    for label, path in enumerate(_paths()):
        grid = _tiles(path)
        rows, columns = grid.shape[:2]
        row, column = (
            each.flatten() for each in torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        )
        tiles.append(grid.flatten(0, 1))
        # Along a row and along a column of squares, every fourth one.
        places.append((row // BLOCK + 2 * (column // BLOCK)) % 4 == label % 4)
        labels.append(torch.full((rows * columns,), label))
        names.append(path.stem)
        ids += [f"{path.stem}/{i}-{j}" for i, j in zip(row.tolist(), column.tolist(), strict=True)]
    whole = TensorImageSet("photographs", torch.cat(tiles), {"label": torch.cat(labels)}, {"label": names}, ids)
    tests = torch.cat(places)
    return whole.select((~tests).nonzero().flatten()), whole.select(tests.nonzero().flatten())


def _paths() -> list[Path]:
    """The files, without an import of the packages.

    Raises:
        InputError: one is missing.
    """
    found = []
    for package, folder, names in (
        ("skimage", "data", SCIKIT_IMAGE),
        ("sklearn", "datasets/images", SCIKIT_LEARN),
    ):
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise InputError(f"the photographs come with scikit-image, which is not installed: {INSTALL}.")
        found += [Path(spec.origin).parent / folder / name for name in names]
    missing = [path for path in found if not path.is_file()]
    if missing:
        raise InputError(f"{missing[0]} is missing: this version of its package has other photographs. {INSTALL}.")
    return found


def _tiles(path: Path) -> Tensor:
    """A photograph's tiles (rows, columns, 3, 32, 32)."""
    try:
        from PIL import Image
    except ImportError as error:
        raise InputError(f"Pillow, which reads the photographs, is not installed: {INSTALL}.") from error
    with Image.open(path) as picture:
        photograph = picture.convert("RGB")
    shrink = min(1.0, LONGEST / max(photograph.size))
    size = [round(side * shrink) for side in photograph.size]
    pixels = torch.from_numpy(np.array(photograph.resize((size[0], size[1]), Image.Resampling.LANCZOS)))
    rows, columns = pixels.shape[0] // SIDE, pixels.shape[1] // SIDE
    whole = pixels[: rows * SIDE, : columns * SIDE]
    return whole.view(rows, SIDE, columns, SIDE, 3).permute(0, 2, 4, 1, 3).contiguous()
