"""Where the bytes of an image or a sound are: in a file, or in the cell of a table."""

from dataclasses import dataclass, field
from io import BufferedReader, BytesIO
from pathlib import Path


@dataclass(frozen=True)
class Content:
    """The bytes of a file that lie in the cell of a table.

    Args:
        name: what messages call it.
        content: the whole file.
    """

    name: str
    content: bytes = field(repr=False)

    def __str__(self) -> str:
        return self.name


Source = Path | Content


def open_source(source: Source) -> BufferedReader | BytesIO:
    """Open a file or a cell to read bytes from it.

    Example:
        >>> with open_source(Content("row 1", b"abc")) as file:
        ...     file.read()
        b'abc'
    """
    return BytesIO(source.content) if isinstance(source, Content) else source.open("rb")
