"""The image sets that dipole knows by name, and the one function that turns `--data` into images."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dipole.data.cifar_files import FOLDER, load_cifar10_binary, refuse_pickles
from dipole.data.digits import load_digits
from dipole.data.emoji import load_emoji
from dipole.data.finding import existing_path, existing_root, leads_nowhere
from dipole.data.image_folder import DEFAULT_SIZE, load_image_folder
from dipole.data.image_set import ImageSet
from dipole.data.mnist_files import has_mnist_files, load_mnist_files
from dipole.data.npz_files import load_npz
from dipole.data.omniglot import BACKGROUND, load_omniglot
from dipole.data.photographs import load_photographs
from dipole.data.shapes import load_shapes
from dipole.data.stored.finding import find_store
from dipole.data.torchvision_sets import NAMES as TORCHVISION_NAMES
from dipole.data.torchvision_sets import load_torchvision
from dipole.errors import InputError
from dipole.ops.checks import check_choice

Pair = tuple[ImageSet, ImageSet]
_TORCHVISION = "torchvision:"


@dataclass(frozen=True)
class DataSetInfo:
    """A row of `dipole data`: what a set is, how large, and where it comes from."""

    name: str
    description: str
    images: str
    classes: int | None
    where: str


def load_image_sets(
    data: str,
    data_root: str | Path | None = None,
    image_size: int | None = None,
    column: str | None = None,
    check: str = "drawn",
) -> tuple[ImageSet, ImageSet]:
    """Load a training and a test set.

    Args:
        data: a name that `available()` lists; `torchvision:NAME`; or a path: an image folder (see
            `load_image_folder`), an .npz file (see `load_npz`), a folder with MNIST's or CIFAR-10's original files, or
            a table that stays on disk (Parquet, Arrow, `datasets`, WebDataset, LitData; see
            `dipole.data.stored.find_store`). A name goes before a folder called alike: write `./digits` for that.
        data_root: folder of the sets that are read from files; relative paths are also looked up there.
        image_size: side at which the files of an image folder, or of a table, are decoded, 96 by default; other sets
            keep theirs.
        column: of a table that holds the images; the only one that does if None.
        check: which images of a table are looked at first: `"drawn"`, up to 50,000 all and of more 10,000; or `"all"`.

    Returns:
        The training and the test set.

    Raises:
        InputError: an unknown name, a missing path, or data that are not what they should be.

    Example:
        >>> train, test = load_image_sets("shapes")
        >>> train.input_shape, len(train), len(test)
        ((3, 32, 32), 2000, 500)
    """
    if data.startswith(_TORCHVISION):
        if data_root is None:
            raise InputError(f"{data} is downloaded to a folder of your choice: give --data-root.")
        return load_torchvision(data.removeprefix(_TORCHVISION), Path(data_root).expanduser())
    root = existing_root(data_root)
    if data in _SETS:
        return _SETS[data][1](root)
    check_choice(check, ("drawn", "all"), "check")
    store = find_store(data, root)
    if store is not None:
        from dipole.data.stored_image_set import load_stored_image_sets

        return load_stored_image_sets(store, DEFAULT_SIZE if image_size is None else image_size, column, check)
    if column is not None:
        raise InputError(f"--loading.column {column}: {data} is no table that stays on disk; leave it out.")
    path = existing_path(data, root)
    if path is None:
        instead = "give the path of an image folder or an .npz file"
        raise leads_nowhere(data, "known set", [*_SETS, f"{_TORCHVISION}NAME"], instead)
    return _load_path(path, image_size)


def available() -> list[DataSetInfo]:
    """List the image sets that dipole knows, those that need no files first.

    Example:
        >>> [info.name for info in available()][:2]
        ['digits', 'shapes']
    """
    return [info for info, _ in _SETS.values()] + [
        DataSetInfo(
            _TORCHVISION + "NAME", ", ".join(TORCHVISION_NAMES), "", None, "downloaded by torchvision to --data-root"
        ),
        DataSetInfo("FOLDER", "your images: train/ and test/, or class folders, or a flat folder", "", None, "a path"),
        DataSetInfo("SHARDS", "your images: Parquet, Arrow, .tar (WebDataset), LitData", "", None, "a path or pattern"),
        DataSetInfo("FILE.npz", "your images: x_train, y_train, x_test, y_test (uint8)", "", None, "a path"),
    ]


def _load_path(path: Path, image_size: int | None) -> Pair:
    """Load whatever a path leads to."""
    if path.is_dir():
        refuse_pickles(path)
        if (path / "data_batch_1.bin").is_file():
            return load_cifar10_binary(path)
        if any(BACKGROUND.match(each.name) for each in path.glob("*.zip")):
            return load_omniglot(path)
        if has_mnist_files(path):
            return load_mnist_files(path, path.resolve().name)
        return load_image_folder(path, DEFAULT_SIZE if image_size is None else image_size)
    if path.suffix.lower() == ".npz":
        return load_npz(path)
    raise InputError(
        f"{path} is a file that dipole does not read as data: give a folder of images, an .npz file or shards "
        "(.parquet, .arrow, .tar). Unpack other archives first."
    )


def _in_root(root: Path | None, name: str, *places: str) -> Path:
    """The first of several places below the data root that exists."""
    if root is None:
        raise InputError(f"{name} is read from files: give --data-root, the folder that holds {' or '.join(places)}.")
    for place in places:
        if (root / place).exists():
            return root / place
    raise InputError(f"{name} is not in {root}: expected {' or '.join(places)} there.")


def _mnist(root: Path | None) -> Pair:
    """MNIST from an .npz file or its original files."""
    for folder in ("mnist", "MNIST/raw"):
        if root is not None and has_mnist_files(root / folder):
            return load_mnist_files(root / folder)
    return load_npz(
        _in_root(root, "mnist", "mnist/mnist.npz", "mnist.npz", "mnist/train-images-idx3-ubyte[.gz] ..."), "mnist"
    )


def _cifar10(root: Path | None) -> Pair:
    """CIFAR-10 from its binary version or an .npz file."""
    if root is not None and not (root / FOLDER).exists():
        refuse_pickles(root / "cifar-10-batches-py")
    path = _in_root(root, "cifar10", FOLDER, "cifar10.npz", "cifar10_subset/cifar10_12k.npz")
    return load_cifar10_binary(path) if path.is_dir() else load_npz(path, "cifar10")


def _emoji(root: Path | None) -> Pair:
    """Emoji from their .npz file."""
    return load_emoji(_in_root(root, "emoji", "emoji/emoji_48.npz", "emoji_48.npz"))


def _omniglot(root: Path | None) -> Pair:
    """Omniglot from its zips."""
    return load_omniglot(_in_root(root, "omniglot", "omniglot"))


_ROWS: list[tuple[DataSetInfo, Callable[[Path | None], Pair]]] = [
    (
        DataSetInfo("digits", "handwritten digits, 8x8, grey (scikit-learn)", "1347 + 450", 10, "built in"),
        lambda root: load_digits(),
    ),
    (
        DataSetInfo("shapes", "coloured shapes, 32x32, five independent factors", "2000 + 500", 6, "built in"),
        lambda root: load_shapes(),
    ),
    (
        DataSetInfo(
            "photographs", "tiles of 18 photographs, 32x32, by photograph", "2700 + 906", 18, "built in with [demo]"
        ),
        lambda root: load_photographs(),
    ),
    (
        DataSetInfo("mnist", "handwritten digits, 28x28, grey", "60000 + 10000", 10, "files in --data-root"),
        _mnist,
    ),
    (
        DataSetInfo("cifar10", "small photographs, 32x32 (or its subset)", "50000 + 10000", 10, "files in --data-root"),
        _cifar10,
    ),
    (
        DataSetInfo("emoji", "emoji in two art styles, 48x48, by category", "3056 + 766", 10, "files in --data-root"),
        _emoji,
    ),
    (
        DataSetInfo(
            "omniglot", "characters of alphabets, new ones in the test part", "by zips", None, "files in --data-root"
        ),
        _omniglot,
    ),
]
_SETS = {info.name: (info, load) for info, load in _ROWS}
