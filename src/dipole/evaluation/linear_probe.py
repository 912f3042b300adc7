"""Linear classification of frozen embeddings."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dipole.data.splits import stratified_split
from dipole.errors import InputError
from dipole.evaluation.checks import check_problem
from dipole.ops.door import public

REGULARISATIONS = (1.0, 0.1, 0.01, 1e-3, 1e-4)
_FALLBACK = 0.01  # where no class has a second sample to validate on
_MAX_ITERATIONS = 2000


@dataclass(frozen=True)
class LinearProbeResult:
    """What a linear probe found.

    Attributes:
        accuracy: share of test embeddings that are classified correctly, 0 to 1.
        per_class: the same within each class of the test set, by label.
        regularisation: the chosen strength λ.
        validation_accuracy: accuracy on held-out training embeddings at λ; None if nothing could be held out.
    """

    accuracy: float
    per_class: dict[int, float]
    regularisation: float
    validation_accuracy: float | None


@public
def linear_probe(
    train_embeddings: Float[Tensor, "n d"],
    train_labels: Int[Tensor, " _"],
    test_embeddings: Float[Tensor, "m d2"],
    test_labels: Int[Tensor, " _"],
    *,
    regularisations: Sequence[float] = REGULARISATIONS,
    seed: int = 0,
) -> LinearProbeResult:
    """Train multinomial logistic regression on frozen embeddings and test it.

    Minimises mean cross-entropy + λ/2 ‖W‖² (L-BFGS) over embeddings standardised with the training set's mean and
    deviation. λ is chosen on a stratified fifth of the training set, from strong to weak until two steps in a row
    bring no gain (the stronger λ wins ties); then the classifier is trained on all of the training set. The test set
    is looked at once.

    Args:
        train_embeddings: (n, d).
        train_labels: (n,), any integers.
        test_embeddings: (m, d).
        test_labels: (m,).
        regularisations: the strengths λ to choose from, above 0; a single one is used as it is.
        seed: of the held-out fifth.

    Returns:
        Accuracies and the choice that led to them.

    Raises:
        InputError: lengths or widths do not fit, NaN, a single class, no λ or one that is not above 0.

    Example:
        >>> embeddings, labels = torch.eye(2).repeat(10, 1), torch.arange(2).repeat(10)
        >>> linear_probe(embeddings, labels, embeddings, labels).accuracy
        1.0
    """
    check_problem(train_embeddings, train_labels, test_embeddings, test_labels)
    strengths = sorted(regularisations, reverse=True)
    if not strengths or not strengths[-1] > 0:
        raise InputError(f"regularisations is {list(regularisations)}: expected one or more numbers above 0.")
    from sklearn.preprocessing import StandardScaler

    labels = train_labels.cpu().numpy()
    scaler = StandardScaler().fit(_array(train_embeddings))
    features, axes = _turned(scaler.transform(_array(train_embeddings)))
    chosen, validation_accuracy = _choose(features, labels, strengths, seed)
    classifier = _classifier(chosen, len(labels)).fit(features, labels)

    truth = test_labels.cpu().numpy()
    correct = classifier.predict(scaler.transform(_array(test_embeddings)) @ axes) == truth
    per_class = {int(value): float(correct[truth == value].mean()) for value in np.unique(truth)}
    return LinearProbeResult(float(correct.mean()), per_class, chosen, validation_accuracy)


def _array(embeddings: Tensor) -> np.ndarray:
    """Embeddings for scikit-learn, in single precision: half the time, and no digit of an accuracy depends on it."""
    return embeddings.detach().float().cpu().numpy()


def _turned(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, min(n, d)) in axes (d, min(n, d)) that span them.

    ‖W‖² does not depend on the axes, and a minimiser lies in the span of the training set: of few samples with many
    features, as where few have a label, the classifier is the same and found in a fraction of the time.
    """
    count, width = features.shape
    if width <= count:
        return features, np.eye(width, dtype=features.dtype)
    axes, triangle = np.linalg.qr(features.T)
    return np.ascontiguousarray(triangle.T), axes


def _classifier(strength: float, count: int) -> Any:
    """Logistic regression whose penalty does not depend on the number of samples; scikit-learn sums the losses."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=1 / (strength * count), tol=1e-3, max_iter=_MAX_ITERATIONS, warm_start=True)


def _choose(
    features: np.ndarray, labels: np.ndarray, strengths: Sequence[float], seed: int
) -> tuple[float, float | None]:
    """The strength that does best on a held-out fifth of the training set, and how well."""
    kept, held_out = (part.numpy() for part in stratified_split(torch.from_numpy(labels).long(), 0.2, seed))
    if len(held_out) == 0:
        return (strengths[0] if len(strengths) == 1 else _FALLBACK), None
    classifier = _classifier(strengths[0], len(kept))
    best, best_accuracy, without_gain = strengths[0], -1.0, 0
    for strength in strengths:
        classifier.set_params(C=1 / (strength * len(kept)))
        accuracy = float(classifier.fit(features[kept], labels[kept]).score(features[held_out], labels[held_out]))
        without_gain = 0 if accuracy > best_accuracy else without_gain + 1
        if accuracy > best_accuracy:
            best, best_accuracy = strength, accuracy
        if without_gain == 2:
            break
    return best, best_accuracy
