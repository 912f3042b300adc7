"""Passages: a title and a text."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dipole.data.text.line_text_set import JsonLinesTextSet
from dipole.data.text.text_set import Record
from dipole.errors import InputError


def passage_text(passage: Mapping[str, Any]) -> str:
    """Return `title text`, or the text alone if there is no title.

    Example:
        >>> passage_text({"title": "Bees", "text": "They dance."}), passage_text({"title": "", "text": "They dance."})
        ('Bees They dance.', 'They dance.')
    """
    title, text = passage.get("title") or "", passage.get("text") or ""
    return f"{title} {text}" if title else text


class PassageTextSet(JsonLinesTextSet):
    """The `corpus.jsonl` of a BEIR folder: `{"_id": ..., "title": ..., "text": ...}` a line.

    A record holds `"id"` and `"text"`, which is the title and the text.

    Args:
        path: the file.
        keep_empty: keep passages without title and text, as a search must, or leave them out and count them, as
            training does.
        name: of the set; by default that of the file.

    Raises:
        InputError: what `JsonLinesTextSet` refuses, or a line without `_id` or `text`.
    """

    def __init__(self, path: str | Path, keep_empty: bool = False, name: str | None = None) -> None:
        self._keep_empty = keep_empty
        super().__init__(path, name=name)
        self.columns = ("id", "text")

    def _has_text(self, record: Record, column: str, line: int, required: bool) -> bool:
        """Whether there is a title or a text; both must be strings."""
        if not isinstance(record.get("_id"), str | int) or not isinstance(record.get("text"), str):
            raise InputError(
                f'{self._file.path}, line {line + 1}: expected {{"_id": ..., "title": ..., "text": ...}}, got the keys '
                f"{', '.join(map(str, record))}."
            )
        return self._keep_empty or bool(passage_text(record).strip())

    def id(self, index: int) -> str:
        """The `_id` of a passage."""
        return str(self[index]["id"])

    def _read(self, row: int) -> Record:
        passage = self._parse(row)
        return {"id": str(passage["_id"]), "text": passage_text(passage)}
