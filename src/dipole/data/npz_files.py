"""Images in NumPy's .npz files."""

import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dipole.data.splits import stratified_split
from dipole.data.tensor_image_set import TensorImageSet
from dipole.errors import InputError

# (training images, training labels, test images, test labels)
SPLIT_KEYS = (
    ("x_train", "y_train", "x_test", "y_test"),
    ("train_images", "train_labels", "test_images", "test_labels"),
    ("X_train", "Y_train", "X_test", "Y_test"),
)
WHOLE_KEYS = (("images", "labels"), ("x", "y"), ("X", "Y"))


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Read all arrays of an .npz file; objects are refused, because reading them would run the file's code.

    Raises:
        InputError: the file is missing, damaged, no .npz or holds pickled objects.
    """
    try:
        # Opened here, because NumPy leaves a damaged file open.
        with path.open("rb") as file:
            archive = np.load(file, allow_pickle=False)
            if not isinstance(archive, np.lib.npyio.NpzFile):
                raise InputError(f"{path} holds one bare array: save several under names with numpy.savez.")
            return {key: archive[key] for key in archive.files}
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist. Check the path.") from error
    except (OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"cannot read {path}: {error}. The file is damaged or incomplete; get it again.") from error
    except InputError:
        raise
    except (AttributeError, ValueError) as error:
        raise InputError(
            f"{path} holds Python objects or is no .npz file ({error}). dipole does not unpickle: save plain arrays."
        ) from error


def load_npz(path: str | Path, name: str | None = None) -> tuple[TensorImageSet, TensorImageSet]:
    """Read images and labels from an .npz file.

    Keys: `x_train, y_train, x_test, y_test`, or `train_images, train_labels, test_images, test_labels`, or `images,
    labels` (also `x, y`), which is split 80/20 at random but always alike. Labels may be missing. Optional `classes`
    gives the names of the classes in the order of the sorted label values.

    Args:
        path: the file. Images are uint8 (N, H, W), (N, H, W, 1 or 3) or (N, 1 or 3, H, W); labels are integers or
            strings (N,) or (N, 1).
        name: name of the set; the file's name by default.

    Returns:
        The training and the test set.

    Raises:
        InputError: the file or its content is not as described.
    """
    path = Path(path)
    arrays = read_npz(path)
    name = name or path.stem
    for x_train, y_train, x_test, y_test in SPLIT_KEYS:
        if x_train in arrays and x_test in arrays:
            parts = [(arrays[x_train], arrays.get(y_train)), (arrays[x_test], arrays.get(y_test))]
            train_set, test_set = _make_sets(name, path, parts, arrays.get("classes"))
            return train_set, test_set
    for x, y in WHOLE_KEYS:
        if x in arrays:
            (whole,) = _make_sets(name, path, [(arrays[x], arrays.get(y))], arrays.get("classes"))
            label = whole.labels.get("label", torch.zeros(len(whole), dtype=torch.long))
            train, test = stratified_split(label)
            return whole.select(train), whole.select(test)
    expected = "; ".join(", ".join(keys) for keys in (*SPLIT_KEYS, *WHOLE_KEYS))
    raise InputError(f"{path} has the keys {', '.join(arrays) or 'none'}: expected one of these groups: {expected}.")


def _make_sets(
    name: str, path: Path, parts: list[tuple[np.ndarray, np.ndarray | None]], classes: np.ndarray | None
) -> tuple[TensorImageSet, ...]:
    """One image set per (images, labels), with one numbering of the classes for all."""
    images = [channels_first(x, path) for x, _ in parts]
    if any(y is None for _, y in parts):
        return tuple(TensorImageSet(name, x) for x in images)
    columns = [_label_column(y, len(x), path) for x, y in parts if y is not None]
    values, flat = np.unique(np.concatenate(columns), return_inverse=True)
    names = [str(value) for value in (values if classes is None else classes)]
    if len(names) < len(values):
        raise InputError(f"{path}: {len(names)} names in 'classes' for {len(values)} label values: name every class.")
    # With a name for every index, labels that are indices stay what they are, even where a class has no image.
    if classes is not None and values.dtype.kind in "iu" and values[0] >= 0 and values[-1] < len(names):
        flat = values[flat]
    ends = np.cumsum([len(column) for column in columns])[:-1]
    labels = [torch.from_numpy(part.astype(np.int64)) for part in np.split(flat, ends)]
    return tuple(TensorImageSet(name, x, {"label": y}, {"label": names}) for x, y in zip(images, labels, strict=True))


def channels_first(images: np.ndarray, path: Path) -> Tensor:
    """Turn the accepted layouts into uint8 (N, 1 or 3, H, W)."""
    if images.dtype != np.uint8:
        raise InputError(f"{path}: images are {images.dtype}, expected uint8 (0 to 255). Floats in [0, 1]: times 255.")
    if images.ndim == 3:
        images = images[:, None]
    elif images.ndim == 4 and images.shape[3] in (1, 3):
        images = images.transpose(0, 3, 1, 2)
    if images.ndim != 4 or images.shape[1] not in (1, 3) or images.size == 0:
        raise InputError(
            f"{path}: images have shape {images.shape}, expected (N, H, W), (N, H, W, 1 or 3) or (N, 1 or 3, H, W)."
        )
    return torch.from_numpy(np.ascontiguousarray(images))


def _label_column(labels: np.ndarray, count: int, path: Path) -> np.ndarray:
    """Check that there is one integer or string an image."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.shape != (count,) or labels.dtype.kind not in "iuU":
        raise InputError(
            f"{path}: labels are {labels.dtype} of shape {labels.shape}, expected one integer or string for each of "
            f"the {count} images."
        )
    return labels
