"""`dipole index`."""

import os
from collections.abc import Sequence
from typing import Any

from dipole.cli.parsing import parse, parser
from dipole.cli.tables import show

DESCRIPTION = (
    "Make an index of embeddings that stays on disk (FAISS), and say how much of an exact search it finds. A build "
    "that was interrupted goes on; files that are new or have changed are added alone, if the index has inverted lists "
    "(IVF)."
)


def run(arguments: Sequence[str]) -> None:
    """Build an index and print its size, and its recall and time beside exact search."""
    parser_ = parser("index", DESCRIPTION)
    parser_.add_argument(
        "embeddings", type=str, help="Parquet file that `dipole embed` wrote, or a folder of such files"
    )
    parser_.add_argument("--out", type=str, required=True, help="folder of the index")
    parser_.add_argument(
        "--factory", type=str, default="Flat", help="FAISS's description: Flat, SQ8, HNSW32, IVF4096,PQ64, …"
    )
    parser_.add_argument("--similarity", type=str, default="cosine", help="cosine or dot")
    parser_.add_argument(
        "--keep_vectors", type=bool, default=False, help="keep 16-bit vectors, to score what is found exactly"
    )
    parser_.add_argument(
        "--run", type=str | None, default=None, help="run or model that embeds the queries of a search"
    )
    parser_.add_argument("--seed", type=int, default=0, help="of the rows that the index is trained on")
    parser_.add_argument("--k", type=int, default=10, help="neighbours whose recall is measured")
    parser_.add_argument("--sample", type=int, default=200, help="rows that serve as queries for it; 0 to leave it out")
    options = parse(parser_, arguments)

    from rich.console import Console

    from dipole.ops.checks import check_at_least
    from dipole.runs.index_building import build_index
    from dipole.runs.index_recall import recall
    from dipole.runs.vector_index import IndexSettings

    check_at_least(options.sample, 0, "sample")
    check_at_least(options.k, 1, "k")
    run_ = None if options.run is None else os.path.abspath(options.run)
    settings = IndexSettings(options.factory, options.similarity, options.keep_vectors, run_, options.seed)
    console = Console(stderr=True)
    index = build_index(options.embeddings, options.out, settings, lambda text: console.print(text, highlight=False))
    rows: list[list[Any]] = [
        ["rows", len(index)],
        ["dimensions", index.dimensions],
        ["megabytes", f"{index.size / 1e6:.1f}"],
    ]
    rows += [["bytes a row", f"{index.size / len(index):.1f}"]]
    show(f"{options.out}: {options.factory}", {"": "left", "value": "right"}, rows)
    if options.sample:
        found = recall(index, options.embeddings, k=options.k, queries=options.sample)
        columns = {"lists": "right", f"recall@{options.k}": "right", "ms a query": "right"}
        table: list[list[Any]] = [
            [row["lists"] or "exact", f"{row['recall']:.3f}", f"{row['milliseconds']:.2f}"] for row in found
        ]
        show(f"beside exact search, {options.sample} queries", columns, table)
