"""Weighted k-nearest-neighbour classification."""

from collections.abc import Iterator

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor

from dipole.errors import InputError
from dipole.evaluation.checks import check_problem
from dipole.losses.common import unit_rows
from dipole.ops.checks import check_temperature
from dipole.ops.door import public

K = 200
TEMPERATURE = 0.07
# Similarities held at once when `chunk` is not given: 128 MiB in single precision.
_CHUNK_ENTRIES = 2**25


@public
@torch.no_grad()
def weighted_knn(
    train_embeddings: Float[Tensor, "n d"],
    train_labels: Int[Tensor, " _"],
    test_embeddings: Float[Tensor, "m d2"],
    *,
    k: int = K,
    temperature: float = TEMPERATURE,
    chunk: int | None = None,
) -> Int64[Tensor, " m"]:
    """Classify each test embedding by the vote of its nearest training embeddings.

    With cosine similarity s_i to the k nearest neighbours, class c scores Σ_i exp(s_i / temperature) [y_i = c]; the
    highest score wins, the smaller label if two are equal. Embeddings are normalised here.

    Args:
        train_embeddings: (n, d).
        train_labels: (n,), any integers.
        test_embeddings: (m, d).
        k: number of neighbours; no more than n are used.
        temperature: of the weights, above 0.
        chunk: test rows compared at once; the default bounds the similarities held at once to 128 MiB.

    Returns:
        The predicted labels, on the device of the embeddings.

    Raises:
        InputError: lengths or widths do not fit, NaN, a single class, k or chunk below 1.

    Source: Wu et al., Unsupervised Feature Learning via Non-Parametric Instance Discrimination, CVPR 2018, section 3.4.

    Example:
        >>> train = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0]])
        >>> weighted_knn(train, torch.tensor([7, 7, 3]), torch.tensor([[2.0, 0.5], [0.1, 0.3]]), k=2)
        tensor([7, 3])
    """
    classes, votes = _votes(train_embeddings, train_labels, test_embeddings, k, temperature, chunk)
    return torch.cat([classes[scores.argmax(dim=1)] for scores, _ in votes]).long()


@public
@torch.no_grad()
def weighted_knn_log_scores(
    train_embeddings: Float[Tensor, "n d"],
    train_labels: Int[Tensor, " _"],
    test_embeddings: Float[Tensor, "m d2"],
    *,
    k: int = K,
    temperature: float = TEMPERATURE,
    chunk: int | None = None,
) -> tuple[Int[Tensor, " c"], Float[Tensor, "m c"]]:
    """Compute the votes behind `weighted_knn`: log Σ_i exp(s_i / temperature) [y_i = c] for every class c.

    Arguments and errors are those of `weighted_knn`.

    Returns:
        The classes (c,), ascending, and their logarithmic scores (m, c); −∞ for a class without a near neighbour.

    Example:
        >>> train = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> weighted_knn_log_scores(train, torch.tensor([7, 3]), torch.tensor([[2.0, 0.0]]), k=1, temperature=0.5)
        (tensor([3, 7]), tensor([[-inf, 2.]], dtype=torch.float64))
    """
    classes, votes = _votes(train_embeddings, train_labels, test_embeddings, k, temperature, chunk)
    return classes, torch.cat([scores.log() + shift for scores, shift in votes])


def _votes(
    train_embeddings: Tensor,
    train_labels: Tensor,
    test_embeddings: Tensor,
    k: int,
    temperature: float,
    chunk: int | None,
) -> tuple[Tensor, Iterator[tuple[Tensor, Tensor]]]:
    """The classes and, some test rows at a time, their scores over exp(shift), and the shift (rows, 1)."""
    check_problem(train_embeddings, train_labels, test_embeddings)
    check_temperature(temperature)
    if k < 1 or (chunk is not None and chunk < 1):
        raise InputError(f"k is {k} and chunk {chunk}: expected 1 or more of each; k = {K} is usual.")
    classes, positions = torch.unique(train_labels.to(train_embeddings.device), return_inverse=True)
    keys = _unit_rows(train_embeddings)

    def chunks() -> Iterator[tuple[Tensor, Tensor]]:
        for queries in test_embeddings.split(chunk or max(1, _CHUNK_ENTRIES // len(keys))):
            similarity, neighbours = (_unit_rows(queries) @ keys.t()).topk(min(k, len(keys)), dim=1)
            # Relative to the nearest one nothing overflows; in double precision the order of adding does not decide.
            weights = ((similarity - similarity[:, :1]).double() / temperature).exp()
            scores = weights.new_zeros(len(queries), len(classes)).scatter_add_(1, positions[neighbours], weights)
            yield scores, similarity[:, :1].double() / temperature

    return classes, chunks()


def _unit_rows(embeddings: Tensor) -> Tensor:
    """Rows of length one, in at least single precision."""
    return unit_rows(embeddings)


@public
def knn_accuracy(
    train_embeddings: Float[Tensor, "n d"],
    train_labels: Int[Tensor, " _"],
    test_embeddings: Float[Tensor, "m d2"],
    test_labels: Int[Tensor, " _"],
    *,
    k: int = K,
    temperature: float = TEMPERATURE,
    chunk: int | None = None,
) -> float:
    """Share of test embeddings that `weighted_knn` classifies correctly, 0 to 1.

    Args:
        train_embeddings: (n, d).
        train_labels: (n,).
        test_embeddings: (m, d).
        test_labels: (m,).
        k: as in `weighted_knn`.
        temperature: as in `weighted_knn`.
        chunk: as in `weighted_knn`.

    Raises:
        InputError: as `weighted_knn`, or the test labels do not fit.

    Example:
        >>> embeddings, labels = torch.eye(4), torch.tensor([0, 0, 1, 1])
        >>> knn_accuracy(embeddings, labels, embeddings, labels, k=1)
        1.0
    """
    check_problem(train_embeddings, train_labels, test_embeddings, test_labels)
    predictions = weighted_knn(
        train_embeddings, train_labels, test_embeddings, k=k, temperature=temperature, chunk=chunk
    )
    correct = int((predictions == test_labels.to(predictions.device)).sum())
    return correct / len(test_labels)
