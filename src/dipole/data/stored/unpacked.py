"""Parquet files and packed Arrow files -> Arrow files in the cache, of which any row can be mapped into memory."""

import hashlib
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dipole.data.stored.arrow_store import FILE_MAGIC, MappedArrow
from dipole.data.tables import NAMELESS
from dipole.errors import InputError
from dipole.files import atomic_write, cache_folder

IN_MEMORY, ROWS_IN_MEMORY = 2**24, 50_000  # bytes and rows of all files together, up to which they are simply read
BATCH_BYTES, BATCH_ROWS = 2**23, 2048
FEWEST_SHOWN = 2**28  # bytes, from which unpacking shows a progress bar
AT_ONCE = 4
HOUR = 3600


def unpacked(paths: Sequence[Path]) -> list[MappedArrow]:
    """Return files as mapped Arrow files; what a file was unpacked to is kept in `cache_folder()` while it is the same.

    Memory does not grow with the size of the files, only with their pages; the copies take as much of the disk as the
    content unpacked. Small files are read.

    Args:
        paths: Parquet or Arrow files.

    Raises:
        InputError: a file cannot be read, or there is no room for the copies.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "a.parquet"
        >>> pq.write_table(pa.table({"text": ["a", "b"]}), path)
        >>> unpacked([path])[0].lengths
        [2]
    """
    packed = [path for path in paths if path.suffix.lower() == ".parquet" or _is_packed(path)]
    if not packed:
        return [MappedArrow(path) for path in paths]
    sizes = {path: _size(path) for path in packed}
    small = sum(sizes.values()) <= IN_MEMORY and sum(map(_rows, packed)) <= ROWS_IN_MEMORY
    if len(packed) == len(paths) and small:
        return [MappedArrow(pa.Table.from_batches(batches, schema)) for schema, batches in map(_batches, paths)]
    missing = [path for path in packed if not _kept(path).is_file()]
    _check_room(sum(sizes[path] for path in missing))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        done: Any = pool.map(_unpack, missing)
        if sum(sizes[path] for path in missing) >= FEWEST_SHOWN and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import track

            done = track(done, "unpacking", total=len(missing), console=Console(stderr=True), transient=True)
        for _ in done:
            pass
    kept = set(packed)
    return [MappedArrow(_kept(path) if path in kept else path) for path in paths]


def state_of(path: Path) -> tuple[str, str]:
    """Return what names a file, and what changes when it does: size and time of modification."""
    try:
        found = path.stat()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}. Check the path.") from error
    place = hashlib.blake2b(os.fsencode(path.resolve()), digest_size=12).hexdigest()
    return place, f"{found.st_size}-{found.st_mtime_ns}"


def forget_others(kept: Path, pattern: str) -> None:
    """Remove what was made of a file when it was another one, and what a process that was killed has begun.

    What another process has just made of it, or is making, stays.
    """
    for old in kept.parent.glob(pattern):
        if old != kept:
            old.unlink(missing_ok=True)
    for begun in kept.parent.glob(f".{kept.name[:24]}*.tmp"):
        with suppress(FileNotFoundError):  # the other process has just finished it
            if time.time() - begun.stat().st_mtime > HOUR:
                begun.unlink()


def _kept(path: Path) -> Path:
    place, state = state_of(path)
    return cache_folder() / "unpacked" / f"{place}-{state}.arrow"


def _is_packed(path: Path) -> bool:
    """Whether the batches of an Arrow file are compressed, so that they cannot be mapped."""
    before = pa.total_allocated_bytes()
    with _teaching(path), pa.memory_map(str(path)) as source:
        reader = pa.ipc.open_file(source) if source.read(len(FILE_MAGIC)) == FILE_MAGIC else None
        if reader is None or not reader.num_record_batches:
            return False
        batch = reader.get_batch(0)
        return bool(pa.total_allocated_bytes() - before > batch.nbytes // 2 > 0)


def _size(path: Path) -> int:
    """Bytes of a file, unpacked."""
    if path.suffix.lower() != ".parquet":
        return 4 * path.stat().st_size
    with _teaching(path):
        meta = pq.read_metadata(path)
    return sum(meta.row_group(number).total_byte_size for number in range(meta.num_row_groups))


def _rows(path: Path) -> int:
    """Rows of a Parquet file; more than are read at once of another."""
    return int(pq.read_metadata(path).num_rows) if path.suffix.lower() == ".parquet" else ROWS_IN_MEMORY + 1


def _check_room(needed: int) -> None:
    """Require room for the copies.

    Raises:
        InputError: there is not enough.
    """
    place = cache_folder()
    place.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(place).free
    if needed > 0.9 * free:
        raise InputError(
            f"unpacking the tables takes about {needed / 1e9:.1f} GB and {place} has {free / 1e9:.1f} GB left: set "
            "DIPOLE_CACHE to a folder on a larger disk, or use shards that are read where they lie (WebDataset, "
            "LitData)."
        )


def _unpack(path: Path) -> None:
    """Copy a file; copies of what it was before go away."""
    kept = _kept(path)
    kept.parent.mkdir(parents=True, exist_ok=True)
    forget_others(kept, f"{state_of(path)[0]}-*.arrow")
    schema, batches = _batches(path)
    with _teaching(path), atomic_write(kept) as temporary, pa.OSFile(str(temporary), "wb") as file:  # noqa: SIM117
        with pa.ipc.new_file(file, schema) as writer:
            for batch in batches:
                writer.write_batch(batch)


def _batches(path: Path) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """The columns of a file that have a name, and its rows in batches."""
    with _teaching(path):
        if path.suffix.lower() != ".parquet":
            return _arrow_batches(path)
        # With a buffer, a row group is read page by page and not at once.
        file = pq.ParquetFile(path, buffer_size=2**20)
    names = [name for name in file.schema_arrow.names if not NAMELESS.fullmatch(name)]
    repeated = next((name for place, name in enumerate(names) if name in names[:place]), None)
    if repeated is not None or not names:
        what = f"has {repeated!r} twice" if repeated is not None else "has no column with a name"
        raise InputError(f"{path}: the table {what}.")
    # Dictionaries may differ from batch to batch, which an Arrow file does not allow.
    fields = [_plain(file.schema_arrow.field(name)) for name in names]
    schema = pa.schema(fields, metadata=file.schema_arrow.metadata)
    rows = max(1, min(BATCH_ROWS, BATCH_BYTES * file.metadata.num_rows // max(1, _size(path))))

    def batches() -> Iterator[pa.RecordBatch]:
        with _teaching(path), file:
            for batch in file.iter_batches(batch_size=rows, columns=names, use_threads=False):
                yield batch.select(names).cast(schema)

    return schema, batches()


def _arrow_batches(path: Path) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    reader = pa.ipc.open_file(pa.memory_map(str(path)))
    return reader.schema, (reader.get_batch(number) for number in range(reader.num_record_batches))


def _plain(field: pa.Field) -> pa.Field:
    return field.with_type(field.type.value_type) if pa.types.is_dictionary(field.type) else field


class _teaching:  # noqa: N801
    """Turns what Arrow says of a broken file into one line."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, OSError | pa.ArrowException) and not isinstance(error, InputError):
            said = " ".join(str(error).split())[:300].rstrip(".")
            raise InputError(f"cannot read {self.path} as a table, {self.path.suffix[1:].lower()} ({said}).") from error
