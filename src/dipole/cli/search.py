"""`dipole search`."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dipole.cli.loading import add_loading, loading_of, renamed
from dipole.cli.parsing import gathered, parse, parser
from dipole.cli.tables import shortened, show

DESCRIPTION = (
    "Find the texts, sounds or images nearest to each query, with the encoder of a run. `dipole search INDEX --help` "
    "lists the flags (--vectors, --lists, --rescore, --where) for an index that `dipole index` has made."
)
MANY = ("--given", "--where")  # flags of several values
CORPUS = (
    "file of texts, or the name of a set; of several modalities also a table, a folder of image or sound files, or "
    "embeddings that `dipole embed` wrote"
)


def run(arguments: Sequence[str]) -> None:
    """Search a corpus, or an index of embeddings, and print or write what was found."""
    from dipole.cli import search_index

    arguments = gathered(renamed(arguments), MANY)
    if arguments and search_index.is_index(arguments[0]):
        return search_index.run(arguments)
    parser_ = parser("search", DESCRIPTION)
    parser_.add_argument("run", type=str, help="run or model folder of a method of texts, or of several modalities")
    parser_.add_argument("corpus", type=str, help=CORPUS)
    parser_.add_argument("query", type=str, nargs="*", help="one or more texts; of several modalities also files")
    parser_.add_argument("--queries", type=str | None, default=None, help="file of queries, in place of texts here")
    parser_.add_argument("--hybrid", type=bool, default=False, help="put embeddings and BM25 together by their ranks")
    parser_.add_argument("--rerank", type=str | None, default=None, help="cross-encoder that orders the hits anew")
    parser_.add_argument("--depth", type=int, default=100, help="texts of each ranking that these two look at")
    parser_.add_argument("--trec", type=str | None, default=None, help="write a run as trec_eval reads it")
    parser_.add_argument("--by", type=str | None, default=None, help="modality of the queries, where it is not plain")
    parser_.add_argument("--find", type=str | None, default=None, help="modality that is searched")
    parser_.add_argument("--given", type=str, nargs="*", default=[], help="name=content that stands beside each query")
    parser_.add_argument("--k", type=int, default=10, help="texts found for each query")
    parser_.add_argument("--index", type=str | None, default=None, help="folder of the index; below the run by default")
    parser_.add_argument("--data_root", type=str | None, default=None, help="folder of named data sets")
    parser_.add_argument("--out", type=str | None, default=None, help="write JSON lines there instead of tables")
    add_loading(parser_, arguments)
    options = parse(parser_, arguments)

    from dipole.errors import InputError
    from dipole.files import atomic_write
    from dipole.runs.ranking import write_trec_run
    from dipole.runs.search import search

    for flag, file in (("--out", options.out), ("--trec", options.trec)):
        if file is not None and Path(file).is_dir():
            raise InputError(f"{flag} {file} is a folder: name a file, e.g. {Path(file) / 'hits'}.")
    ids, queries = _queries(options)
    results = search(
        options.run,
        options.corpus,
        queries,
        k=options.k,
        index=options.index,
        data_root=options.data_root,
        loading=loading_of(options),
        hybrid=options.hybrid,
        rerank=options.rerank,
        depth=options.depth,
        by=options.by,
        find=options.find,
        given=dict(_given(text) for text in options.given),
        progress=True,
    )
    if options.trec is not None:
        found = [[(hit.id, hit.score) for hit in hits] for hits in results]
        write_trec_run(options.trec, list(zip(ids, found, strict=True)))
    if options.out is not None:
        lines = [
            json.dumps({"query": query, **vars(hit)}, ensure_ascii=False) + "\n"
            for query, hits in zip(queries, results, strict=True)
            for hit in hits
        ]
        with atomic_write(options.out) as temporary:
            temporary.write_text("".join(lines), encoding="utf-8")
    if options.out is not None or options.trec is not None:
        return
    columns = {"": "right", "score": "right", "id": "left", "text": "left"}
    for query, hits in zip(queries, results, strict=True):
        rows = [[hit.rank, f"{hit.score:.4f}", hit.id, shortened(hit.text)] for hit in hits]
        show(query, columns, rows)


def _given(text: str) -> tuple[str, str]:
    """A modality and its content."""
    from dipole.errors import InputError

    name, separator, content = text.partition("=")
    if not separator or not name or not content:
        raise InputError(f"--given is {text!r}: expected name=content, the name of a modality and a text or a file.")
    return name, content


def _queries(options: Any) -> tuple[list[str], list[str]]:
    """Ids and texts of the queries: those given, or those of a file."""
    from dipole.data.text import load_texts
    from dipole.errors import InputError

    if bool(options.query) == (options.queries is not None):
        raise InputError("give queries as texts, or a file of them by --queries; one of the two.")
    if options.queries is None:
        return [str(number) for number in range(1, len(options.query) + 1)], list(options.query)
    texts = load_texts(options.queries)
    texts.require("text")
    records = [texts[row] for row in range(len(texts))]
    named = next((name for name in ("_id", "id") if name in texts.columns), None)
    ids = [texts.id(row) if named is None else str(record[named]) for row, record in enumerate(records)]
    return ids, [str(record["text"]) for record in records]
