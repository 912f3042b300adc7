"""Retrieval: exact search, a lexical baseline, and the measures of trec_eval."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float32, Int64
from torch import Tensor

from dipole.data.text import RetrievalSet
from dipole.errors import InputError
from dipole.losses.common import unit_rows
from dipole.ops.checks import check_choice, check_embeddings
from dipole.ops.door import public

Run = Mapping[str, Mapping[str, float]]
METRICS = ("ndcg@10", "recall@100", "mrr@10", "map")
DEPTH = 1000
_TREC_NAMES = {"ndcg": "ndcg_cut", "recall": "recall", "precision": "P", "map": "map_cut", "mrr": "recip_rank"}
_TEXTS = 2**13


@dataclass(frozen=True)
class RetrievalScores:
    """What a run is worth, 0 to 1; papers print it times 100.

    Attributes:
        mean: every measure, averaged over the scored queries.
        queries: every measure of every scored query: `queries[query][measure]`.
        not_scored: the queries of the run without a relevant document: they have no part in the mean.
    """

    mean: dict[str, float]
    queries: dict[str, dict[str, float]]
    not_scored: tuple[str, ...]


@public
def retrieval_metrics(
    judgements: Mapping[str, Mapping[str, int]],
    run: Run,
    metrics: Sequence[str] = METRICS,
    *,
    ignore_identical_ids: bool = True,
) -> RetrievalScores:
    """Score the ranking of every query by trec_eval (through pytrec_eval).

    With grade rel_r of the document at rank r:

    - nDCG@k = DCG@k / IDCG@k with DCG@k = Σ_{r≤k} rel_r / log2(r + 1): the gain is linear, and the ideal is made of all
      judged documents;
    - recall@k = relevant documents among the first k / all relevant documents (not capped at k), precision@k;
    - MRR@k = 1 / rank of the first relevant document, 0 if that is beyond k;
    - MAP = mean precision at the ranks of the relevant documents, 0 for those not found; MAP@k: of the first k.

    Documents are ranked by score; ties by id, the last in string order first. Scores are compared in single precision,
    as trec_eval does. Queries without a relevant document are not scored, but counted.

    Args:
        judgements: the grade of relevance by query and document; 0 or less is not relevant, as is what nobody judged.
        run: the score by query and document. A query for which nothing was found has an empty entry and scores 0.
        metrics: `ndcg@k`, `recall@k`, `precision@k`, `mrr@k`, `map@k` with any k, and `map`.
        ignore_identical_ids: leave out a document with the id of the query, which BEIR's sets of questions contain.

    Raises:
        InputError: an unknown measure, a judged query that the run lacks, a score that is not finite, or nothing to
            score.

    Source: trec_eval; Thakur et al., BEIR (NeurIPS 2021); Van Gysel, de Rijke, pytrec_eval (SIGIR 2018).

    Example:
        >>> run = {"q": {"a": 0.9, "b": 0.5, "c": 0.7}}
        >>> scores = retrieval_metrics({"q": {"a": 1, "b": 2}}, run, ["ndcg@3", "map"])
        >>> {name: round(value, 4) for name, value in scores.mean.items()}
        {'ndcg@3': 0.7602, 'map': 0.8333}
    """
    from pytrec_eval import RelevanceEvaluator

    measures = {metric: _trec_measure(metric) for metric in metrics}
    relevant = {
        query: dict(grades) for query, grades in judgements.items() if any(grade > 0 for grade in grades.values())
    }
    _check_run(relevant, run)
    ranked = {
        query: {
            name: float(score) for name, score in run[query].items() if not (ignore_identical_ids and name == query)
        }
        for query in relevant
    }
    evaluated = RelevanceEvaluator(relevant, {measure for measure, _ in measures.values()}).evaluate(ranked)
    queries = {
        query: {metric: _value(evaluated[query], *measure) for metric, measure in measures.items()}
        for query in relevant
    }
    mean = {metric: float(np.mean([values[metric] for values in queries.values()])) for metric in measures}
    return RetrievalScores(mean, queries, tuple(query for query in run if query not in relevant))


def _trec_measure(metric: str) -> tuple[str, int | None]:
    """The name of a measure in trec_eval, and the rank at which it is cut."""
    if metric == "map":
        return "map", None
    found = re.fullmatch(r"(ndcg|recall|precision|map|mrr)@([1-9]\d*)", metric)
    if not found:
        raise InputError(
            f"{metric!r} is no measure of retrieval: expected {', '.join(f'{name}@K' for name in _TREC_NAMES)} or map."
        )
    name, k = _TREC_NAMES[found[1]], int(found[2])
    return (name, k) if name == "recip_rank" else (f"{name}.{k}", k)


def _value(values: Mapping[str, float], measure: str, k: int | None) -> float:
    """A measure of a query; trec_eval does not cut the reciprocal rank itself."""
    value = values[measure.replace(".", "_")]
    return 0.0 if measure == "recip_rank" and k is not None and value * (k + 0.5) < 1 else float(value)


def _check_run(relevant: Mapping[str, Mapping[str, int]], run: Run) -> None:
    """Refuse a run that leaves out queries, which would raise the mean, or scores that have no order."""
    if not relevant:
        raise InputError("no query has a relevant document: there is nothing to score.")
    missing = sorted(relevant.keys() - run.keys())
    if missing:
        raise InputError(
            f"the run lacks {len(missing)} of {len(relevant)} judged queries, e.g. {', '.join(map(repr, missing[:3]))}"
            ": give those without results an empty entry."
        )
    for query in relevant:
        if not np.isfinite(list(run[query].values())).all():
            raise InputError(f"the run holds NaN or infinite scores for query {query!r}: look at the encoder's output.")


@public
@torch.no_grad()
def dense_search(
    queries: Float[Tensor, "q d"],
    corpus: Float[Tensor, "n d"],
    k: int = DEPTH,
    *,
    score: str = "dot",
    ids: Sequence[str] | None = None,
    known_finite: bool = False,
) -> tuple[Float32[Tensor, "q k"], Int64[Tensor, "q k"]]:
    """Find the k best documents of every query, exactly (FAISS, no index is trained).

    Equal scores are ordered as trec_eval orders them, by id with the last in string order first, also where the k-th
    and the next are equal: FAISS keeps an arbitrary one there, so such queries are searched again, deeper. Scores are
    computed in single precision on the CPU.

    Args:
        queries: (q, d) embeddings.
        corpus: (n, d) embeddings.
        k: number of documents; no more than n are returned.
        score: `"dot"`, or `"cosine"`, for which rows are normalised here and zero rows score 0.
        ids: (n,) ids of the documents; without them, of equal documents the last row comes first.
        known_finite: the corpus was looked through when it was stored, and is not again.

    Returns:
        Scores, falling, and rows of the documents, each (q, min(k, n)), on the CPU.

    Raises:
        InputError: widths differ, NaN, an unknown score, k below 1, or ids of another number.

    Example:
        >>> documents = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
        >>> dense_search(torch.tensor([[2.0, 1.0]]), documents, k=2)
        (tensor([[2., 2.]]), tensor([[2, 0]]))
    """
    check_embeddings(queries=queries, corpus=corpus[:1] if known_finite else corpus)
    check_choice(score, ("dot", "cosine"), "score")
    if k < 1 or (ids is not None and len(ids) != len(corpus)):
        raise InputError(
            f"k={k}, {None if ids is None else len(ids)} ids for {len(corpus)} documents: expected k of 1 or more and "
            "one id each."
        )
    q, documents = ((unit_rows(x.float()) if score == "cosine" else x.float()).cpu().numpy() for x in (queries, corpus))
    k, rank = min(k, len(corpus)), _string_ranks(ids, len(corpus))
    scores = np.empty((len(q), k), np.float32)
    rows = np.empty((len(q), k), np.int64)
    pending, depth = np.arange(len(q)), min(k + 1, len(corpus))
    while len(pending):
        found, places = _faiss_search(q[pending], documents, depth)
        # Final where what lies below the cut scores less than the k-th.
        done = (found[:, -1] < found[:, k - 1]) | (depth == len(corpus))
        order = np.lexsort((-rank[places[done]], -found[done]))[:, :k]
        scores[pending[done]] = np.take_along_axis(found[done], order, 1)
        rows[pending[done]] = np.take_along_axis(places[done], order, 1)
        pending, depth = pending[~done], min(2 * depth, len(corpus))
    return torch.from_numpy(scores), torch.from_numpy(rows)


def _faiss_search(queries: np.ndarray, corpus: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Brute-force search by dot product without a copy of the corpus."""
    import faiss

    return faiss.knn(np.ascontiguousarray(queries), np.ascontiguousarray(corpus), k, metric=faiss.METRIC_INNER_PRODUCT)


