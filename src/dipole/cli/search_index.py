"""`dipole search INDEX`: rows of an index of embeddings."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dipole.cli.parsing import parse, parser
from dipole.cli.tables import shortened, show
from dipole.errors import InputError


def is_index(path: str) -> bool:
    """Return whether a folder holds an index that `dipole index` made."""
    from dipole.runs.vector_index import index_description

    return index_description(Path(path)) is not None


def run(arguments: Sequence[str]) -> None:
    """Search an index and print or write what was found."""
    parser_ = parser("search", "Find the rows of an index that are nearest to each query.")
    parser_.add_argument("index", type=str, help="folder that `dipole index` made")
    parser_.add_argument(
        "query", type=str, nargs="*", help="texts, or image or sound files, as the run of the index embeds them"
    )
    parser_.add_argument("--vectors", type=str | None, default=None, help="Parquet file of embeddings, in their place")
    parser_.add_argument("--run", type=str | None, default=None, help="run that embeds queries; that of the index")
    parser_.add_argument("--by", type=str | None, default=None, help="modality of the queries, of a run of several")
    parser_.add_argument("--k", type=int, default=10, help="rows found for each query")
    parser_.add_argument("--lists", type=int, default=16, help="inverted lists that are looked through")
    parser_.add_argument(
        "--rescore", type=int, default=0, help="times k candidates that are scored exactly; 0 for none"
    )
    parser_.add_argument("--where", type=str, nargs="*", default=[], help="column=value that rows must have")
    parser_.add_argument("--out", type=str | None, default=None, help="write JSON lines there instead of tables")
    options = parse(parser_, arguments)

    from dipole.files import atomic_write
    from dipole.runs.vector_index import VectorIndex

    if options.out is not None and Path(options.out).is_dir():
        raise InputError(f"--out {options.out} is a folder: name a file, e.g. {Path(options.out) / 'hits.jsonl'}.")
    index = VectorIndex(options.index)
    names, vectors = _queries(options, index)
    where = dict(_condition(text) for text in options.where)
    found = index.search(vectors, options.k, lists=options.lists, where=where, rescore=options.rescore)
    tables = [
        [
            {"rank": rank, "score": score, **row}
            for rank, (score, row) in enumerate(
                zip(each.scores, index.rows.take(each.rows).to_pylist(), strict=True), 1
            )
        ]
        for each in found
    ]
    if options.out is not None:
        lines = [
            json.dumps({"query": name, **hit}, ensure_ascii=False)
            for name, hits in zip(names, tables, strict=True)
            for hit in hits
        ]
        with atomic_write(options.out) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
        return
    for name, hits in zip(names, tables, strict=True):
        columns = {"": "right", "score": "right", **dict.fromkeys(index.rows.column_names, "left")}
        rows = [
            [hit["rank"], f"{hit['score']:.4f}", *(shortened(hit[key]) for key in index.rows.column_names)]
            for hit in hits
        ]
        show(name, columns, rows)


def _condition(text: str) -> tuple[str, str]:
    """A column and its value."""
    column, separator, value = text.partition("=")
    if not separator or not column:
        raise InputError(f"--where is {text!r}: expected column=value.")
    return column, value


def _queries(options: Any, index: Any) -> tuple[list[str], np.ndarray]:
    """Names and vectors of the queries."""
    if bool(options.query) == (options.vectors is not None):
        raise InputError(
            "give queries as texts or image files, or a Parquet file of them by --vectors; one of the two."
        )
    if options.vectors is not None:
        import pyarrow.parquet as pq

        from dipole.runs.vectors import open_shards

        shards = open_shards(options.vectors)
        if None not in (shards[0].model, index.model) and shards[0].model != index.model:
            raise InputError(f"{options.vectors} holds vectors of another model than the index: embed with its run.")
        names = [str(name) for shard in shards for name in pq.read_table(shard.path, columns=["id"])["id"].to_pylist()]
        return names, np.concatenate([piece for shard in shards for piece in shard.pieces()])
    source = options.run or index.settings.run
    if source is None:
        raise InputError("the index does not say what embeds queries: give --run, or --vectors.")
    from dipole.runs.fingerprint import check_same_model
    from dipole.runs.queries import embed_queries

    check_same_model(index.model, source, str(options.index))
    return list(options.query), embed_queries(source, options.query, modality=options.by)
