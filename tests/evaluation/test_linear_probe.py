import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from dipole.errors import InputError
from dipole.evaluation import linear_probe


def problem(seed=0, count=150, width=6, classes=3, noise=0.3):
    generator = torch.Generator().manual_seed(seed)
    centres = 3 * torch.randn(classes, width, generator=generator)
    labels = [torch.arange(count) % classes, torch.arange(60) % classes]
    points = [centres[y] + noise * torch.randn(len(y), width, generator=generator) for y in labels]
    return points[0], labels[0], points[1], labels[1]


def test_separable_data_are_separated():
    result = linear_probe(*problem())
    assert result.accuracy == 1.0
    assert result.per_class == {0: 1.0, 1: 1.0, 2: 1.0}
    assert result.validation_accuracy == 1.0
    assert result.regularisation == 1.0  # nothing weaker does better


def test_embeddings_without_meaning_give_chance():
    noise = torch.randn(900, 6, generator=torch.Generator().manual_seed(2))
    labels = torch.arange(900) % 3
    assert abs(linear_probe(noise[:600], labels[:600], noise[600:], labels[600:]).accuracy - 1 / 3) < 0.1


def test_a_given_regularisation_is_scikit_learns():
    train, labels, test, truth = problem(noise=3.0)
    result = linear_probe(train, labels, test, truth, regularisations=[0.03])
    scaler = StandardScaler().fit(train.numpy())
    reference = LogisticRegression(C=1 / (0.03 * len(train)), tol=1e-8, max_iter=1000)
    predictions = reference.fit(scaler.transform(train.numpy()), labels.numpy()).predict(scaler.transform(test.numpy()))
    hits = predictions == truth.numpy()
    assert result.accuracy == pytest.approx(hits.mean())
    assert result.per_class == {label: pytest.approx(hits[truth.numpy() == label].mean()) for label in range(3)}
    assert result.regularisation == 0.03


def test_scale_and_shift_of_the_embeddings_do_not_matter():
    train, labels, test, truth = problem(noise=3.0)
    expected = linear_probe(train, labels, test, truth)
    assert linear_probe(1000 * train + 50, labels, 1000 * test + 50, truth) == expected
    assert linear_probe(train, labels, test, truth) == expected


def test_many_useless_dimensions_ask_for_strong_regularisation():
    train, labels, test, truth = problem(noise=1.0, count=90)
    generator = torch.Generator().manual_seed(3)
    wide = [torch.cat([x, 3 * torch.randn(len(x), 300, generator=generator)], 1) for x in (train, test)]
    result = linear_probe(wide[0], labels, wide[1], truth)
    weak = linear_probe(wide[0], labels, wide[1], truth, regularisations=[1e-4])
    assert result.regularisation > 1e-3
    assert result.accuracy >= weak.accuracy


def test_collapsed_embeddings_give_the_largest_class():
    labels = torch.tensor([4, 4, 4, 7] * 10)
    result = linear_probe(torch.ones(40, 5), labels, torch.ones(4, 5), torch.tensor([4, 7, 7, 7]))
    assert result.accuracy == 0.25
    assert result.per_class == {4: 1.0, 7: 0.0}


def test_one_sample_a_class_cannot_be_validated():
    result = linear_probe(torch.eye(3), torch.arange(3), torch.eye(3), torch.arange(3))
    assert result.accuracy == 1.0
    assert result.validation_accuracy is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"train_labels": torch.zeros(150, dtype=torch.long)}, "single class"),
        ({"test_labels": torch.zeros(4, dtype=torch.long)}, "test_labels"),
        ({"train_embeddings": torch.full((150, 6), torch.inf)}, "NaN or infinite"),
        ({"regularisations": []}, "one or more numbers above 0"),
        ({"regularisations": [1.0, 0.0]}, "above 0"),
    ],
)
def test_unfit_input_is_refused(change, message):
    names = ("train_embeddings", "train_labels", "test_embeddings", "test_labels")
    with pytest.raises(InputError, match=message):
        linear_probe(**{**dict(zip(names, problem(), strict=True)), **change})


@pytest.mark.slow
def test_ten_thousand_embeddings_of_512_take_seconds():
    import time

    rng = np.random.default_rng(0)
    labels = torch.from_numpy(rng.integers(10, size=12_000))
    mixing = rng.normal(size=(64, 512))
    points = torch.from_numpy(rng.normal(size=(10, 64))[labels] @ mixing + 3 * rng.normal(size=(12_000, 64)) @ mixing)
    points = points.float() + 0.1 * torch.randn(12_000, 512, generator=torch.Generator().manual_seed(0))
    start = time.perf_counter()
    result = linear_probe(points[:10_000], labels[:10_000], points[10_000:], labels[10_000:])
    assert time.perf_counter() - start < 60
    assert result.accuracy > 0.5
