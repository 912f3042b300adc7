"""The sets of several modalities that dipole knows by name, and the one function that turns `--data` into rows."""

from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from dipole.data.finding import existing_path, existing_root, leads_nowhere
from dipole.data.multimodal.built_in import load_digit_trios, load_emoji_captions, load_shape_captions, load_xor
from dipole.data.multimodal.made_sounds import load_sound_captions
from dipole.data.multimodal.media_folder import load_media_folder
from dipole.data.multimodal.modality_set import ModalitySet
from dipole.data.multimodal.table import TEST, TRAIN, Reading, load_table
from dipole.data.multimodal.table_files import EXTENSIONS
from dipole.data.registry import DataSetInfo
from dipole.data.splits import stratified_split
from dipole.data.stored.finding import existing_pattern, find_store
from dipole.errors import InputError

Sets = tuple[ModalitySet, ModalitySet | None]


def load_modalities(
    data: str,
    data_root: str | Path | None = None,
    *,
    reading: Reading | None = None,
    test_fraction: float = 0.1,
) -> Sets:
    """Load rows to train on and rows to test on.

    Args:
        data: a name that `available_modalities()` lists, or the path of a table, see `load_table`. A name goes before a
            file called alike.
        data_root: folder of the sets that are read from files; relative paths are also looked up there.
        reading: how a table is read; of a named set, only which modalities are taken counts.
        test_fraction: share of the rows of a table without a column `split` that are drawn to test on, always alike;
            0 for none.

    Returns:
        The training set, and the test set or None.

    Raises:
        InputError: an unknown name, a missing path, or data that are not what they should be.

    Example:
        >>> load_modalities("shape-captions")[1]
        ModalitySet('shape-captions', 500 rows, image: image, caption: text)
    """
    if not 0 <= test_fraction < 1:
        raise InputError(f"test_fraction is {test_fraction}: expected a share from 0 to below 1.")
    if data in _SETS:
        return _chosen(_SETS[data][1](existing_root(data_root)), reading)
    whole, split = load_table(table_path(data, data_root), reading)
    return _divided(whole, split, test_fraction)


def load_rows(data: str, data_root: str | Path | None = None, *, reading: Reading | None = None) -> ModalitySet:
    """Load all rows of a table, whatever its split says, or the test rows of a named set, or the files of a folder.

    A folder of image or sound files, see `load_media_folder`, is read where `reading` names the modalities.

    Example:
        >>> len(load_rows("xor"))
        1000
    """
    if data in _SETS:
        test = _chosen(_SETS[data][1](existing_root(data_root)), reading)[1]
        assert test is not None, "named sets have test rows"
        return test
    path = table_path(data, data_root)
    if reading is not None and reading.modalities and path.is_dir() and find_store(path) is None:
        return load_media_folder(path, reading)
    return load_table(path, reading)[0]


def available_modalities() -> list[DataSetInfo]:
    """List the sets of several modalities that dipole knows, those that need no files first.

    Example:
        >>> [info.name for info in available_modalities()][:2]
        ['shape-captions', 'xor']
    """
    return [info for info, _ in _SETS.values()] + [
        DataSetInfo(
            "FILE.parquet", "your table: .parquet, .csv, .tsv or .jsonl; columns are modalities", "", None, "a path"
        )
    ]


def table_path(data: str, data_root: str | Path | None) -> Path:
    """Return the file, the folder or the pattern that a path means, also below the data root.

    Raises:
        InputError: there is none.
    """
    path = existing_path(data, existing_root(data_root)) or existing_pattern(data, data_root)
    if path is None:
        instead = f"give the path of a table ({', '.join(EXTENSIONS)})"
        raise leads_nowhere(data, "known set of several modalities", _SETS, instead)
    return path


def _chosen(sets: tuple[ModalitySet, ModalitySet], reading: Reading | None) -> Sets:
    """Both sets with the modalities that are asked for."""
    wanted = None if reading is None else reading.modalities
    if wanted is None:
        return sets
    for part in sets:
        if reading is not None and reading.partial and any(name in part.columns for name in wanted):
            wanted = {name: kind for name, kind in wanted.items() if name in part.columns}
        part.require(*wanted)
        for name, kind in wanted.items():
            if kind not in (None, part.columns[name].kind):
                raise InputError(f"{part.name}: {name!r} is of kind {part.columns[name].kind}, not {kind}.")
        part.columns = {name: part.columns[name] for name in wanted}
    return sets


def _divided(whole: ModalitySet, split: Sequence[str | None] | None, test_fraction: float) -> Sets:
    """The rows to train and to test on.

    Raises:
        InputError: a split of another name, or no row to train on.
    """
    if split is None:
        if test_fraction == 0 or len(whole) < 3:
            return whole, None
        kept, drawn = stratified_split(torch.zeros(len(whole), dtype=torch.long), test_fraction)
        return whole.select(kept), whole.select(drawn)
    names = {name: str(name).lower() for name in set(split)}
    strange = sorted(set(names.values()) - {*TRAIN, *TEST})
    if strange:
        raise InputError(f"{whole.name}: the column split holds {strange[0]!r}, expected {', '.join((*TRAIN, *TEST))}.")
    in_train = torch.tensor([names[name] in TRAIN for name in split])
    if not bool(in_train.any()):
        raise InputError(f"{whole.name}: no row has the split {TRAIN[0]!r}: there is nothing to train on.")
    test = whole.select((~in_train).nonzero().flatten())
    return whole.select(in_train.nonzero().flatten()), test if len(test) else None


def _in_root(root: Path | None, name: str, *places: str) -> Path:
    """The first of several places below the data root that exists."""
    if root is None:
        raise InputError(f"{name} is read from files: give --data-root, the folder that holds {' or '.join(places)}.")
    for place in places:
        if (root / place).exists():
            return root / place
    raise InputError(f"{name} is not in {root}: expected {' or '.join(places)} there.")


def _emoji(root: Path | None) -> tuple[ModalitySet, ModalitySet]:
    """Emoji from their .npz file."""
    return load_emoji_captions(_in_root(root, "emoji-captions", "emoji/emoji_48.npz", "emoji_48.npz"))


def _digits(root: Path | None) -> tuple[ModalitySet, ModalitySet]:
    """Spoken and written digits from their .npz files."""
    sounds = _in_root(root, "digit-trios", "fsdd/fsdd_8k.npz", "fsdd_8k.npz")
    return load_digit_trios(sounds, _in_root(root, "digit-trios", "mnist/mnist.npz", "mnist.npz"))


_ROWS: list[tuple[DataSetInfo, Callable[[Path | None], tuple[ModalitySet, ModalitySet]]]] = [
    (
        DataSetInfo("shape-captions", "coloured shapes with three captions each", "2000 + 500", 6, "built in"),
        lambda root: load_shape_captions(),
    ),
    (
        DataSetInfo("xor", "bits a, b and a xor b (Symile)", "2000 + 1000", None, "built in"),
        lambda root: load_xor(),
    ),
    (
        DataSetInfo("sound-captions", "synthetic sounds of twelve kinds with captions", "480 + 120", 12, "built in"),
        lambda root: load_sound_captions(),
    ),
    (
        DataSetInfo(
            "emoji-captions", "emoji in two art styles with their names", "1528 + 383", 10, "files in --data-root"
        ),
        _emoji,
    ),
    (
        DataSetInfo(
            "digit-trios", "spoken digits, handwritten digits, number words", "2700 + 300", 10, "files in --data-root"
        ),
        _digits,
    ),
]
_SETS = {info.name: (info, load) for info, load in _ROWS}
