"""Random access to the lines of a text file of any size."""

import gzip
import os
import shutil
import tempfile
import weakref
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Int64

from dipole.data.text.text_set import LineNote
from dipole.errors import InputError

NOT_UTF8 = "not UTF-8, read as Windows-1252"
_CHUNK = 2**22
_UTF8_MARK = b"\xef\xbb\xbf"
_REFUSED = {
    b"\xff\xfe": "is UTF-16: write it again as UTF-8",
    b"\xfe\xff": "is UTF-16: write it again as UTF-8",
    b"\x1f\x8b": "is compressed (gzip): unpack it first",
    b"BZh": "is compressed (bzip2): unpack it first",
    b"\xfd7zXZ": "is compressed (xz): unpack it first",
    b"\x28\xb5\x2f\xfd": "is compressed (zstd): unpack it first",
    b"PK\x03\x04": "is a zip archive: unpack it first",
}


def decode(raw: bytes) -> tuple[str, bool]:
    """Decode a line as UTF-8 or, where it is not, as Windows-1252.

    Windows-1252 holds Latin-1's letters and the typographic quotes that mixed collections are full of. Its five
    undefined bytes become U+FFFD, so that no line is lost.

    Returns:
        The text, and whether it was UTF-8.

    Example:
        >>> decode(b"caf\\xc3\\xa9"), decode(b"caf\\xe9")
        (('café', True), ('café', False))
    """
    try:
        return raw.decode("utf-8"), True
    except UnicodeDecodeError:
        return raw.decode("cp1252", errors="replace"), False


class LineFile:
    """The lines of a file, read from the disc one by one.

    The file is scanned once, in pieces, and remembered as one 64-bit offset a line. A line ends at a line feed, or a
    carriage return and a line feed; a mark of UTF-8 at the start of the file is no part of its first line. Reads are
    positioned (`pread`), so that processes and threads can share one file; a copy sent to another process opens it
    anew. A file that ends in `.gz` is unpacked once, into the system's folder for temporary files (`TMPDIR`), and what
    was unpacked goes away with the object.

    Attributes:
        path: the file.
        has_text: (lines,) whether a line holds more than white space.
        repaired: lines that are not UTF-8, if there are any.

    Args:
        path: the file.

    Raises:
        InputError: the file is missing, a folder, empty, compressed, UTF-16 or binary.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "lines.txt"
        >>> _ = path.write_bytes(b"first\\r\\n\\nthird")
        >>> lines = LineFile(path)
        >>> len(lines), lines.read(0), lines.read(2), lines.has_text.tolist()
        (3, 'first', 'third', [True, False, True])
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._plain = self._unpacked() if self.path.suffix.lower() == ".gz" else self.path
        start = check_text_file(self._plain, self.path)
        self._identity = _identity(self._plain)
        self._handle: int | None = None
        self._offsets, self.has_text, invalid = _scan(self._plain, start)
        self.repaired = () if not invalid else (LineNote(NOT_UTF8, len(invalid), invalid[0] + 1),)

    def read(self, line: int) -> str:
        """Return a line, counted from 0, without its end.

        Raises:
            InputError: the file has changed since it was scanned.
        """
        start, end = self._offsets[line : line + 2].tolist()
        raw = os.pread(self._open(), end - start, start)
        return decode(raw.removesuffix(b"\n").removesuffix(b"\r"))[0]

    def __len__(self) -> int:
        return len(self.has_text)

    def _open(self) -> int:
        """The open file, checked to be the one that was scanned."""
        if self._handle is None:
            if _identity(self._plain) != self._identity:
                raise InputError(f"{self.path} has changed since it was scanned: start again.")
            self._handle = os.open(self._plain, os.O_RDONLY)
            weakref.finalize(self, os.close, self._handle)
        return self._handle

    def _unpacked(self) -> Path:
        """What a compressed file holds, as a temporary file."""
        handle, name = tempfile.mkstemp(prefix="dipole-", suffix=".txt")
        weakref.finalize(self, remove_own, name, os.getpid())
        try:
            with open(handle, "wb") as plain, gzip.open(self.path) as packed:
                shutil.copyfileobj(packed, plain, _CHUNK)
        except (OSError, EOFError, zlib.error) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise InputError(f"cannot read {self.path}: {reason}. Is it a whole gzip file?") from error
        return Path(name)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_handle": None}


def _identity(path: Path) -> tuple[int, int]:
    """What changes if a file is written again; (0, 0) if it is gone."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns


def remove_own(name: str, process: int) -> None:
    """Remove a temporary file, but not when a forked worker ends before the process that made it."""
    if os.getpid() == process:
        Path(name).unlink(missing_ok=True)


def check_text_file(path: Path, named: Path | None = None) -> int:
    """Refuse what is no text; return the byte at which the text starts, behind a mark of UTF-8.

    Args:
        path: the file.
        named: what to call it in an error, if it is a copy.

    Raises:
        InputError: the file is missing, a folder, empty, compressed, UTF-16 or binary.
    """
    named = named or path
    if path.is_dir():
        raise InputError(f"{named} is a folder: give a file of texts.")
    try:
        with path.open("rb") as file:
            head = file.read(8192)
    except OSError as error:
        raise InputError(f"cannot read {named}: {error.strerror}. Check the path.") from error
    for mark, advice in _REFUSED.items():
        if head.startswith(mark):
            raise InputError(f"{named} {advice}.")
    if b"\0" in head:
        raise InputError(f"{named} is a binary file: expected text, UTF-8, one record a line.")
    if not head.removeprefix(_UTF8_MARK):
        raise InputError(f"{named} is empty: expected one text or more.")
    return len(_UTF8_MARK) if head.startswith(_UTF8_MARK) else 0


def _scan(path: Path, start: int) -> tuple[Int64[np.ndarray, " offsets"], Bool[np.ndarray, " lines"], list[int]]:
    """Offsets of the lines and of the end, which lines hold text, and which are not UTF-8."""
    offsets: list[np.ndarray] = []
    has_text: list[np.ndarray] = []
    invalid: list[int] = []
    lines = 0
    with path.open("rb") as file:
        file.seek(start)
        # Pieces end where a line ends, so that no line and no letter is cut.
        while piece := file.read(_CHUNK) + file.readline():
            data = np.frombuffer(piece, np.uint8)
            ends = np.flatnonzero(data == ord("\n")) + 1
            starts = np.concatenate([[0], ends[ends < len(data)]])
            offsets.append(starts + start)
            has_text.append(np.logical_or.reduceat(data > ord(" "), starts))
            if not (piece.isascii() or decode(piece)[1]):
                invalid += [lines + i for i, raw in enumerate(piece.split(b"\n")) if not decode(raw)[1]]
            lines += len(starts)
            start += len(piece)
    return np.concatenate([*offsets, [start]]), np.concatenate(has_text), invalid
