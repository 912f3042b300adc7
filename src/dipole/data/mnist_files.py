"""The original files of MNIST and its relatives (IDX format)."""

import gzip
import zlib
from pathlib import Path

import numpy as np
import torch

from dipole.data.tensor_image_set import TensorImageSet
from dipole.errors import InputError

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def has_mnist_files(folder: Path) -> bool:
    """Whether the four files, plain or as .gz, lie in a folder."""
    return all(_existing(folder, name) is not None for name in FILES)


def load_mnist_files(folder: str | Path, name: str = "mnist") -> tuple[TensorImageSet, TensorImageSet]:
    """Read MNIST, Fashion-MNIST, KMNIST ... from their original files, plain or as .gz.

    Args:
        folder: where `train-images-idx3-ubyte`, `train-labels-idx1-ubyte`, `t10k-images-idx3-ubyte` and
            `t10k-labels-idx1-ubyte` lie.
        name: name of the sets.

    Returns:
        The training and the test set.

    Raises:
        InputError: a file is missing or damaged.
    """
    folder = Path(folder)
    paths = []
    for file in FILES:
        path = _existing(folder, file)
        if path is None:
            raise InputError(f"{folder} has no {file} (or {file}.gz): put all four files of the data set there.")
        paths.append(path)
    sets = []
    for images, labels in (paths[:2], paths[2:]):
        pixels, classes = _read(images, 3), _read(labels, 1)
        if len(pixels) != len(classes):
            raise InputError(f"{images} has {len(pixels)} images but {labels} {len(classes)} labels: get both again.")
        sets.append((torch.from_numpy(pixels).unsqueeze(1), torch.from_numpy(classes).long()))
    count = max(int(labels.max()) for _, labels in sets) + 1
    names = {"label": [str(index) for index in range(count)]}
    train, test = (TensorImageSet(name, images, {"label": labels}, names) for images, labels in sets)
    return train, test


def _existing(folder: Path, name: str) -> Path | None:
    """The plain or the compressed file, whichever is there."""
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


def _read(path: Path, dimensions: int) -> np.ndarray:
    """Read one file: two zeros, type (8 = unsigned byte), number of dimensions, sizes (big-endian), then bytes."""
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot read {path}: {error}. The file is damaged or incomplete; get it again.") from error
    start = 4 + 4 * dimensions
    if content[:4] != bytes((0, 0, 8, dimensions)) or len(content) < start:
        raise InputError(f"{path} is no IDX file of unsigned bytes with {dimensions} dimensions: get it again.")
    shape = np.frombuffer(content, ">u4", dimensions, 4).astype(np.int64)
    if len(content) - start != shape.prod() or shape.prod() == 0:
        raise InputError(
            f"{path} holds {len(content) - start} bytes of data, its header announces {shape.prod()}: get it again."
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape).copy()
