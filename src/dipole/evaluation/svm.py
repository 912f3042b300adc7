"""Classification of embeddings by a support vector machine, as the field measures encoders of time series."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from dipole.evaluation.checks import check_problem
from dipole.ops.door import public

COSTS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 1e1, 1e2, 1e3, 1e4)
NO_MARGIN = 1e8  # in place of an infinite cost, which scikit-learn refuses
_FOLDS = 5
_FEWEST = 50  # samples for which a cost is chosen
_MOST = 10_000  # samples that are trained on


@dataclass(frozen=True)
class SVMResult:
    """What a support vector machine found.

    Attributes:
        accuracy: share of test embeddings that are classified correctly, 0 to 1.
        cost: the chosen C.
        predicted: (m,) labels.
    """

    accuracy: float
    cost: float
    predicted: np.ndarray


@public
def svm_classification(
    train_embeddings: Float[Tensor, "n d"],
    train_labels: Int[Tensor, " n"],
    test_embeddings: Float[Tensor, "m d2"],
    test_labels: Int[Tensor, " m"],
    *,
    seed: int = 0,
) -> SVMResult:
    """Train a support vector machine with a Gaussian kernel on embeddings, and test it.

    The width of the kernel is 1 / (D · variance). The cost C is chosen by cross-validation in 5 folds; it is 10⁸ where
    there are fewer than 50 samples, or fewer than 5 for each class on average or in the smallest one. Of more than
    10,000 samples so many are drawn.

    Franceschi et al. (NeurIPS 2019); Yue et al.: *TS2Vec* (AAAI 2022), protocol of classification.

    Args:
        train_embeddings: (n, d).
        train_labels: (n,).
        test_embeddings: (m, d).
        test_labels: (m,).
        seed: of the draw from large sets.

    Raises:
        InputError: lengths or widths do not fit, NaN, or a single class.

    Example:
        >>> import torch
        >>> embeddings, labels = torch.eye(2).repeat(10, 1), torch.arange(2).repeat(10)
        >>> svm_classification(embeddings, labels, embeddings, labels).accuracy
        1.0
    """
    check_problem(train_embeddings, train_labels, test_embeddings, test_labels)
    from sklearn.model_selection import GridSearchCV
    from sklearn.svm import SVC

    features, labels = (x.detach().cpu().numpy() for x in (train_embeddings, train_labels))
    if len(features) > _MOST:
        chosen = np.random.default_rng(seed).choice(len(features), _MOST, replace=False)
        features, labels = features[chosen], labels[chosen]
    counts = np.unique(labels, return_counts=True)[1]
    machine = SVC(C=NO_MARGIN, gamma="scale")
    if len(features) >= _FEWEST and min(len(features) // len(counts), counts.min()) >= _FOLDS:
        machine = GridSearchCV(machine, {"C": [*COSTS, NO_MARGIN]}, cv=_FOLDS)
    machine.fit(features, labels)
    predicted = machine.predict(test_embeddings.detach().cpu().numpy())
    cost = machine.best_params_["C"] if isinstance(machine, GridSearchCV) else NO_MARGIN
    return SVMResult(float((predicted == test_labels.cpu().numpy()).mean()), float(cost), predicted)
