"""How much of an exact search an index finds, and how fast."""

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dipole.runs.vector_index import IndexSettings, VectorIndex, inverted_lists, numbered, prepared
from dipole.runs.vectors import Shard, Vectors, open_shards, sampled_rows


def exact_search(shards: Sequence[Shard], queries: Vectors, k: int, settings: IndexSettings) -> np.ndarray:
    """Return the k nearest rows of each query (q, k), by a pass over all vectors.

    Args:
        shards: the embeddings.
        queries: (q, D).
        k: rows.
        settings: of the index, of which the similarity matters.
    """
    import faiss

    asked = prepared(queries, settings)
    best = np.full((len(queries), k), -np.inf, np.float32), np.full((len(queries), k), -1, np.int64)
    for first, piece in numbered(shards):
        scores, rows = faiss.knn(asked, prepared(piece, settings), min(k, len(piece)), faiss.METRIC_INNER_PRODUCT)
        joined = np.concatenate([best[0], scores], 1), np.concatenate([best[1], rows + first], 1)
        order = np.argsort(-joined[0], axis=1, kind="stable")[:, :k]
        best = np.take_along_axis(joined[0], order, 1), np.take_along_axis(joined[1], order, 1)
    return best[1]


def recall(index: VectorIndex, embeddings: str | Path, *, k: int = 10, queries: int = 200) -> list[dict[str, float]]:
    """Compare an index with exact search, for several numbers of lists.

    Args:
        index: that was built of the embeddings.
        embeddings: Parquet.
        k: neighbours.
        queries: rows of the embeddings that serve as queries.

    Returns:
        Rows with `lists`, `recall` (share of the k exact neighbours that are found) and `milliseconds` of a query, one
        at a time; the first row, with `lists` 0, is exact search in a pass for all queries together.
    """
    shards = open_shards(embeddings)
    asked = sampled_rows(shards, queries, index.settings.seed + 1)
    k = min(k, len(index))
    begun = time.perf_counter()
    exact = exact_search(shards, asked, k, index.settings)
    table = [{"lists": 0, "recall": 1.0, "milliseconds": 1000 * (time.perf_counter() - begun) / len(asked)}]
    whole = inverted_lists(index.index)
    for lists in (1,) if whole is None else [n for n in (1, 4, 16, 64) if n <= whole.nlist]:
        begun = time.perf_counter()
        found = [index.search(query[None], k, lists=lists)[0].rows for query in asked]
        passed = 1000 * (time.perf_counter() - begun) / len(asked)
        share = np.mean([len(set(own) & set(true)) / k for own, true in zip(found, exact.tolist(), strict=True)])
        table.append({"lists": lists, "recall": float(share), "milliseconds": passed})
    return table
