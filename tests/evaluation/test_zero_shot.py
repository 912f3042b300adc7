from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dipole.errors import InputError
from dipole.evaluation import (
    class_embeddings,
    matching_accuracy,
    multilinear_scores,
    pairwise_scores,
    top_k_accuracy,
    zero_shot_scores,
)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_every_template_weighs_alike_whatever_its_length() -> None:
    templates = random(4, 3, 5)
    lengths = random(4, 3, 1, seed=1).exp()
    torch.testing.assert_close(class_embeddings(lengths * templates), class_embeddings(templates))
    expected = F.normalize(F.normalize(templates, dim=2).mean(dim=1), dim=1)
    torch.testing.assert_close(class_embeddings(templates), expected)
    torch.testing.assert_close(class_embeddings(templates[:, :1]), F.normalize(templates[:, 0], dim=1))


def test_scores_are_cosines() -> None:
    x, classes = random(6, 5), random(3, 5, seed=1)
    expected = F.cosine_similarity(x[:, None], classes[None], dim=2)
    torch.testing.assert_close(zero_shot_scores(x, classes), expected)


def test_accuracy_of_the_best_k() -> None:
    scores = torch.tensor([[0.1, 0.9, 0.5], [0.7, 0.2, 0.3], [0.3, 0.1, 0.2]])
    labels = torch.tensor([1, 1, 2])
    assert top_k_accuracy(scores, labels) == pytest.approx(1 / 3)
    assert top_k_accuracy(scores, labels, k=2) == pytest.approx(2 / 3)
    assert top_k_accuracy(scores, labels, k=3) == top_k_accuracy(scores, labels, k=99) == 1.0


def test_matching() -> None:
    x = random(7, 5)
    assert matching_accuracy(x, 3 * x) == 1.0
    assert matching_accuracy(x, x.roll(1, dims=0)) == 0.0
    assert matching_accuracy(x, torch.cat([x[:3], x[3:].roll(1, dims=0)])) == pytest.approx(3 / 7)


def test_scores_of_several_modalities() -> None:
    queries, candidates = random(3, 4, 5), random(6, 5, seed=1)
    expected = torch.einsum("nd,nd,nd,cd->nc", *queries, candidates)
    torch.testing.assert_close(multilinear_scores(queries, candidates), expected)
    torch.testing.assert_close(multilinear_scores(list(queries), candidates), expected)
    among = sum((queries[i] * queries[j]).sum(dim=1) for i, j in ((0, 1), (0, 2), (1, 2)))
    total = queries.sum(dim=0) @ candidates.T + among[:, None]
    torch.testing.assert_close(pairwise_scores(queries, candidates), total)
    # With one modality in the query both are plain inner products.
    for scores in (multilinear_scores, pairwise_scores):
        torch.testing.assert_close(scores(queries[:1], candidates), queries[0] @ candidates.T)


@pytest.mark.usefixtures("unchecked")
def test_input_that_is_refused() -> None:
    x, labels = random(4, 5), torch.tensor([0, 1, 2, 3])
    wrong: list[tuple[Any, str]] = [
        (lambda: class_embeddings(x), r"expected \(C, T, D\)"),
        (lambda: class_embeddings(x[None] / 0), "templates contains NaN"),
        (lambda: zero_shot_scores(x, x[:, :3]), "classes has width 3"),
        (lambda: top_k_accuracy(x, labels[:3]), r"expected \(N, C\) and \(N,\)"),
        (lambda: top_k_accuracy(x[:0], labels[:0]), r"expected \(N, C\) and \(N,\)"),
        (lambda: top_k_accuracy(x, labels + 2), "labels hold 2 to 5: there are 5 columns"),
        (lambda: top_k_accuracy(x, labels, k=0), "k is 0"),
        (lambda: matching_accuracy(x, x[:3]), "row i of each must belong to the same sample"),
        (lambda: multilinear_scores([], x), "queries is empty"),
        (lambda: multilinear_scores([x, x[:3]], x), r"queries\[0\] \(4, 5\), queries\[1\] \(3, 5\)"),
        (lambda: pairwise_scores([x], x[:, :3]), "candidates has width 3"),
    ]
    for call, message in wrong:
        with pytest.raises(InputError, match=message):
            call()
