"""Linear regression on frozen features, and errors by how dense labels are."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.checks import check_at_least, check_same_rows
from dipole.ops.door import public

STRENGTHS = tuple(float(value) for value in np.logspace(-4, 4, 17))
MANY, FEW = 100, 20  # training samples of a label's bin (Yang et al., Deep Imbalanced Regression)
MOST_PAIRS = 1000  # rows whose distances are compared


class RegressionErrors(NamedTuple):
    """Errors of predictions.

    Attributes:
        mae: mean absolute error.
        rmse: root of the mean squared error.
        geometric: geometric mean of absolute errors.
        by_shots: mean absolute error of labels with many, medium and few training samples; those that occur.
    """

    mae: float
    rmse: float
    geometric: float
    by_shots: dict[str, float]


@public
def ridge_predictions(
    train: Float[Tensor, "n d"], targets: Float[Tensor, "n"], test: Float[Tensor, "m d"]
) -> Float[Tensor, "m"]:
    """Predict by ridge regression on standardised features; its strength is chosen by leave-one-out error.

    Args:
        train: (N, D).
        targets: (N,).
        test: (M, D).

    Raises:
        InputError: targets that are all equal, or not finite.

    Example:
        >>> x = torch.linspace(0, 1, 20)[:, None]
        >>> ridge_predictions(x, 3 * x[:, 0], torch.tensor([[0.5]])).round(decimals=2)
        tensor([1.5000])
    """
    from sklearn.linear_model import RidgeCV
    from sklearn.preprocessing import StandardScaler

    if targets.shape != train.shape[:1]:
        raise InputError(f"{len(targets)} targets came for {len(train)} rows: expected one each.")
    if not bool(targets.isfinite().all()):
        raise InputError("targets contain NaN or infinite values: leave out the rows, or fill them in.")
    if float(targets.min()) == float(targets.max()):
        raise InputError(f"all {len(targets)} targets are {float(targets[0]):g}: there is nothing to learn from.")
    scaler = StandardScaler().fit(train.double().numpy())
    probe = RidgeCV(STRENGTHS).fit(scaler.transform(train.double().numpy()), targets.double().numpy())
    return torch.from_numpy(probe.predict(scaler.transform(test.double().numpy()))).to(train.dtype)


@public
def regression_errors(
    predictions: Float[Tensor, "m"],
    targets: Float[Tensor, "m"],
    train_targets: Float[Tensor, "n"],
    *,
    bin_width: float = 1.0,
) -> RegressionErrors:
    """Compute errors, also of labels whose bin has many (above 100), medium or few (below 20) training samples.

    Yang, Zha, Chen, Wang, Katabi: *Delving into Deep Imbalanced Regression* (ICML 2021).

    Args:
        predictions: (M,).
        targets: (M,).
        train_targets: (N,) of training, which say how dense a label is.
        bin_width: of a label's bin, in its units.

    Raises:
        InputError: shapes differ, or a width that is not above 0.

    Example:
        >>> regression_errors(torch.tensor([1.0, 3.0]), torch.tensor([0.0, 3.0]), torch.zeros(200)).by_shots
        {'many': 1.0, 'few': 0.0}
    """
    if predictions.shape != targets.shape or not len(targets):
        raise InputError(f"{len(predictions)} predictions came for {len(targets)} targets: expected one each.")
    error = (predictions - targets).abs().double()
    counts = label_density(targets, train_targets, bin_width)
    groups = {"many": counts > MANY, "medium": (counts >= FEW) & (counts <= MANY), "few": counts < FEW}
    return RegressionErrors(
        float(error.mean()),
        float(error.square().mean().sqrt()),
        float(error.clamp_min(1e-10).log().mean().exp()),
        {name: float(error[mask].mean()) for name, mask in groups.items() if bool(mask.any())},
    )


@public
def label_density(
    targets: Float[Tensor, "m"], train_targets: Float[Tensor, "n"], bin_width: float = 1.0
) -> Float[Tensor, "m"]:
    """Return the number of training samples in the bin of each target.

    Args:
        targets: (M,).
        train_targets: (N,).
        bin_width: of a bin, in units of the targets.

    Example:
        >>> label_density(torch.tensor([1.2, 5.0]), torch.tensor([1.0, 1.4, 2.0]))
        tensor([2., 0.])
    """
    check_at_least(bin_width, 1e-12, "bin_width")
    own, others = torch.floor(targets / bin_width), torch.floor(train_targets / bin_width)
    values, places = torch.unique(torch.cat([own, others]), return_inverse=True)
    return torch.bincount(places[len(own) :], minlength=len(values))[places[: len(own)]].to(targets.dtype)


@public
def label_order(features: Float[Tensor, "n d"], targets: Float[Tensor, "n"], *, seed: int = 0) -> float:
    """Compute Spearman's correlation of cosine distances and label distances, over pairs of at most 1000 samples.

    Args:
        features: (N, D).
        targets: (N,).
        seed: of the sample.

    Raises:
        InputError: fewer than three samples, or targets or features that are all equal.

    Example:
        >>> angle = torch.linspace(0, 1, 10)
        >>> label_order(torch.stack([angle.cos(), angle.sin()], dim=1), angle) > 0.99
        True
    """
    from scipy.stats import spearmanr

    check_same_rows(features=features)
    if len(features) < 3 or targets.shape != features.shape[:1]:
        raise InputError(f"{len(targets)} targets and {len(features)} rows came: expected three or more of both.")
    some = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))[:MOST_PAIRS]
    rows = torch.nn.functional.normalize(features[some].double(), dim=1)
    of_features, of_labels = torch.pdist(rows), torch.pdist(targets[some].double()[:, None])
    if float(of_features.std()) == 0 or float(of_labels.std()) == 0:
        raise InputError("all features or all targets are equal: there is no order to compare.")
    return float(spearmanr(of_features.numpy(), of_labels.numpy()).statistic)
