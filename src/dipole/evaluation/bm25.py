"""BM25, the lexical baseline of retrieval."""

import numpy as np

from dipole.data.text import RetrievalSet
from dipole.errors import InputError
from dipole.evaluation.retrieval import DEPTH
from dipole.ops.door import public

_TOKEN = r"[a-z0-9]+"
_CHUNK = 256


@public
def bm25_run(task: RetrievalSet, *, k: int = DEPTH, k1: float = 0.9, b: float = 0.4) -> dict[str, dict[str, float]]:
    """Rank the documents of every query by the words that they share.

    `score(q, d) = Σ_{w in q} idf(w) · tf / (tf + k1 (1 - b + b |d| / mean |d|))` with
    `idf(w) = log(1 + (N - df + 0.5) / (df + 0.5))`. Words are runs of letters and digits in lower case; no stemming, no
    stop words.

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
    from scipy import sparse
    from sklearn.feature_extraction.text import CountVectorizer

    if k < 1 or k1 < 0 or not 0 <= b <= 1:
        raise InputError(f"k={k}, k1={k1}, b={b}: expected 1 or more, 0 or more, 0 to 1.")
    texts = (task.documents[index]["text"] for index in range(len(task.documents)))
    vectorizer = CountVectorizer(token_pattern=_TOKEN)
    try:
        counts = vectorizer.fit_transform(texts).astype(np.float64).tocsr()
    except ValueError as error:
        raise InputError(f"{task.name}: no document holds a word.") from error
    lengths = np.asarray(counts.sum(axis=1)).ravel()
    frequency = np.bincount(counts.indices, minlength=counts.shape[1])
    idf = np.log1p((len(lengths) - frequency + 0.5) / (frequency + 0.5))
    penalty = k1 * (1 - b + b * lengths / lengths.mean())
    document = np.repeat(np.arange(len(lengths)), np.diff(counts.indptr))
    weights = counts.data * idf[counts.indices] / (counts.data + penalty[document])
    by_word = sparse.csr_matrix((weights, counts.indices, counts.indptr), counts.shape).T.tocsr()

    names, run = list(task.queries), {}
    asked = vectorizer.transform(task.queries.values()).astype(np.float64)
    for start in range(0, len(names), _CHUNK):
        scores = (asked[start : start + _CHUNK] @ by_word).tocsr()
        for row, name in enumerate(names[start : start + _CHUNK]):
            found = slice(scores.indptr[row], scores.indptr[row + 1])
            ids = [task.document_ids[place] for place in scores.indices[found]]
            run[name] = _best(scores.data[found].tolist(), ids, k)
    return run


def _best(scores: list[float], ids: list[str], k: int) -> dict[str, float]:
    """The k best documents of a query, of equal ones the last in string order first."""
    return {name: score for score, name in sorted(zip(scores, ids, strict=True), reverse=True)[:k]}
