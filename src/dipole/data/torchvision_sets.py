"""Data sets that torchvision downloads."""

import difflib
import inspect
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dipole.data.tensor_image_set import TensorImageSet
from dipole.errors import InputError

NAMES = ("CIFAR10", "CIFAR100", "FashionMNIST", "KMNIST", "MNIST", "STL10", "SVHN", "USPS")


def load_torchvision(name: str, data_root: str | Path) -> tuple[TensorImageSet, TensorImageSet]:
    """Load one of torchvision's in-memory image sets, downloading it first where `data_root` lacks it.

    torchvision's CIFAR loaders unpickle; they read only files that match the checksums torchvision ships.

    Args:
        name: torchvision's class name: CIFAR10, CIFAR100, FashionMNIST, KMNIST, MNIST, STL10 (its labelled part),
            SVHN or USPS.
        data_root: folder that torchvision downloads to and reads from.

    Returns:
        The training and the test set.

    Raises:
        InputError: another name, no torchvision, or the download failed.
    """
    if name not in NAMES:
        near = difflib.get_close_matches(name.upper(), [known.upper() for known in NAMES], 1, 0.5)
        hint = f" Did you mean {next(known for known in NAMES if known.upper() == near[0])}?" if near else ""
        raise InputError(
            f"torchvision:{name} is unknown.{hint} Known: {', '.join(NAMES)}. Others: download them and give the "
            "folder of their images as --data."
        )
    try:
        from torchvision import datasets
    except ImportError as error:
        raise InputError("torchvision is not installed: pip install 'dipole[vision]'.") from error
    factory = getattr(datasets, name)
    by_flag = "train" in inspect.signature(factory).parameters
    parts: tuple[dict[str, Any], ...] = ({"train": True}, {"train": False})
    if not by_flag:
        parts = ({"split": "train"}, {"split": "test"})
    try:
        train, test = (factory(str(data_root), download=True, **part) for part in parts)
    except (OSError, RuntimeError, ValueError) as error:
        raise InputError(
            f"torchvision could not download or read {name} under {data_root}: {error}. Check the network, or put its "
            "files there by hand."
        ) from error
    return _image_set(name, train), _image_set(name, test)


def _image_set(name: str, source: Any) -> TensorImageSet:
    """Take over the pixels, targets and class names of a torchvision set."""
    pixels = torch.as_tensor(np.asarray(source.data))
    if pixels.ndim == 3:
        pixels = pixels.unsqueeze(1)
    elif pixels.shape[-1] == 3:
        pixels = pixels.permute(0, 3, 1, 2).contiguous()
    targets = torch.as_tensor(np.asarray(getattr(source, "targets", getattr(source, "labels", None))))
    labels = targets.long()
    classes = getattr(source, "classes", None) or [str(index) for index in range(int(labels.max()) + 1)]
    return TensorImageSet(f"torchvision:{name}", pixels, {"label": labels}, {"label": classes})