def _string_ranks(ids: Sequence[str] | None, count: int) -> np.ndarray:
    """Position of every document in the string order of the ids."""
    if ids is None:
        return np.arange(count)
    ranks = np.empty(count, np.int64)
    ranks[sorted(range(count), key=ids.__getitem__)] = np.arange(count)
    return ranks


@public
def evaluate_retrieval(
    task: RetrievalSet,
    encode: Callable[[list[str]], Tensor],
    metrics: Sequence[str] = METRICS,
    *,
    k: int = DEPTH,
    score: str = "dot",
) -> RetrievalScores:
    """Encode documents and queries, search, and score.

    Args:
        task: see `dipole.data.text.load_retrieval`.
        encode: texts -> embeddings (number of texts, d), in evaluation mode; documents come in pieces, so that the
            texts of a large corpus are never in memory at once. Their embeddings are.
        metrics: see `retrieval_metrics`.
        k: number of documents found for every query.
        score: `"dot"` or `"cosine"`.

    Raises:
        InputError: as `dense_search` and `retrieval_metrics`.

    Example:
        >>> from dipole.data.text import load_retrieval
        >>> letters = lambda texts: torch.tensor([[float(text.count(c)) for c in "abcdefghijkl"] for text in texts])
        >>> scores = evaluate_retrieval(load_retrieval("toy-retrieval"), letters, score="cosine")
        >>> 0.1 < scores.mean["ndcg@10"] < 1
        True
    """
    return task_metrics(task, dense_run(task, encode, k=k, score=score), metrics)


