"""Forecasts by ridge regression on representations, as TS2Vec and its successors measure them."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.checks import check_at_least
from dipole.ops.door import public

ALPHAS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
MOST_ROWS = 100_000


class Forecast(NamedTuple):
    """What a ridge regression forecasts at every step of the test part that is followed by a whole horizon."""

    mse: float
    mae: float
    alpha: float
    predicted: Tensor  # (S, H, C), float64
    actual: Tensor  # (S, H, C)
    naive_mse: float  # if every value stayed as it is at the step
    naive_mae: float


@public
def ridge_forecast(
    representations: Float[Tensor, "n t d"],
    targets: Float[Tensor, "n t c"],
    horizon: int,
    *,
    train_end: int,
    validation_end: int,
    test_end: int | None = None,
    skip: int = 200,
    alphas: Sequence[float] = ALPHAS,
    known: Float[Tensor, "n t k"] | None = None,
) -> Forecast:
    """Forecast the H values after each step from the representation of the step, by ridge regression.

    α is the one with the lowest RMSE + MAE on the validation part. Forecasts never cross the border of two parts: the
    representation at step t of a part predicts t + 1 … t + H of all columns together. MSE and MAE are means over all
    forecasts, horizons and columns of the test part.

    Yue et al.: *TS2Vec* (AAAI 2022), protocol of forecasting.

    Args:
        representations: (N, T, D), of which row t sees nothing after t.
        targets: (N, T, C), scaled; a forecast that meets a NaN is left out.
        horizon: H.
        train_end: first step after the training part, which begins at 0.
        validation_end: first step after the validation part.
        test_end: first step after the test part; T if None.
        skip: first steps of the training part, which have no past.
        alphas: to choose from.
        known: (N, T, K) what is known ahead: that of the steps t + 1 … t + H belongs to the representation of step t.

    Raises:
        InputError: a part is too short for the horizon, shapes differ, a representation is not finite, no α is given,
            or `known` does not fit.

    Example:
        >>> steps = torch.arange(90.0)[None, :, None] / 90
        >>> forecast = ridge_forecast(steps, steps, 2, train_end=60, validation_end=75, skip=0, alphas=[1e-6])
        >>> forecast.predicted.shape, forecast.mse < 1e-6
        (torch.Size([13, 2, 1]), True)
    """
    check_at_least(horizon, 1, "horizon")
    if representations.shape[:2] != targets.shape[:2]:
        raise InputError(
            f"representations have shape {tuple(representations.shape)} and targets {tuple(targets.shape)}: both must "
            "be of the same series and steps."
        )
    if not alphas or not min(alphas) > 0:
        raise InputError(f"alphas is {list(alphas)}: expected one or more numbers above 0.")
    if not bool(representations.isfinite().all()):
        raise InputError("representations contain NaN or infinite values: look at the encoder and the learning rate.")
    steps = targets.shape[1]
    check_known(known, len(targets), steps)
    bounds = (0, train_end, validation_end, steps if test_end is None else test_end)
    parts = [
        ridge_pairs(
            representations[:, first:last],
            targets[:, first:last],
            horizon,
            skip if name == "training" else 0,
            name,
            None if known is None else known[:, first:last],
        )
        for name, first, last in zip(("training", "validation", "test"), bounds, bounds[1:], strict=False)
    ]
    train, validation = (thinned(*part[:2]) for part in parts[:2])
    from sklearn.linear_model import Ridge

    def regret(alpha: float) -> float:
        error = Ridge(alpha=alpha).fit(*train).predict(validation[0]).reshape(validation[1].shape) - validation[1]
        return float(np.sqrt(np.square(error).mean()) + np.abs(error).mean())

    alpha = min(alphas, key=regret)
    features, actual, current = parts[2]
    predicted = Ridge(alpha=alpha).fit(*train).predict(features).reshape(actual.shape)
    error, naive_error = predicted - actual, np.tile(current, horizon) - actual
    shape = (len(actual), horizon, targets.shape[2])
    return Forecast(
        float(np.square(error).mean()),
        float(np.abs(error).mean()),
        float(alpha),
        torch.from_numpy(predicted.reshape(shape)),
        torch.from_numpy(actual.reshape(shape)),
        float(np.nanmean(np.square(naive_error))) if np.isfinite(current).any() else math.nan,
        float(np.nanmean(np.abs(naive_error))) if np.isfinite(current).any() else math.nan,
    )


def ridge_pairs(
    representations: Tensor, targets: Tensor, horizon: int, skip: int, name: str, known: Tensor | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Representations with what is known ahead (S, D + H K), what follows (S, H C), time first, and values (S, C)."""
    steps = targets.shape[1]
    if steps - horizon - skip < 1:
        skipped = f" without its first {skip}" if skip else ""
        raise InputError(
            f"the {name} part has {steps} steps{skipped}: too few for a horizon of {horizon}. Use a longer series or "
            "a shorter horizon."
        )
    after = targets[:, 1:].unfold(1, horizon, 1).transpose(2, 3)[:, skip:].flatten(0, 1).flatten(1)
    features, current = (x[:, skip : steps - horizon].flatten(0, 1) for x in (representations, targets))
    if known is not None:
        features = torch.cat([features, ahead(known, horizon)[:, skip:].flatten(0, 1).to(features)], dim=1)
    whole = after.isfinite().all(dim=1)
    if not bool(whole.any()):
        raise InputError(f"the {name} part has no {horizon} steps in a row without a gap: fill the gaps.")
    rows = [part[whole].double().cpu().numpy() for part in (features, after, current)]
    return rows[0], rows[1], rows[2]


def check_known(known: Tensor | None, count: int, steps: int) -> None:
    """Require finite values (N, T, K) of what is known ahead.

    Raises:
        InputError: they are of other series or steps, or not finite.
    """
    if known is not None and known.shape[:2] != (count, steps):
        raise InputError(f"known has shape {tuple(known.shape)}: expected {count} series of {steps} steps.")
    if known is not None and not bool(known.isfinite().all()):
        raise InputError("known contains NaN or infinite values: what is known ahead has no gaps.")


def ahead(known: Tensor, horizon: int) -> Tensor:
    """Return what is known of the H steps after each (N, T − H, H · K), time first, of values (N, T, K)."""
    return known[:, 1:].unfold(1, horizon, 1).transpose(2, 3).flatten(2)


def thinned(features: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """At most `MOST_ROWS` rows, always the same ones."""
    if len(features) <= MOST_ROWS:
        return features, labels
    chosen = np.random.default_rng(0).choice(len(features), MOST_ROWS, replace=False)
    return features[chosen], labels[chosen]
