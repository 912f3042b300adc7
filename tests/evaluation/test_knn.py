import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.neighbors import KNeighborsClassifier

from dipole.errors import InputError
from dipole.evaluation import knn_accuracy, weighted_knn, weighted_knn_log_scores


def problem(seed=0, train=120, test=40, width=8, classes=5, noise=1.0):
    generator = torch.Generator().manual_seed(seed)
    centres = torch.randn(classes, width, generator=generator)
    labels = [torch.randint(classes, (count,), generator=generator) for count in (train, test)]
    labels[0][:2] = torch.tensor([0, 1])
    points = [centres[y] + noise * torch.randn(len(y), width, generator=generator) for y in labels]
    return points[0], labels[0], points[1], labels[1]


@settings(max_examples=25)
@given(st.integers(0, 1000), st.integers(1, 150), st.floats(0.05, 2.0))
def test_predictions_are_scikit_learns(seed, k, temperature):
    train, labels, test, _ = problem(seed)
    train, test = train.double(), test.double()
    reference = KNeighborsClassifier(
        min(k, len(train)), metric="cosine", weights=lambda distance: np.exp((1 - distance) / temperature)
    )
    expected = reference.fit(train.numpy(), labels.numpy()).predict(test.numpy())
    assert weighted_knn(train, labels, test, k=k, temperature=temperature).tolist() == expected.tolist()


@given(st.integers(0, 1000), st.integers(1, 50), st.floats(0.01, 100))
def test_neither_chunks_nor_lengths_nor_the_order_of_training_matter(seed, chunk, length):
    train, labels, test, _ = problem(seed)
    expected = weighted_knn(train.double(), labels, test.double(), k=20)
    order = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))
    other = weighted_knn(length * train[order].double(), labels[order], test.double(), k=20, chunk=chunk)
    assert torch.equal(other, expected)


@settings(max_examples=10)
@given(st.integers(0, 1000), st.integers(1, 20))
def test_log_scores_are_the_votes(seed, k):
    train, labels, test, _ = problem(seed)
    train, test = (torch.nn.functional.normalize(x.double(), dim=1) for x in (train, test))
    classes, scores = weighted_knn_log_scores(train, labels, test, k=k, temperature=0.3, chunk=7)
    for query, row in zip(test, scores, strict=True):
        near = (train @ query).topk(k)
        for label, score in zip(classes, row, strict=True):
            votes = (near.values / 0.3).exp()[labels[near.indices] == label].sum()
            torch.testing.assert_close(score.exp(), votes)
    assert torch.equal(classes[scores.argmax(dim=1)], weighted_knn(train, labels, test, k=k, temperature=0.3))


def test_log_scores_do_not_overflow():
    classes, scores = weighted_knn_log_scores(torch.eye(2), torch.tensor([1, 0]), torch.eye(2), k=1, temperature=1e-6)
    assert classes.tolist() == [0, 1]
    assert scores.tolist() == [[-float("inf"), pytest.approx(1e6)], [pytest.approx(1e6), -float("inf")]]


def test_any_integers_are_labels_and_ties_go_to_the_smaller():
    train = torch.eye(2).repeat(2, 1)
    assert weighted_knn(train, torch.tensor([9, -4, 9, -4]), torch.tensor([[1.0, 1.0]]), k=4).tolist() == [-4]
    assert weighted_knn(train, torch.tensor([9, -4, 9, -4]), torch.tensor([[1.0, 0.9]]), k=4).tolist() == [9]


def test_a_tiny_temperature_and_half_precision_stay_finite():
    train, labels, test, truth = problem(noise=0.2)
    assert knn_accuracy(train, labels, test, truth, temperature=1e-6, k=10_000) > 0.9
    assert knn_accuracy(train.half(), labels, test.half(), truth) > 0.9


def test_accuracy_is_the_share_of_hits():
    train, labels, test, truth = problem()
    hits = weighted_knn(train, labels, test, k=5) == truth
    assert knn_accuracy(train, labels, test, truth, k=5) == pytest.approx(float(hits.float().mean()))
    assert knn_accuracy(train, labels, train, labels, k=1) == 1.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_labels": torch.zeros(119, dtype=torch.long)}, r"expected integers of shape \(120,\)"),
        ({"test_labels": torch.zeros(3, dtype=torch.long)}, r"test_labels is .*\(40,\)"),
        ({"train_labels": torch.zeros(120, dtype=torch.long)}, "single class"),
        ({"test_embeddings": torch.full((40, 8), torch.nan)}, "test_embeddings contains NaN"),
        ({"train_embeddings": torch.zeros(0, 8)}, "at least one row"),
        ({"test_embeddings": torch.zeros(40, 7)}, "width 7"),
        ({"k": 0}, "k is 0"),
        ({"chunk": 0}, "chunk 0"),
        ({"temperature": 0.0}, "temperature is 0.0"),
    ],
)
def test_unfit_input_is_refused(change, message):
    names = ("train_embeddings", "train_labels", "test_embeddings", "test_labels")
    with pytest.raises(InputError, match=message):
        knn_accuracy(**{**dict(zip(names, problem(), strict=True)), **change})
