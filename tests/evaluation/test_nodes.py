"""Protocols of nodes: splits, a linear classifier, clusters, links."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from dipole.errors import InputError
from dipole.evaluation import (
    NodeSplit,
    cluster_agreement,
    link_scores,
    node_accuracy,
    random_node_split,
    sample_non_edges,
)

LABELS = torch.arange(300) % 3


def points(spread: float, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.eye(3)[LABELS] + spread * torch.randn(300, 3, generator=generator)


def test_a_split_is_a_partition_of_the_nodes_with_a_class() -> None:
    labels = LABELS.clone()
    labels[:100] = -1
    split = random_node_split(labels, seed=1)
    assert [len(part) for part in split] == [20, 20, 160]
    assert sorted(torch.cat(split).tolist()) == list(range(100, 300))
    assert torch.equal(torch.cat(split), torch.cat(random_node_split(labels, seed=1)))
    assert not torch.equal(split.train, random_node_split(labels, seed=2).train)
    with pytest.raises(InputError, match="5 nodes have a class: too few"):
        random_node_split(LABELS[:5])


def test_the_classifier_is_as_good_as_logistic_regression() -> None:
    split = random_node_split(LABELS, train=0.4)
    ours = node_accuracy(points(0.5), LABELS, split, steps=1000)
    other = LogisticRegression(C=np.inf).fit(points(0.5)[split.train].numpy(), LABELS[split.train].numpy())
    theirs = other.score(points(0.5)[split.test].numpy(), LABELS[split.test].numpy())
    assert ours == pytest.approx(theirs, abs=0.05)
    assert 0.6 < ours < 1


def test_the_validation_nodes_choose_the_step() -> None:
    """Validation nodes whose classes are wrong choose an early step, and the better the classifier, the less."""
    split = random_node_split(LABELS, train=0.4)
    wrong = LABELS.clone()
    wrong[split.validation] = (wrong[split.validation] + 1) % 3
    assert node_accuracy(points(0.1), LABELS, split, steps=400) == 1
    early = node_accuracy(points(0.1), wrong, split, steps=20)
    assert node_accuracy(points(0.1), wrong, split, steps=400) == early < 0.9


def test_it_repeats_and_leaves_the_random_state_alone() -> None:
    split = random_node_split(LABELS)
    torch.manual_seed(7)
    state = torch.get_rng_state()
    assert node_accuracy(points(1.0), LABELS, split, steps=100) == node_accuracy(points(1.0), LABELS, split, steps=100)
    assert torch.equal(torch.get_rng_state(), state)


def test_what_cannot_be_classified() -> None:
    split = random_node_split(LABELS)
    with pytest.raises(InputError, match="steps is 19"):
        node_accuracy(points(1.0), LABELS, split, steps=19)
    with pytest.raises(InputError, match="embeddings contain NaN"):
        node_accuracy(points(float("nan")), LABELS, split)
    with pytest.raises(InputError, match="a part of the split has no nodes"):
        node_accuracy(points(1.0), LABELS, NodeSplit(split.train, split.validation[:0], split.test))


def test_clusters() -> None:
    assert cluster_agreement(points(0.01), LABELS) == {"NMI": pytest.approx(1), "ARI": pytest.approx(1)}
    noise = cluster_agreement(torch.randn(300, 3, generator=torch.Generator().manual_seed(0)), LABELS)
    assert noise["NMI"] < 0.1
    assert abs(noise["ARI"]) < 0.1
    partly = torch.where(torch.arange(300) < 30, -1, LABELS)
    assert cluster_agreement(points(0.01), partly)["ARI"] == pytest.approx(1)
    with pytest.raises(InputError, match="1 classes are known"):
        cluster_agreement(points(0.01), torch.zeros(300, dtype=torch.long))


def test_links() -> None:
    z = points(0.05)
    same = torch.stack([torch.arange(0, 297), torch.arange(3, 300)])
    different = torch.stack([torch.arange(0, 299), torch.arange(1, 300)])
    assert link_scores(z, same, different)["link AUC"] > 0.99
    assert link_scores(z, different, same)["link AUC"] < 0.01
    assert link_scores(z, same, same)["link AUC"] == pytest.approx(0.5)
    assert link_scores(torch.zeros(300, 3), same, different) == {"link AUC": 0.5, "link AP": pytest.approx(297 / 596)}
    with pytest.raises(InputError, match="0 edges and 299 other pairs"):
        link_scores(z, same[:, :0], different)


def test_pairs_without_an_edge() -> None:
    edges = torch.randint(30, (2, 100), generator=torch.Generator().manual_seed(0))
    both = torch.cat([edges, edges.flip(0)], dim=1)
    pairs = sample_non_edges(both, 30, 200, seed=1)
    taken = {tuple(edge) for edge in both.T.tolist()}
    found = [tuple(pair) for pair in pairs.T.tolist()]
    assert len(set(found)) == len(found) == 200
    assert all(first < second and (first, second) not in taken for first, second in found)
    complete = torch.combinations(torch.arange(6)).T
    assert sample_non_edges(complete, 6, 5).shape == (2, 0)


def test_f1_is_that_of_scikit_learn() -> None:
    from sklearn.metrics import f1_score

    from dipole.evaluation.nodes import _f1

    generator = torch.Generator().manual_seed(0)
    for rows in range(2, 40):  # classes that are never predicted, and predictions of classes that are not there
        targets = torch.randint(0, 5, (rows,), generator=generator)
        predicted = torch.randint(0, 6, (rows,), generator=generator)
        for kind, found in _f1(targets, predicted).items():
            assert found == pytest.approx(f1_score(targets, predicted, average=kind, zero_division=0), abs=1e-12)
