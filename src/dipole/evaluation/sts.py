"""Semantic textual similarity: do cosines rank pairs of sentences as people do?"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64
from torch import Tensor

from dipole.data.text import STSTask
from dipole.errors import InputError
from dipole.ops.checks import check_same_rows
from dipole.ops.door import public

Encode = Callable[[list[str]], Tensor]
_ROWS = 2**14


@dataclass(frozen=True)
class Correlation:
    """A rank or linear correlation of a task, -1 to 1; papers print it times 100.

    Attributes:
        all: over the pairs of all subsets together, the number that papers on contrastive sentence embeddings report.
        mean: mean over the subsets.
        wmean: mean over the subsets, weighted by their numbers of pairs.
        subsets: of each subset.
    """

    all: float
    mean: float
    wmean: float
    subsets: dict[str, float]


@dataclass(frozen=True)
class STSScores:
    """The correlations of a task."""

    spearman: Correlation
    pearson: Correlation


@public
@torch.no_grad()
def sts_scores(subsets: Mapping[str, tuple[Tensor, Tensor, Tensor]]) -> STSScores:
    """Correlate the cosines of pairs of embeddings with gold scores, as SentEval does.

    The score of a pair is the cosine of its embeddings, 0 if one is the zero vector; nothing is trained on top. Ranks
    of ties are averaged. Where all cosines are equal, as those of a collapsed encoder, the correlation is taken as 0.
    The three ways to join subsets differ by several points on the same embeddings: say which one you print.

    Args:
        subsets: by name, embeddings (n, d) of the first and of the second sentences, and gold scores (n,).

    Returns:
        Spearman's and Pearson's correlation.

    Raises:
        InputError: no subsets, shapes that do not fit, fewer than two pairs, NaN, or gold scores that are all equal.

    Source: Conneau, Kiela, SentEval (LREC 2018), with the setting `all` of Gao et al., SimCSE (EMNLP 2021).

    Example:
        >>> first = torch.eye(4)[:3]
        >>> second = torch.tensor([[1.0, 0, 0, 0], [0, 1.0, 1.0, 0], [1.0, 0, 0, 0]])
        >>> round(sts_scores({"pairs": (first, second, torch.tensor([5.0, 3.0, 0.5]))}).spearman.all, 6)
        1.0
    """
    if not subsets:
        raise InputError("there are no subsets: give one or more, {name: (first, second, gold)}.")
    cosines, golds = {}, {}
    for name, (first, second, gold) in subsets.items():
        check_same_rows(first=first, second=second)
        _check_gold(name, gold, len(first))
        cosines[name], golds[name] = _cosines(first, second).cpu().numpy(), gold.double().cpu().numpy()
    return STSScores(_join(_spearman, cosines, golds), _join(_pearson, cosines, golds))


@public
@torch.no_grad()
def evaluate_sts(tasks: Sequence[STSTask], encode: Encode) -> dict[str, STSScores]:
    """Encode the sentences of all tasks, each once, and score every task.

    Args:
        tasks: see `dipole.data.text.load_sts`.
        encode: sentences -> embeddings (number of sentences, d), in evaluation mode; called once with all sentences.

    Returns:
        The scores by task.

    Raises:
        InputError: there are no tasks, tasks share a name, or the embeddings are not one finite row a sentence.

    Example:
        >>> from dipole.data.text import load_sts
        >>> letters = lambda texts: torch.tensor([[float(text.count(c)) for c in "abcdefghijkl"] for text in texts])
        >>> scores = evaluate_sts(load_sts("toy-sts"), letters)
        >>> 0.2 < scores["toy-sts"].spearman.all < 1
        True
    """
    if not tasks or len({task.name for task in tasks}) < len(tasks):
        raise InputError(f"tasks are {[task.name for task in tasks]}: expected one or more, each with its own name.")
    sentences = dict.fromkeys(
        sentence
        for task in tasks
        for pairs in task.subsets.values()
        for side in (pairs.first, pairs.second)
        for sentence in side
    )
    embeddings = encode(list(sentences))
    if embeddings.ndim != 2 or len(embeddings) != len(sentences):
        raise InputError(
            f"encode returned shape {tuple(embeddings.shape)} for {len(sentences)} sentences: expected one row each."
        )
    place = {sentence: row for row, sentence in enumerate(sentences)}

    def rows(side: Sequence[str]) -> Tensor:
        return embeddings[torch.tensor([place[sentence] for sentence in side], device=embeddings.device)]

    return {
        task.name: sts_scores(
            {name: (rows(pairs.first), rows(pairs.second), pairs.gold) for name, pairs in task.subsets.items()}
        )
        for task in tasks
    }


def _check_gold(name: str, gold: Tensor, pairs: int) -> None:
    """Refuse gold scores that say nothing."""
    if gold.shape != (pairs,) or pairs < 2:
        raise InputError(
            f"{name}: gold scores of shape {tuple(gold.shape)} for {pairs} pairs: expected one each, of two pairs or "
            "more."
        )
    if not bool(gold.isfinite().all()):
        raise InputError(f"{name}: gold scores hold NaN or infinite values: drop the pairs that nobody scored.")
    if bool((gold == gold[0]).all()):
        raise InputError(f"{name}: all gold scores are {float(gold[0])}: there is no order to compare with.")


def _cosines(first: Float[Tensor, "n d"], second: Float[Tensor, "n d"]) -> Float64[Tensor, " n"]:
    """Cosines of rows, in double precision; 0 where a row is zero."""
    pieces = []
    for x, y in zip(first.split(_ROWS), second.split(_ROWS), strict=True):
        x, y = x.double(), y.double()
        pieces.append(((x * y).sum(1) / (x.norm(dim=1) * y.norm(dim=1))).nan_to_num())
    return torch.cat(pieces)


def _join(
    correlate: Callable[[np.ndarray, np.ndarray], float],
    cosines: Mapping[str, np.ndarray],
    golds: Mapping[str, np.ndarray],
) -> Correlation:
    """A correlation of each subset and over all of them."""
    subsets = {name: correlate(cosines[name], golds[name]) for name in cosines}
    values, sizes = np.array(list(subsets.values())), np.array([len(gold) for gold in golds.values()])
    return Correlation(
        all=correlate(np.concatenate(list(cosines.values())), np.concatenate(list(golds.values()))),
        mean=float(values.mean()),
        wmean=float(np.average(values, weights=sizes)),
        subsets=subsets,
    )


def _spearman(x: np.ndarray, y: np.ndarray) -> float:
    """Rank correlation, 0 if x is constant."""
    from scipy.stats import rankdata

    return _pearson(rankdata(x), rankdata(y))


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    """Linear correlation, 0 if x is constant."""
    from scipy.stats import pearsonr

    return 0.0 if (x == x[0]).all() else float(pearsonr(x, y).statistic)
