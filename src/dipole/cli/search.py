"""`dipole search`."""

import json
from collections.abc import Sequence
from pathlib import Path

from dipole.cli.loading import add_loading, loading_of, renamed
from dipole.cli.parsing import parse, parser
from dipole.cli.tables import show

LONGEST = 100  # characters of a text that a table shows


def run(arguments: Sequence[str]) -> None:
    """Search a corpus and print or write what was found."""
    parser_ = parser("search", "Find the texts of a corpus that are nearest to each query, with the encoder of a run.")
    parser_.add_argument("run", type=str, help="run directory or model folder of a text method")
    parser_.add_argument("corpus", type=str, help="file of texts, or the name of a set")
    parser_.add_argument("query", type=str, nargs="+", help="one or more texts")
    parser_.add_argument("--k", type=int, default=10, help="texts found for each query")
    parser_.add_argument("--index", type=str | None, default=None, help="folder of the index; below the run by default")
    parser_.add_argument("--data_root", type=str | None, default=None, help="folder of named data sets")
    parser_.add_argument("--out", type=str | None, default=None, help="write JSON lines there instead of tables")
    add_loading(parser_, arguments)
    options = parse(parser_, renamed(arguments))

    from dipole.errors import InputError
    from dipole.files import atomic_write
    from dipole.runs.search import search

    if options.out is not None and Path(options.out).is_dir():
        raise InputError(f"--out {options.out} is a folder: name a file, e.g. {Path(options.out) / 'hits.jsonl'}.")
    results = search(
        options.run,
        options.corpus,
        options.query,
        k=options.k,
        index=options.index,
        data_root=options.data_root,
        loading=loading_of(options),
        progress=True,
    )
    if options.out is not None:
        lines = [
            json.dumps({"query": query, **vars(hit)}, ensure_ascii=False) + "\n"
            for query, hits in zip(options.query, results, strict=True)
            for hit in hits
        ]
        with atomic_write(options.out) as temporary:
            temporary.write_text("".join(lines), encoding="utf-8")
        return
    columns = {"": "right", "score": "right", "id": "left", "text": "left"}
    for query, hits in zip(options.query, results, strict=True):
        rows = [[hit.rank, f"{hit.score:.4f}", hit.id, _shortened(hit.text)] for hit in hits]
        show(query, columns, rows)


def _shortened(text: str) -> str:
    """The beginning of a text, on one line."""
    line = " ".join(text.split())
    return line if len(line) <= LONGEST else line[: LONGEST - 2].rstrip() + " …"
