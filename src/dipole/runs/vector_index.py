"""An index of embeddings on disk (FAISS), searched with filters."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from dipole.errors import InputError
from dipole.files import read_json
from dipole.ops.checks import check_at_least, check_choice
from dipole.runs.vectors import Shard, Vectors

DESCRIPTION, INDEX, LISTS = "index.json", "index.faiss", "lists.ivfdata"
ROWS, KEPT = "rows.parquet", "vectors.npy"


@dataclass(frozen=True)
class IndexSettings:
    """How an index is made.

    Args:
        factory: FAISS's description of it: `Flat`, `SQ8`, `HNSW32`, `IVF4096,PQ64`, `OPQ32,IVF1024,PQ32`, …
        similarity: `cosine`, for which vectors are scaled to length 1, or `dot`.
        keep_vectors: keep the vectors too, in 16 bits, so that what an index finds can be scored again exactly.
        run: the run or model that made the vectors, with which `dipole search` embeds queries.
        seed: of the rows that it is trained on.
    """

    factory: str = "Flat"
    similarity: Literal["cosine", "dot"] = "cosine"
    keep_vectors: bool = False
    run: str | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        check_choice(self.similarity, ("cosine", "dot"), "similarity")


class Found(NamedTuple):
    """What was found for one query.

    Attributes:
        rows: of the index, the best first.
        scores: cosines or inner products; estimates, where the index compresses.
    """

    rows: list[int]
    scores: list[float]


class VectorIndex:
    """An index that was built.

    Args:
        folder: of the index.

    Raises:
        InputError: there is none, or its building did not come to its end.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        found = index_description(self.folder)
        if found is None:
            raise InputError(f"{folder} holds no index: `dipole index EMBEDDINGS --out {folder}` makes one.")
        if not found["whole"]:
            raise InputError(f"the index in {folder} is not finished: run `dipole index` again, and it goes on.")
        self.dimensions: int = found["settings"]["dimensions"]
        self.model: str | None = found.get("model")  # fingerprint of what made the vectors
        self.settings = IndexSettings(**{k: v for k, v in found["settings"].items() if k != "dimensions"})
        # A file keeps the numbers that its rows got in the index, whatever happens to the files before it.
        sizes, firsts = np.array([[entry[0], entry[3]] for _, entry in sorted(found["shards"].items())]).T
        self._numbers = np.concatenate([first + np.arange(size) for size, first in zip(sizes, firsts, strict=True)])
        self._order = np.argsort(self._numbers)

    @cached_property
    def index(self) -> Any:
        """FAISS's index; inverted lists are mapped from the disk."""
        import faiss

        with silent():
            return faiss.read_index(str(self.folder / INDEX), faiss.IO_FLAG_ONDISK_SAME_DIR)

    @cached_property
    def rows(self) -> Any:
        """The table of what the rows are: ids, and the other columns that the embeddings came with."""
        import pyarrow.parquet as pq

        return pq.read_table(self.folder / ROWS, memory_map=True)

    def __len__(self) -> int:
        return int(self.index.ntotal)

    @property
    def size(self) -> int:
        """Bytes of the index on disk, without the table of rows and vectors that were kept."""
        return sum((self.folder / name).stat().st_size for name in (INDEX, LISTS) if (self.folder / name).is_file())

    def search(
        self,
        queries: Vectors,
        k: int = 10,
        *,
        lists: int = 16,
        where: Mapping[str, str] | None = None,
        rescore: int = 0,
    ) -> list[Found]:
        """Find the rows that are nearest to each query.

        Args:
            queries: (q, D).
            k: rows for each; fewer where a filter leaves fewer.
            lists: inverted lists that are looked through; other indexes have none.
            where: values, as texts, that columns of the rows must have.
            rescore: look at k times as many candidates and score them exactly; 0 for not.

        Raises:
            InputError: queries of another width, a column that is not there, or vectors that were not kept.
        """
        check_at_least(k, 1, "k")
        check_at_least(lists, 1, "lists")
        check_at_least(rescore, 0, "rescore")
        if queries.ndim != 2 or queries.shape[1] != self.dimensions or not np.isfinite(queries).all():
            raise InputError(f"queries are {queries.shape}: expected (q, {self.dimensions}) finite numbers.")
        if rescore and not (self.folder / KEPT).is_file():
            raise InputError("the index has kept no vectors to score again: build it with --keep_vectors true.")
        asked = prepared(queries, self.settings)
        depth = min(k * max(rescore, 1), len(self))
        scores, rows = self.index.search(asked, depth, params=self._parameters(lists, self._selected(where)))
        there = rows >= 0
        rows[there] = self._order[np.searchsorted(self._numbers, rows[there], sorter=self._order)]
        if rescore:
            scores, rows = self._scored(asked, rows)
        kept = [
            [(row, score) for row, score in zip(*pair, strict=True) if row >= 0][:k]
            for pair in zip(rows.tolist(), scores.tolist(), strict=True)
        ]
        return [Found([row for row, _ in each], [score for _, score in each]) for each in kept]

    def _selected(self, where: Mapping[str, str] | None) -> Any:
        """Numbers of the rows that fulfil a filter; None if there is none."""
        import pyarrow as pa
        import pyarrow.compute as pc

        chosen = None
        for column, value in (where or {}).items():
            if column not in self.rows.column_names:
                raise InputError(f"the rows have no column {column!r}: choose of {', '.join(self.rows.column_names)}.")
            fits = pc.equal(self.rows[column].cast(pa.string()), value).fill_null(False)
            chosen = fits if chosen is None else pc.and_(chosen, fits)
        return None if chosen is None else np.flatnonzero(np.asarray(chosen)).astype(np.int64)

    def _parameters(self, lists: int, selected: Any) -> Any:
        """FAISS's parameters of a search.

        Raises:
            InputError: the index cannot leave rows out.
        """
        import faiss

        known: Any = faiss
        selector = {} if selected is None else {"sel": known.IDSelectorBatch(self._numbers[selected])}
        outer = known.downcast_index(self.index)
        if inverted_lists(self.index) is not None:
            own = known.SearchParametersIVF(nprobe=lists, **selector)
            inside = isinstance(outer, known.IndexPreTransform)
            return known.SearchParametersPreTransform(index_params=own) if inside else own
        if not selector:
            return None
        if isinstance(outer, known.IndexHNSW):
            return known.SearchParametersHNSW(efSearch=64, **selector)
        if isinstance(outer, known.IndexFlat | known.IndexScalarQuantizer):
            return known.SearchParameters(**selector)
        raise InputError(
            f"an index {self.settings.factory!r} cannot leave rows out: use one with IVF, HNSW, SQ or Flat."
        )

    def _scored(self, queries: Vectors, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Candidates with exact scores, in their order."""
        kept = np.load(self.folder / KEPT, mmap_mode="r", allow_pickle=False)
        found = kept[np.maximum(rows, 0)].astype(np.float32)
        scores = np.where(rows < 0, -np.inf, np.einsum("qd,qcd->qc", queries, found))
        order = np.argsort(-scores, axis=1, kind="stable")
        return np.take_along_axis(scores, order, 1), np.take_along_axis(rows, order, 1)


def index_description(folder: Path) -> dict[str, Any] | None:
    """What a folder says of its index; None if it holds none."""
    path = folder / DESCRIPTION
    found = read_json(path) if path.is_file() else None
    known = isinstance(found, dict) and {"settings", "shards", "whole"} <= set(found)
    return found if known else None


def prepared(vectors: Vectors, settings: IndexSettings) -> Vectors:
    """Vectors whose inner product is their similarity."""
    if settings.similarity == "dot":
        return np.ascontiguousarray(vectors)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.ascontiguousarray(vectors / np.maximum(lengths, np.finfo(np.float32).tiny))


def numbered(shards: Sequence[Shard]) -> Iterator[tuple[int, Vectors]]:
    """Pieces of all files, each with the number of its first row."""
    first = 0
    for shard in shards:
        for piece in shard.pieces():
            yield first, piece
            first += len(piece)


def inverted_lists(index: Any) -> Any:
    """The part of an index that has inverted lists; None if it has none."""
    import faiss

    with suppress(RuntimeError):
        found = faiss.try_extract_index_ivf(index)
        return None if found is None else found
    return None


@contextmanager
def silent() -> Iterator[None]:
    """Keep what FAISS writes about its files and its training from the terminal, past Python."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    kept = [os.dup(number) for number in (1, 2)]
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        for number in (1, 2):
            os.dup2(nowhere, number)
        yield
    finally:
        for number, own in zip((1, 2), kept, strict=True):
            os.dup2(own, number)
            os.close(own)
        os.close(nowhere)
