"""CIFAR-10 in its binary version."""

from pathlib import Path

import numpy as np
import torch

from dipole.data.tensor_image_set import TensorImageSet
from dipole.errors import InputError

FOLDER = "cifar-10-batches-bin"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_RECORD = 1 + 3 * 32 * 32


def load_cifar10_binary(folder: str | Path) -> tuple[TensorImageSet, TensorImageSet]:
    """Read `data_batch_1.bin` ... `data_batch_5.bin` and `test_batch.bin`.

    Args:
        folder: the unpacked `cifar-10-batches-bin`.

    Returns:
        The training set (50000 images) and the test set (10000).

    Raises:
        InputError: a file is missing or damaged.
    """
    folder = Path(folder)
    train = _image_set([folder / f"data_batch_{number}.bin" for number in range(1, 6)])
    return train, _image_set([folder / "test_batch.bin"])


def refuse_pickles(folder: Path) -> None:
    """Say what to do when someone points at the pickled version of CIFAR.

    Raises:
        InputError: `folder` holds it.
    """
    if (folder / "data_batch_1").is_file() or (folder / "batches.meta").is_file():
        raise InputError(
            f"{folder} is CIFAR-10 as Python pickles, which dipole does not load: unpickling runs a file's code. Use "
            f"the binary version ({FOLDER}, from the same authors), an .npz file with x_train, y_train, x_test, "
            "y_test, or --data torchvision:CIFAR10."
        )


def _image_set(paths: list[Path]) -> TensorImageSet:
    """Join files of records: one byte of label, then 1024 bytes each of red, green and blue."""
    parts = []
    for path in paths:
        try:
            content = np.fromfile(path, np.uint8)
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror}. Put all six .bin files there.") from error
        if content.size == 0 or content.size % _RECORD:
            raise InputError(
                f"{path} has {content.size} bytes, expected a multiple of {_RECORD}: the file is incomplete; get it "
                "again."
            )
        parts.append(content.reshape(-1, _RECORD))
    records = torch.from_numpy(np.concatenate(parts))
    labels = records[:, 0].long()
    if int(labels.max()) >= len(CLASSES):
        raise InputError(f"{paths[0].parent} holds the label {int(labels.max())}, expected 0 to 9: not CIFAR-10.")
    return TensorImageSet("cifar10", records[:, 1:].reshape(-1, 3, 32, 32), {"label": labels}, {"label": CLASSES})
