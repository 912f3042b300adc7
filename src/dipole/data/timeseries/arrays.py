"""Series in NumPy's files and in the .ts files of the UCR and UEA archives."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dipole.data.npz_files import SPLIT_KEYS, WHOLE_KEYS, read_npz
from dipole.data.splits import stratified_split
from dipole.data.timeseries.series_set import SeriesSet
from dipole.errors import InputError

Part = tuple[np.ndarray, np.ndarray | None]


def load_npz_series(path: str | Path) -> tuple[SeriesSet, SeriesSet]:
    """Read series and labels from an .npz file.

    Keys: `x_train, y_train, x_test, y_test` or `x, y` (also in capitals), the latter split 80/20 at random but always
    alike. Labels may be missing. Series are numbers (N, T, C), or (N, T) of one channel, NaN where a value is missing.

    Raises:
        InputError: the file or its content is not as described.
    """
    path = Path(path)
    arrays = read_npz(path)
    for x_train, y_train, x_test, y_test in SPLIT_KEYS:
        if x_train in arrays and x_test in arrays:
            parts = (arrays[x_train], arrays.get(y_train)), (arrays[x_test], arrays.get(y_test))
            train, test = make_sets(path.stem, *parts)
            return train, test
    for x, y in WHOLE_KEYS:
        if x in arrays:
            return split_set(path.stem, (arrays[x], arrays.get(y)))
    raise InputError(
        f"{path} has the keys {', '.join(arrays) or 'none'}: expected x_train, y_train, x_test, y_test, or x, y."
    )


def read_npy(path: str | Path) -> np.ndarray:
    """Read one array of numbers; objects are refused, because reading them would run the file's code.

    Raises:
        InputError: the file is missing, damaged, or holds no numbers.
    """
    try:
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist. Check the path.") from error
    except (OSError, EOFError, ValueError) as error:
        raise InputError(f"cannot read {path}: {error}. Save a plain array with numpy.save.") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise InputError(f"{path} holds several arrays: name it .npz.")
    return array


def load_ts(path: str | Path) -> tuple[SeriesSet, SeriesSet]:
    """Read `NAME_TRAIN.ts` and, beside it, `NAME_TEST.ts` with aeon; shorter series end with missing steps.

    Args:
        path: of one of the two files, or of the folder that holds them.

    Raises:
        InputError: aeon is not installed, a file is missing or cannot be read.
    """
    path = Path(path)
    files = [path] if path.is_file() else sorted(path.glob("*_TRAIN.ts"))
    if not files:
        raise InputError(f"{path} holds no file NAME_TRAIN.ts.")
    name = files[0].stem.removesuffix("_TRAIN").removesuffix("_TEST")
    pair = [files[0].with_name(f"{name}_{part}.ts") for part in ("TRAIN", "TEST")]
    if not all(file.is_file() for file in pair):
        raise InputError(f"{files[0]}: expected {pair[0].name} and {pair[1].name} in one folder.")
    train, test = make_sets(name, *map(_read_ts, pair))
    return train, test


def split_set(name: str, part: Part) -> tuple[SeriesSet, SeriesSet]:
    """Split series at random, but always alike, into 80 % to train on and 20 % to test with.

    Raises:
        InputError: there are fewer than two series.
    """
    whole = make_sets(name, part)[0]
    labels = torch.zeros(len(whole), dtype=torch.long) if whole.labels is None else whole.labels
    indices = stratified_split(labels)
    if not all(map(len, indices)):
        raise InputError(f"{name} has {len(whole)} series: too few for a training and a test part.")
    train, test = (
        SeriesSet(
            name,
            whole.values[index],
            whole.columns,
            None if whole.labels is None else whole.labels[index],
            whole.class_names,
            tuple(whole.ids[i] for i in index.tolist()),
        )
        for index in indices
    )
    return train, test


def make_sets(name: str, *parts: Part) -> tuple[SeriesSet, ...]:
    """Make one set of each part, with one numbering of the classes, and as many steps in all of them.

    Args:
        name: of the sets.
        *parts: series (N, T, C) or (N, T) and labels (N,) or None.

    Raises:
        InputError: arrays do not fit together, or hold no numbers.
    """
    arrays = [_series(name, x) for x, _ in parts]
    if len({x.shape[2] for x in arrays}) > 1:
        raise InputError(f"{name}: its parts have {[x.shape[2] for x in arrays]} channels: expected as many in each.")
    given = [y for _, y in parts]
    if any(y is not None and y.shape != (len(x),) for x, y in zip(arrays, given, strict=True)):
        raise InputError(f"{name}: labels have another shape than (N,), one for each series.")
    for y in given:
        if y is not None and y.dtype.kind == "f" and not (y == np.round(y)).all():
            wrong = y[y != np.round(y)][0]
            raise InputError(f"{name}: a label is {wrong}: expected whole numbers or texts, one for each series.")
    labels: list[Tensor | None] = [None] * len(parts)
    classes: tuple[str, ...] = ()
    if all(y is not None for y in given):
        found, flat = np.unique(np.concatenate([y for y in given if y is not None]), return_inverse=True)
        classes = tuple(map(str, found))
        ends = np.cumsum([len(x) for x in arrays])[:-1]
        labels = [torch.from_numpy(part.astype(np.int64)) for part in np.split(flat, ends)]
    columns = tuple(str(channel) for channel in range(arrays[0].shape[2]))
    return tuple(
        SeriesSet(name, torch.from_numpy(x), columns, y, classes, tuple(f"{name}#{row}" for row in range(len(x))))
        for x, y in zip(arrays, labels, strict=True)
    )


def _series(name: str, x: np.ndarray) -> np.ndarray:
    """Series (N, T, C) as float32."""
    if x.dtype.kind not in "fiub" or x.ndim not in (2, 3):
        raise InputError(
            f"{name}: series are {x.dtype} of shape {x.shape}: expected numbers (N, T, C), or (N, T) of one channel."
        )
    return np.ascontiguousarray(x if x.ndim == 3 else x[:, :, None], dtype=np.float32)


def _read_ts(path: Path) -> tuple[np.ndarray, np.ndarray | None]:
    """Series (N, T, C) and labels of a .ts file."""
    try:
        from aeon.datasets import load_from_ts_file
    except ImportError as error:
        raise InputError("reading .ts files needs aeon: pip install 'dipole[timeseries]'.") from error
    try:
        found, labels = load_from_ts_file(str(path))
    except (OSError, ValueError, IndexError, TypeError) as error:
        raise InputError(f"cannot read {path} as a .ts file: {' '.join(str(error).split())[:200]}") from error
    if len(found) == 0:
        raise InputError(f"{path} holds no series: expected lines below @data.")
    steps = max(series.shape[1] for series in found)
    x = np.full((len(found), steps, found[0].shape[0]), np.nan, dtype=np.float32)
    for row, series in zip(x, found, strict=True):
        row[: series.shape[1]] = series.T
    return x, labels
