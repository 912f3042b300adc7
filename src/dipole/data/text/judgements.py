"""Files of relevance judgements."""

from pathlib import Path

from dipole.errors import InputError


def read_judgements(path: str | Path, columns: tuple[int, int, int], header: bool = False) -> dict[str, dict[str, int]]:
    """Read judgements, one a line, with cells separated by white space.

    Args:
        path: the file.
        columns: where the query's id, the document's id and the grade are: (0, 2, 3) in TREC's files, (0, 1, 2) in
            BEIR's.
        header: whether the first line names the columns.

    Returns:
        The grade by query and document.

    Raises:
        InputError: the file is missing or a line is not as described.
    """
    path = Path(path)
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read the judgements in {path} ({error}).") from error
    judgements: dict[str, dict[str, int]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or (header and number == 1):
            continue
        try:
            query, document, grade = (line.split()[column] for column in columns)
            judgements.setdefault(query, {})[document] = int(grade)
        except (IndexError, ValueError) as error:
            raise InputError(
                f"{path}, line {number} is {line[:80]!r}: expected ids of a query and a document and a whole number."
            ) from error
    return judgements
