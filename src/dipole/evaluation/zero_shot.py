"""Zero-shot classification and retrieval between modalities."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import accumulate, inner_products, unit_rows
from dipole.losses.symile import multilinear_inner_product
from dipole.negatives import nearest
from dipole.ops.checks import check_embeddings, check_same_rows
from dipole.ops.door import public


@public
def class_embeddings(templates: Float[Tensor, "c t d"]) -> Float[Tensor, "c d"]:
    """Compute the classifier of a two-tower model: normalise, take the mean over templates, normalise again.

    Radford et al.: *Learning Transferable Visual Models From Natural Language Supervision* (ICML 2021), sec. 3.1.4.

    Args:
        templates: (C, T, D) text embeddings of each class in T phrasings.

    Returns:
        (C, D) unit rows, for `zero_shot_scores`.

    Raises:
        InputError: another rank, or a value is not finite.

    Example:
        >>> class_embeddings(torch.tensor([[[3.0, 0.0], [0.0, 1.0]]]))
        tensor([[0.7071, 0.7071]])
    """
    if templates.ndim != 3:
        raise InputError(f"templates has shape {tuple(templates.shape)}: expected (C, T, D), T phrasings of C classes.")
    check_embeddings(templates=templates.flatten(0, 1))
    return unit_rows(unit_rows(templates).mean(dim=1))


@public
def zero_shot_scores(embeddings: Float[Tensor, "n d"], classes: Float[Tensor, "c d"]) -> Float[Tensor, "n c"]:
    """Compute the cosine of every embedding with every class; the highest is the prediction.

    Args:
        embeddings: (N, D) of images, or whatever is to be classified.
        classes: (C, D), from `class_embeddings`.

    Raises:
        InputError: widths differ, or a value is not finite.
    """
    check_embeddings(embeddings=embeddings, classes=classes)
    return inner_products(unit_rows(embeddings), unit_rows(classes))


@public
def mixed_scores(
    first: Float[Tensor, "n c"], second: Float[Tensor, "n c"], *, weight: float = 0.5
) -> Float[Tensor, "n c"]:
    """Compute `w · first + (1 − w) · second`, the scores of two embedding spaces together.

    Fini et al.: *Improved baselines for vision-language pre-training* (TMLR 2023), whose code tries w = 0.1 … 0.9.

    Args:
        first: (N, C) cosines, of the weak pair of projectors.
        second: (N, C) cosines, of the strong pair.
        weight: w, from 0 to 1.

    Raises:
        InputError: shapes differ, a value is not finite, or the weight is out of range.

    Example:
        >>> mixed_scores(torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]]), weight=0.25)
        tensor([[0.2500, 0.7500]])
    """
    check_same_rows(first=first, second=second)
    if not 0 <= weight <= 1:
        raise InputError(f"weight is {weight}: expected a number from 0 to 1.")
    return weight * accumulate(first) + (1 - weight) * accumulate(second)


@public
def top_k_accuracy(scores: Float[Tensor, "n c"], labels: Int[Tensor, "n"], k: int = 1) -> float:
    """Compute the share of rows whose label is among the k highest scores, 0 to 1.

    Args:
        scores: (N, C).
        labels: (N,) columns.
        k: 1 or more; all columns if there are fewer.

    Raises:
        InputError: lengths differ, a label names no column, or k is below 1.

    Example:
        >>> top_k_accuracy(torch.tensor([[0.1, 0.9, 0.5], [0.7, 0.2, 0.3]]), torch.tensor([2, 0]))
        0.5
    """
    if scores.ndim != 2 or labels.shape != scores.shape[:1] or not len(labels):
        raise InputError(f"{tuple(scores.shape)} scores and {tuple(labels.shape)} labels: expected (N, C) and (N,).")
    if int(labels.min()) < 0 or int(labels.max()) >= scores.shape[1]:
        raise InputError(
            f"labels hold {int(labels.min())} to {int(labels.max())}: there are {scores.shape[1]} columns."
        )
    if k < 1:
        raise InputError(f"k is {k}: expected 1 or more.")
    best = scores.topk(min(k, scores.shape[1]), dim=1).indices
    return float((best == labels[:, None]).any(dim=1).double().mean())


@public
def matching_accuracy(queries: Float[Tensor, "n d"], keys: Float[Tensor, "n d"]) -> float:
    """Compute the share of queries whose own key is the most similar one of all, by cosine, 0 to 1.

    Args:
        queries: (N, D).
        keys: (N, D); row i belongs to query i.

    Raises:
        InputError: shapes differ, or a value is not finite.

    Example:
        >>> matching_accuracy(torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
        0.5
    """
    check_same_rows(queries=queries, keys=keys)
    return float((nearest(queries, keys) == torch.arange(len(queries), device=queries.device)).double().mean())


@public
def multilinear_scores(queries: Sequence[Tensor] | Tensor, candidates: Float[Tensor, "c d"]) -> Float[Tensor, "n c"]:
    """Score candidates of one modality for queries that are made of the others, by the multilinear inner product.

    Multiply by the logit scale for logits. Embeddings are used as they are.

    Saporta, Puli, Goldstein, Ranganath: *Contrasting with Symile* (NeurIPS 2024).

    Args:
        queries: (N, D) of each modality of the query.
        candidates: (C, D).

    Returns:
        (N, C).

    Raises:
        InputError: shapes do not fit, or a value is not finite.

    Example:
        >>> multilinear_scores([torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 1.0]])], torch.eye(2))
        tensor([[3., 2.]])
    """
    _check_queries(queries, candidates)
    product = torch.stack(list(queries)).prod(dim=0)
    return inner_products(product, candidates)


@public
def pairwise_scores(queries: Sequence[Tensor] | Tensor, candidates: Float[Tensor, "c d"]) -> Float[Tensor, "n c"]:
    """Score candidates as `multilinear_scores` does, by the sum of the inner products of all pairs of modalities.

    Those between the query's own modalities add the same to all candidates. This is how a model of pairwise contrast
    scores.

    Example:
        >>> pairwise_scores([torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 1.0]])], torch.eye(2))  # 5 + (4, 3)
        tensor([[9., 8.]])
    """
    _check_queries(queries, candidates)
    parts = list(queries)
    own = sum(
        (multilinear_inner_product(parts[i], parts[j]) for i in range(len(parts)) for j in range(i)),
        start=torch.zeros_like(parts[0][:, 0]),
    )
    return inner_products(torch.stack(parts).sum(dim=0), candidates) + own[:, None]


def _check_queries(queries: Sequence[Tensor] | Tensor, candidates: Tensor) -> None:
    """Require one embedding of each query's modalities, and candidates of their width."""
    if not len(queries):
        raise InputError("queries is empty: give the embeddings (N, D) of one modality or more.")
    check_same_rows(**{f"queries[{number}]": part for number, part in enumerate(queries)})
    check_embeddings(queries=queries[0], candidates=candidates)
