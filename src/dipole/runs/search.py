"""Search a corpus with the encoder of a run, by an index on disk."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F

from dipole.data.text import TextSet, load_texts
from dipole.errors import InputError
from dipole.evaluation.bm25 import BM25
from dipole.evaluation.retrieval import dense_search
from dipole.files import atomic_write, cache_folder, read_json, write_json
from dipole.nn.text import encode_texts
from dipole.runs.directory import Run
from dipole.runs.model import model_folder
from dipole.runs.ranking import Reranker, reciprocal_rank_fusion
from dipole.runs.search_modalities import is_multimodal, search_modalities
from dipole.runs.text_encoders import OpenedEncoder, is_foreign, open_text_encoder

BLOCK = 8192  # texts embedded between two writes to the index
Ranked = list[tuple[int, float]]  # rows and scores, the best first
LARGE = 2**26  # bytes of a file whose content is not read again


@dataclass(frozen=True)
class Hit:
    """A text that was found.

    Args:
        rank: from 1.
        score: cosine similarity, or inner product if the method is trained with that; of a hybrid search the sum of
            reciprocal ranks, of a reranked one what the cross-encoder says.
        id: of the text.
        text: itself.
    """

    rank: int
    score: float
    id: str
    text: str


def search(
    run: str | Path,
    corpus: str,
    queries: Sequence[str],
    *,
    k: int = 10,
    index: str | Path | None = None,
    data_root: str | Path | None = None,
    loading: Mapping[str, Any] | None = None,
    hybrid: bool = False,
    rerank: str | None = None,
    depth: int = 100,
    by: str | None = None,
    find: str | None = None,
    given: Mapping[str, str] | None = None,
    batch_size: int = 32,
    progress: bool = False,
) -> list[list[Hit]]:
    """Find the texts of a corpus that are nearest to each query, exactly; or contents of other modalities.

    The embeddings of the corpus are computed once and kept in an index folder; it is made anew if the corpus or the
    model has changed. Texts stay where they are: the index refers to them.

    Args:
        run: a run directory or a model folder of a method of texts or of several modalities,
            or a folder of sentence-transformers or transformers.
        corpus: a file of texts or the name of a set, as `load_texts` takes it; of several modalities what
            `search_modalities` takes.
        queries: texts; with several modalities also paths of image and sound files.
        k: texts found for each query.
        index: folder of the index; a folder below `run` if it is None.
        data_root: folder of named data sets.
        loading: how the corpus is read (`column`), where it differs from the run.
        hybrid: put the ranking by embeddings and that of BM25 together, see `reciprocal_rank_fusion`.
        rerank: a cross-encoder that orders what was found anew, see `Reranker`.
        depth: texts of each ranking that are put together, or ordered anew; at least k.
        by: see `search_modalities`; so are the next two, which a model of texts alone does not take.
        find: what is searched.
        given: what stands beside every query.
        batch_size: texts of full length that are embedded at once.
        progress: show a progress bar while the index is made.

    Returns:
        For each query its hits, the best first.

    Raises:
        InputError: the run has no text model, the corpus holds no texts, or `k` or a query is nothing to search with.
    """
    if k < 1 or not queries or not all(query.strip() for query in queries):
        raise InputError(f"k={k} and {len(queries)} queries: expected k of 1 or more, and queries that are not empty.")
    if is_multimodal(run):
        if hybrid or rerank is not None or index is not None:
            raise InputError(f"{run} knows several modalities: leave out hybrid, rerank and index, which are of texts.")
        found_rows = search_modalities(
            run,
            corpus,
            queries,
            k=k,
            by=by,
            find=find,
            given=given,
            data_root=data_root,
            loading=loading,
            progress=progress,
        )
        return [[Hit(rank, *hit) for rank, hit in enumerate(hits, 1)] for hits in found_rows]
    if by is not None or find is not None or given:
        raise InputError(f"{run} knows texts alone: leave out by, find and given, which are of several modalities.")
    opened = open_text_encoder(run)
    reranker = None if rerank is None else Reranker(rerank)
    own = Run.open(run).settings().loading if (Path(run) / "config.yaml").is_file() else {}
    texts = load_texts(corpus, data_root, column={**own, **(loading or {})}.get("column"))
    texts.require("text")
    if not len(texts):
        raise InputError(f"{corpus} holds no text.")
    folder = _folder(run, corpus, texts) if index is None else Path(index)
    vectors = _vectors(opened, texts, folder, _fingerprint(run, corpus, texts, data_root), batch_size, progress)
    embedded = encode_texts(opened.encoder, list(queries), prompt="query", normalize=opened.similarity == "cosine")
    wanted = max(k, depth) if hybrid or reranker is not None else k
    scores, rows = dense_search(embedded, torch.from_numpy(vectors), wanted, known_finite=True)
    found = [list(zip(r, s, strict=True)) for r, s in zip(rows.tolist(), scores.tolist(), strict=True)]
    if hybrid:
        found = _with_words(texts, queries, found, wanted)
    if reranker is not None:
        found = [_reranked(reranker, texts, query, hits) for query, hits in zip(queries, found, strict=True)]
    return [
        [Hit(rank, score, texts.id(row), str(texts[row]["text"])) for rank, (row, score) in enumerate(hits[:k], 1)]
        for hits in found
    ]


def _with_words(texts: TextSet, queries: Sequence[str], found: list[Ranked], depth: int) -> list[Ranked]:
    """Rankings by embeddings, each put together with that of BM25."""
    index = BM25([str(record["text"]) for record in texts.fetch(torch.arange(len(texts)))], name=texts.name)
    joined = []
    for query, hits in zip(queries, found, strict=True):
        scores = index.scores(query)
        by_words = [int(row) for row in np.argsort(-scores, kind="stable")[:depth] if scores[row] > 0]
        joined.append(reciprocal_rank_fusion([[row for row, _ in hits], by_words]))
    return joined


def _reranked(reranker: Reranker, texts: TextSet, query: str, hits: Ranked) -> Ranked:
    """What was found, in the order of a cross-encoder."""
    order, scores = reranker.order(query, [str(texts[row]["text"]) for row, _ in hits])
    return [(hits[place][0], score) for place, score in zip(order.tolist(), scores.tolist(), strict=True)]


def _vectors(
    opened: OpenedEncoder,
    texts: TextSet,
    folder: Path,
    fingerprint: dict[str, Any],
    batch_size: int,
    progress: bool,
) -> np.ndarray:
    """The embeddings (N, D) of an index, computed if they are not there or of something else."""
    description, file = folder / "index.json", folder / "vectors.npy"
    known = read_json(description) if description.is_file() else None
    if known is not None and (not isinstance(known, dict) or "dipole_index" not in known):
        raise InputError(f"{folder} holds other files than an index: choose another --index.")
    if known is None or known["dipole_index"] != fingerprint or not file.is_file():
        if known is None and folder.is_dir() and any(folder.iterdir()):
            raise InputError(f"{folder} holds other files than an index: choose another --index.")
        description.unlink(missing_ok=True)
        _write(opened, texts, file, batch_size, progress)
        write_json(description, {"dipole_index": fingerprint})
    # Copy-on-write, because torch asks for memory that could be written to.
    vectors = cast(np.ndarray, np.load(file, mmap_mode="c", allow_pickle=False))
    if vectors.shape != (len(texts), opened.encoder.width):
        raise InputError(
            f"{file} holds {vectors.shape} numbers for {len(texts)} texts: delete {folder} and search again."
        )
    return vectors


def _write(opened: OpenedEncoder, texts: TextSet, file: Path, batch_size: int, progress: bool) -> None:
    """Embed all texts, a block in memory at a time."""
    from rich.console import Console
    from rich.progress import track

    device = "cuda" if torch.cuda.is_available() else "cpu"
    file.parent.mkdir(parents=True, exist_ok=True)
    blocks: Any = torch.arange(len(texts)).split(BLOCK)
    with atomic_write(file) as temporary:
        shape = (len(texts), opened.encoder.width)
        stored = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float32, shape=shape)
        for rows in (
            track(blocks, description=f"indexing {texts.name}", console=Console(stderr=True)) if progress else blocks
        ):
            lines = [record["text"] for record in texts.fetch(rows)]
            found = encode_texts(opened.encoder, lines, prompt="passage", batch_size=batch_size, device=device)
            found = F.normalize(found, dim=1) if opened.similarity == "cosine" else found
            if not bool(found.isfinite().all()):
                raise InputError(f"the encoder gives embeddings of {texts.name} that are not finite: train it anew.")
            stored[rows[0] : rows[-1] + 1] = found.float().numpy()
        stored.flush()


def _folder(run: str | Path, corpus: str, texts: TextSet) -> Path:
    """Where the index of a corpus lies if nobody says so."""
    digest = hashlib.sha256(str(Path(corpus).expanduser().resolve()).encode()).hexdigest()[:8]
    if is_foreign(run):
        # Somebody else's folder stays as it is.
        model = hashlib.sha256(str(Path(run).resolve()).encode()).hexdigest()[:8]
        return cache_folder() / "indexes" / f"{texts.name}-{digest}-{model}"
    return Path(run) / "indexes" / f"{texts.name}-{digest}"


def _fingerprint(run: str | Path, corpus: str, texts: TextSet, data_root: str | Path | None) -> dict[str, Any]:
    """What an index depends on: the files of the model, its tokenizer included, and the texts as they are now."""
    source = next(
        (path for path in (Path(corpus).expanduser(), Path(data_root or ".") / corpus) if path.exists()), None
    )
    said = _states(source) if source is not None else {"texts": _hash_of(texts)}
    return {
        "model": _states(Path(run) if is_foreign(run) else model_folder(run)),
        "corpus": {"name": texts.name, "texts": len(texts), "columns": list(texts.columns), "files": said},
    }


def _states(path: Path) -> dict[str, list[int | str]]:
    """The state of a file, or of every file of a folder, by name."""
    if path.is_file():
        return {path.name: _state(path)}
    return {str(one.relative_to(path)): _state(one) for one in sorted(path.rglob("*")) if one.is_file()}


def _state(path: Path) -> list[int | str]:
    """What a file holds: its bytes, of large files their number and the time of the last change."""
    status = path.stat()
    if status.st_size > LARGE:
        return [status.st_size, status.st_mtime_ns]
    return [status.st_size, hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()]


def _hash_of(texts: TextSet) -> str:
    """What the texts of a named set say."""
    found = hashlib.blake2b(digest_size=16)
    for indices in torch.arange(len(texts)).split(BLOCK):
        for record in texts.fetch(indices):
            found.update(str(record["text"]).encode() + b"\0")
    return found.hexdigest()
