"""BM25, the lexical baseline of retrieval."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from dipole.data.text import RetrievalSet
from dipole.data.text.words import words
from dipole.errors import InputError
from dipole.evaluation.retrieval import DEPTH
from dipole.ops.door import public


class BM25:
    """An index of texts by their words (bm25s), see `bm25_run` for the formula.

    Args:
        texts: N texts.
        k1: how soon repetitions of a word stop counting.
        b: how much long documents pay.
        name: of the texts, for messages.

    Raises:
        InputError: a setting is out of range, or no text holds a word.

    Example:
        >>> index = BM25(["the wing of a jet", "a bird sings"])
        >>> [round(score, 2) for score in index.scores("which bird?").tolist()]
        [0.0, 0.38]
    """

    def __init__(self, texts: Sequence[str], *, k1: float = 0.9, b: float = 0.4, name: str = "the corpus") -> None:
        import bm25s

        if not k1 >= 0 or not 0 <= b <= 1:
            raise InputError(f"k1={k1}, b={b}: expected 0 or more, and 0 to 1.")
        split = [words(text) for text in texts]
        if not any(split):
            raise InputError(f"{name}: no document holds a word.")
        self.size = len(split)
        self._index = bm25s.BM25(method="lucene", k1=k1, b=b, dtype="float64")
        self._index.index(split, show_progress=False)

    def scores(self, query: str) -> Float64[np.ndarray, " n"]:
        """Return the score (N,) of every text; 0 where it shares no word with the query."""
        asked = words(query)
        return np.asarray(self._index.get_scores(asked)) if asked else np.zeros(self.size)

    def nearest(self, queries: Sequence[str], k: int) -> Int64[Tensor, "q k"]:
        """Return the k best texts of each query, the best first; of equal ones the first."""
        best = [np.argsort(-self.scores(query), kind="stable")[:k] for query in queries]
        return torch.from_numpy(np.stack(best).astype(np.int64))


@public
def bm25_run(task: RetrievalSet, *, k: int = DEPTH, k1: float = 0.9, b: float = 0.4) -> dict[str, dict[str, float]]:
    """Rank the documents of every query by the words that they share.

    `score(q, d) = Σ_{w in q} idf(w) · tf / (tf + k1 (1 - b + b |d| / mean |d|))` with
    `idf(w) = log(1 + (N - df + 0.5) / (df + 0.5))`. Words are runs of letters and digits of any alphabet in lower case,
    see `dipole.data.text.words`; no stemming, no stop words.

    Args:
        task: documents and queries.
        k: number of documents kept for every query; those that share no word with it are left out.
        k1: how soon repetitions of a word stop counting.
        b: how much long documents pay.

    Returns:
        The score by query and document, for `retrieval_metrics`.

    Raises:
        InputError: a setting is out of range, or no document holds a word.

    Source: Robertson, Zaragoza, The Probabilistic Relevance Framework (2009), without the constant factor k1 + 1;
    k1 = 0.9 and b = 0.4 as in the baseline of BEIR.

    Example:
        >>> from dipole.data.text import load_retrieval
        >>> from dipole.evaluation.retrieval import retrieval_metrics
        >>> task = load_retrieval("toy-retrieval")
        >>> 0.3 < retrieval_metrics(task.judgements, bm25_run(task)).mean["ndcg@10"] < 0.9
        True
    """
    if k < 1 or not k1 >= 0 or not 0 <= b <= 1:
        raise InputError(f"k={k}, k1={k1}, b={b}: expected 1 or more, 0 or more, 0 to 1.")
    texts = [str(task.documents[index]["text"]) for index in range(len(task.documents))]
    index = BM25(texts, k1=k1, b=b, name=task.name)
    return {name: _best(index.scores(query), task.document_ids, k) for name, query in task.queries.items()}


def _best(scores: np.ndarray, ids: Sequence[str], k: int) -> dict[str, float]:
    """The k best documents of a query, of equal ones the last in string order first."""
    found = [(float(scores[place]), ids[place]) for place in np.flatnonzero(scores)]
    return {name: score for score, name in sorted(found, reverse=True)[:k]}
