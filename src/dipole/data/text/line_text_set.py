"""Text files with a record a line: plain text and JSON lines."""

import json
from pathlib import Path

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
    columns are the keys that all records have. Empty lines, lines that are no JSON dictionary, and records whose main
    text is empty or no string are left out and counted.

    Args:
        path: the file.
        column: the main text, which becomes the entry `"text"` of the records; by default `"text"` where all records
            have it. Without a main text, records are handed on as they are.
        name: of the set; by default that of the file.

    Raises:
        InputError: what `LineFile` refuses, or no line is a record with text.

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
        self._column = column
        columns, rows, left_out = self._parse_all()
        if not len(rows):
            raise InputError(f"{path} has no record that can be used: {'; '.join(map(str, left_out))}.")
        if self._column is not None and "text" not in columns:
            columns = [*columns, "text"]
        super().__init__(name, columns, rows, left_out, self._file.repaired)

    def _parse_all(self) -> tuple[list[str], np.ndarray, list[LineNote]]:
        """The keys that all records have, the lines that have a record with text, and what was left out."""
        columns: dict[str, None] | None = None
        named: dict[str, None] = {}
        rows = []
        left_out: dict[str, list[int]] = {}
        for line in range(len(self._file)):
            record, reason = self._parse(line) if self._file.has_text[line] else ({}, EMPTY)
            named |= dict.fromkeys(record)
            reason = reason or self._unusable(record)
            if reason:
                left_out.setdefault(reason, []).append(line + 1)
            else:
                columns = dict.fromkeys(record) if columns is None else {key: None for key in columns if key in record}
                rows.append(line)
        if self._column is not None and named and self._column not in named:
            raise missing_column(self._file.path.name, self._column, list(named))
        if self._column is None and "text" in (columns or ()):
            self._column = "text"
        return list(columns or ()), np.array(rows), [LineNote(why, len(at), at[0]) for why, at in left_out.items()]

    def _unusable(self, record: Record) -> str:
        """Why a record cannot be used; nothing if it can."""
        column = self._column or "text"
        if column not in record:
            return "" if self._column is None else f"without {column!r}"
        text = record[column]
        if text is not None and not isinstance(text, str):
            return f"whose {column!r} is of type {type(text).__name__} and no string"
        return "" if text and text.strip() else EMPTY

    def _parse(self, line: int) -> tuple[Record, str]:
        """The dictionary of a line, or why it is none."""
        try:
            record = json.loads(self._file.read(line))
        except (ValueError, RecursionError):
            return {}, "not valid JSON"
        return (record, "") if isinstance(record, dict) else ({}, f"with a {type(record).__name__} and no dictionary")

    def id(self, index: int) -> str:
        """Number of the line, counted from 1 as editors do."""
        return str(self._rows[index] + 1)

    def _read(self, row: int) -> Record:
        record, _ = self._parse(row)
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
