"""Nothing in a run directory or a model is ever unpickled; what looks like a pickle is refused."""

import zipfile
from contextlib import suppress
from pathlib import Path

from dipole.errors import InputError

NUMPY_HEADER = 4096  # bytes in which the description of a NumPy array lies
PICKLE_SUFFIXES = {".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".joblib", ".dill"}


def is_pickle(path: str | Path) -> bool:
    """Whether a file is a pickle by its name or its first bytes, or holds one: an archive, an array of objects.

    Example:
        >>> import pickle, tempfile
        >>> path = Path(tempfile.mkdtemp()) / "weights.safetensors"
        >>> _ = path.write_bytes(pickle.dumps({"a": 1}))
        >>> is_pickle(path)
        True
    """
    path = Path(path)
    if path.suffix.lower() in PICKLE_SUFFIXES:
        return True
    with path.open("rb") as file:
        head = file.read(NUMPY_HEADER)
    # Protocols 2 to 5 open with PROTO and their number. A safetensors file opens with the length of its header, whose
    # upper bytes are zero, so that 0x80 0x02 could only open one whose header is exactly 640 bytes long, and so on.
    if len(head) > 1 and head[0] == 0x80 and 2 <= head[1] <= 5 and not _has_safetensors_header(path):
        return True
    if head.startswith(b"PK") and zipfile.is_zipfile(path):
        with suppress(zipfile.BadZipFile), zipfile.ZipFile(path) as archive:
            return any(_is_pickled_member(archive, name) for name in archive.namelist())
    return _holds_objects(head)


def _is_pickled_member(archive: zipfile.ZipFile, name: str) -> bool:
    """Whether a file in an archive is a pickle, as in torch's checkpoints, or an array of Python objects."""
    if name.endswith(".npy"):
        with archive.open(name) as member:
            return _holds_objects(member.read(NUMPY_HEADER))
    return name.endswith((".pkl", ".pickle"))


def _holds_objects(head: bytes) -> bool:
    """Whether the header of a NumPy array declares Python objects, which NumPy stores as a pickle."""
    return head.startswith(b"\x93NUMPY") and b"|O" in head


def _has_safetensors_header(path: Path) -> bool:
    """Whether the file opens with a length and the JSON object that it promises."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        return length < path.stat().st_size and file.read(1) == b"{"


def refuse_pickles(folder: str | Path) -> None:
    """Require that no file below a folder is a pickle.

    Raises:
        InputError: one is; the message names it.
    """
    for path in sorted(Path(folder).rglob("*")):
        if path.is_file() and is_pickle(path):
            raise InputError(
                f"{path} is a pickle, which can run code when it is read: refused. "
                "dipole reads safetensors, JSON and YAML only; remove the file if you do not need it."
            )
