"""Passages: a title and a text."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dipole.data.text.line_text_set import EMPTY, JsonLinesTextSet
from dipole.data.text.text_set import Record


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
        InputError: what `JsonLinesTextSet` refuses. Lines without `_id` or `text` are left out and counted.
    """

    def __init__(self, path: str | Path, keep_empty: bool = False, name: str | None = None) -> None:
        self._keep_empty = keep_empty
        super().__init__(path, name=name)
        self.columns = ("id", "text")

    def _unusable(self, record: Record) -> str:
        """Why a record is no passage; nothing if it is one."""
        if not isinstance(record.get("_id"), str | int) or not isinstance(record.get("text"), str):
            return 'unlike {"_id": ..., "title": ..., "text": ...}'
        return "" if self._keep_empty or passage_text(record).strip() else EMPTY

    def id(self, index: int) -> str:
        """The `_id` of a passage."""
        return str(self[index]["id"])

    def _read(self, row: int) -> Record:
        passage, _ = self._parse(row)
        return {"id": str(passage["_id"]), "text": passage_text(passage)}
