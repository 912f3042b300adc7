"""Text files with a record a line: plain text and JSON lines."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from dipole.data.text.line_file import LineFile
from dipole.data.text.text_set import LineNote, Record, TextSet, missing_column
from dipole.errors import InputError

EMPTY = "without text"


class LineTextSet(TextSet):
    """A plain text file, a text a line: `{"text": line}`.

    White space around a line is kept; lines of nothing else are left out and counted. Lines that are not UTF-8 are
    read as Windows-1252 and counted. The file stays on the disc: 9 to 17 bytes of memory a line, whatever its length.

    Args:
        path: the file.
        name: of the set; by default that of the file.

    Raises:
        InputError: what `LineFile` refuses, or no line holds text.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "texts.txt"
        >>> _ = path.write_text("One text.\\n\\nAnother.\\n")
        >>> texts = LineTextSet(path)
        >>> len(texts), texts[1], texts.id(1), str(texts.skipped[0])
        (2, {'text': 'Another.'}, '3', '1 line without text (first: line 2)')
    """

    def __init__(self, path: str | Path, name: str | None = None) -> None:
        self._file = LineFile(path)
        super().__init__(
            name or self._file.path.name,
            ("text",),
            _lines_with_text(self._file),
            _left_out(self._file.has_text),
            self._file.repaired,
        )

    def id(self, index: int) -> str:
        """Number of the line, counted from 1 as editors do."""
        return str(self._rows[index] + 1)

    def _read(self, row: int) -> Record:
        return {"text": self._file.read(row)}


class JsonLinesTextSet(TextSet):
    """A file of JSON lines: a dictionary a line, with whatever it nests.

    Every line is parsed once at the start, so that a broken one is told at once and not in the middle of a run. The
    columns are the keys that all records have. Empty lines, and records whose main text is empty, are left out and
    counted.

    Args:
        path: the file.
        column: the main text, which becomes the entry `"text"` of the records; by default `"text"` where all records
            have it. Without a main text, records are handed on as they are.
        name: of the set; by default that of the file.

    Raises:
        InputError: what `LineFile` refuses, a line that is no JSON dictionary, a record without `column` or with
            something else than a string in it, or no records.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "texts.jsonl"
        >>> _ = path.write_text('{"body": "One text.", "tags": ["a", "b"]}\\n')
        >>> JsonLinesTextSet(path, column="body")[0]
        {'body': 'One text.', 'tags': ['a', 'b'], 'text': 'One text.'}
    """

    def __init__(self, path: str | Path, column: str | None = None, name: str | None = None) -> None:
        self._file = LineFile(path)
        name = name or self._file.path.name
        columns, texts = self._parse_all(column)
        self._column = column or ("text" if "text" in columns else None)
        if self._column is not None and self._column not in columns:
            raise missing_column(name, self._column, columns)
        if self._column is not None and "text" not in columns:
            columns = [*columns, "text"]
        rows = np.flatnonzero(texts)
        if not len(rows):
            raise InputError(f"{path}: no record holds text in {self._column!r}.")
        super().__init__(name, columns, rows, _left_out(texts), self._file.repaired)

    def _parse_all(self, column: str | None) -> tuple[list[str], np.ndarray]:
        """The keys that all records have, and which lines have a record with text."""
        columns: dict[str, None] | None = None
        texts = np.zeros(len(self._file), bool)
        for line in _lines_with_text(self._file).tolist():
            record = self._parse(line)
            columns = dict.fromkeys(record) if columns is None else {key: None for key in columns if key in record}
            texts[line] = self._has_text(record, column or "text", line, required=column is not None)
        return list(columns or ()), texts

    def _has_text(self, record: Record, column: str, line: int, required: bool) -> bool:
        """Whether a record's main text, if it has one, is more than white space."""
        if column not in record:
            if required:
                raise missing_column(f"{self._file.path}, line {line + 1}:", column, list(record))
            return True
        text = record[column]
        if text is not None and not isinstance(text, str):
            raise InputError(
                f"{self._file.path}, line {line + 1}: {column!r} is of type {type(text).__name__}, expected a string."
            )
        return bool(text and text.strip())

    def _parse(self, line: int) -> dict[str, Any]:
        """The dictionary of a line."""
        try:
            record = json.loads(self._file.read(line))
        except ValueError as error:
            raise InputError(
                f"{self._file.path}, line {line + 1} is not valid JSON ({error}): put it right."
            ) from error
        if not isinstance(record, dict):
            raise InputError(
                f"{self._file.path}, line {line + 1} is a {type(record).__name__}: expected a dictionary a line."
            )
        return record

    def id(self, index: int) -> str:
        """Number of the line, counted from 1 as editors do."""
        return str(self._rows[index] + 1)

    def _read(self, row: int) -> Record:
        record = self._parse(row)
        return record if self._column is None else {**record, "text": record[self._column]}


def _lines_with_text(file: LineFile) -> np.ndarray:
    """The lines that hold text."""
    rows = np.flatnonzero(file.has_text)
    if not len(rows):
        raise InputError(f"{file.path} holds {len(file)} empty lines and no text.")
    return rows


def _left_out(texts: np.ndarray) -> list[LineNote]:
    """The note on lines without text."""
    empty = len(texts) - int(texts.sum())
    return [LineNote(EMPTY, empty, int(texts.argmin()) + 1)] if empty else []