def task_metrics(task: RetrievalSet, run: Run, metrics: Sequence[str] = METRICS) -> RetrievalScores:
    """Score a run of a task, see `retrieval_metrics`.

    Example:
        >>> from dipole.data.text import load_retrieval
        >>> from dipole.evaluation.bm25 import bm25_run
        >>> task = load_retrieval("toy-retrieval")
        >>> sorted(task_metrics(task, bm25_run(task)).mean)
        ['map', 'mrr@10', 'ndcg@10', 'recall@100']
    """
    return retrieval_metrics(task.judgements, run, metrics, ignore_identical_ids=task.queries_among_documents)


def dense_run(
    task: RetrievalSet,
    encode: Callable[[list[str]], Tensor],
    *,
    k: int = DEPTH,
    score: str = "dot",
    encode_queries: Callable[[list[str]], Tensor] | None = None,
) -> dict[str, dict[str, float]]:
    """Find the best documents of every judged query by the embeddings of both.

    Args:
        task: see `dipole.data.text.load_retrieval`.
        encode: as `evaluate_retrieval` takes it.
        k: number of documents found for every query; where queries are among the documents, without the query itself.
        score: `"dot"` or `"cosine"`.
        encode_queries: of the queries, where they are encoded otherwise than documents.

    Returns:
        Scores by the ids of query and document; of a query without judgements, nothing.

    Example:
        >>> from dipole.data.text import load_retrieval
        >>> letters = lambda texts: torch.tensor([[float(text.count(c)) for c in "abcdefghijkl"] for text in texts])
        >>> {len(found) for found in dense_run(load_retrieval("toy-retrieval"), letters, k=3).values()}
        {3}
    """
    names = task.judged_queries
    itself = task.queries_among_documents
    depth = k + itself  # one place more for the query, which is left out
    queries = (encode_queries or encode)([task.queries[name] for name in names])
    scores, rows = dense_search(queries, _encode_documents(task, encode), depth, score=score, ids=task.document_ids)
    run = {}
    for name, values, places in zip(names, scores.tolist(), rows.tolist(), strict=True):
        found = [(task.document_ids[place], value) for place, value in zip(places, values, strict=True)]
        run[name] = dict([pair for pair in found if not (itself and pair[0] == name)][:k])
    run.update({name: {} for name in task.queries if name not in run})
    return run


def _encode_documents(task: RetrievalSet, encode: Callable[[list[str]], Tensor]) -> Tensor:
    """Embeddings of all documents, on the CPU."""
    pieces = []
    for indices in torch.arange(len(task.documents)).split(_TEXTS):
        texts = [record["text"] for record in task.documents.fetch(indices)]
        pieces.append(encode(texts).float().cpu())
        if pieces[-1].ndim != 2 or len(pieces[-1]) != len(texts):
            raise InputError(
                f"encode returned shape {tuple(pieces[-1].shape)} for {len(texts)} texts: expected one row each."
            )
    return torch.cat(pieces)
