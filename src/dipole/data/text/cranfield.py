"""The Cranfield collection: abstracts on aerodynamics, with queries and judgements."""

import html
import re
from pathlib import Path

from dipole.data.text.judgements import read_judgements
from dipole.data.text.line_file import decode
from dipole.errors import InputError

_DOCUMENTS, _QUERIES, _JUDGEMENTS = "cran.all.1400.xml", "cran.qry.xml", "cranqrel.trec.txt"


def is_cranfield(folder: Path) -> bool:
    """Whether a folder holds the collection's documents."""
    return (folder / _DOCUMENTS).is_file()


def read_cranfield(folder: str | Path) -> tuple[dict[str, str], dict[str, str], dict[str, dict[str, int]]]:
    """Read Cranfield's documents, queries and judgements.

    A document's text already begins with its title, which is therefore not put in front again. The queries are
    numbered 1, 2, 3, ... by position, as the judgements number them: the numbers in the file of the queries are older
    ones with gaps, and scores computed with them are near zero. Line feeds become spaces.

    Args:
        folder: holds `cran.all.1400.xml`, `cran.qry.xml` and `cranqrel.trec.txt`.

    Returns:
        The documents (two of the 1400 are empty) and the queries by id, and the grades by query and document.

    Raises:
        InputError: a file is missing or holds nothing of the kind.
    """
    folder = Path(folder)
    documents = {
        _field(entry, "docno"): _field(entry, "text")
        for entry in _entries(folder / _DOCUMENTS, "doc", ("docno", "text"))
    }
    queries = {
        str(position): _field(entry, "title")
        for position, entry in enumerate(_entries(folder / _QUERIES, "top", ("title",)), start=1)
    }
    return documents, queries, read_judgements(folder / _JUDGEMENTS, (0, 2, 3))


def _entries(path: Path, tag: str, fields: tuple[str, ...]) -> list[str]:
    """What stands between `<tag>` and `</tag>`, each time; no XML parser reads a file without a root element."""
    try:
        content = decode(path.read_bytes())[0]
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}.") from error
    entries = re.findall(rf"<{tag}>(.*?)</{tag}>", content, flags=re.DOTALL)
    if not entries or not all(f"<{field}>" in entry for entry in entries for field in fields):
        raise InputError(f"{path}: expected <{tag}> entries with {', '.join(f'<{field}>' for field in fields)}.")
    return entries


def _field(entry: str, tag: str) -> str:
    """The text of a field on one line."""
    found = re.search(rf"<{tag}>(.*?)</{tag}>", entry, flags=re.DOTALL)
    return " ".join(html.unescape(found[1]).split()) if found else ""
