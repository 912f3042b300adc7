"""A folder to write to, on this machine or in an object store."""

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

from dipole.errors import InputError
from dipole.files import atomic_write


class OutputFolder:
    """Whole files under a folder; a reader never sees a part of one.

    Args:
        place: a folder of this machine, or an address that Arrow knows, such as `s3://bucket/name`.

    Raises:
        InputError: Arrow does not know the address, or cannot reach it.

    Example:
        >>> import tempfile
        >>> folder = OutputFolder(tempfile.mkdtemp())
        >>> folder.write("notes/a.txt", b"whole")
        >>> folder.names("notes"), folder.read("notes/a.txt")
        ({'a.txt'}, b'whole')
    """

    def __init__(self, place: str | Path) -> None:
        self.place = str(place)
        self.remote: Any = None
        if "://" not in self.place:
            self.root = str(Path(self.place).expanduser())
            return
        import pyarrow as pa
        from pyarrow.fs import FileSystem

        try:
            self.remote, self.root = FileSystem.from_uri(self.place)
        except (pa.ArrowInvalid, OSError, ValueError) as error:
            raise InputError(f"{self.place} cannot be written to ({error}).") from error

    def names(self, inside: str = "") -> set[str]:
        """Return the names of the files of a folder; of none if it is not there."""
        if self.remote is None:
            folder = Path(self.root) / inside
            return {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        from pyarrow.fs import FileSelector

        found = self.remote.get_file_info(FileSelector(f"{self.root}/{inside}".rstrip("/"), allow_not_found=True))
        return {info.base_name for info in found}

    def read(self, name: str) -> bytes:
        """Return the content of a file."""
        if self.remote is None:
            return (Path(self.root) / name).read_bytes()
        with self.remote.open_input_stream(f"{self.root}/{name}") as file:
            content: bytes = file.read()
            return content

    def write(self, name: str, content: bytes) -> None:
        """Write a file. An object store shows it when all of it is there.

        Raises:
            InputError: it cannot be written.
        """
        try:
            if self.remote is None:
                with atomic_write(Path(self.root) / name) as temporary:
                    temporary.write_bytes(content)
                return
            if not self.remote.type_name.startswith(("s3", "gcs", "abfs")):
                self.remote.create_dir(f"{self.root}/{name}".rpartition("/")[0])
            with self.remote.open_output_stream(f"{self.root}/{name}") as file:
                file.write(content)
        except OSError as error:
            raise InputError(
                f"cannot write to {self.place}: {error.strerror or error}. Choose another --out."
            ) from error

    def write_table(self, name: str, tables: Sequence[Any]) -> None:
        """Write tables of one schema, one after the other, as a Parquet file."""
        import pyarrow.parquet as pq

        buffer = BytesIO()
        with pq.ParquetWriter(buffer, tables[0].schema) as writer:
            for table in tables:
                writer.write_table(table)
        self.write(name, buffer.getvalue())
