"""Forecasts of what comes after the end of a series, with intervals from errors that were seen."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from dipole.errors import InputError
from dipole.evaluation.forecasting import ALPHAS, ahead, check_known, ridge_pairs, thinned
from dipole.ops.checks import check_at_least

COVERAGE = 0.95


class Future(NamedTuple):
    """What is forecast, in the unit of the targets."""

    mean: Tensor  # (N, H, C)
    low: Tensor  # (N, H, C), of the interval
    high: Tensor  # (N, H, C)
    alpha: float


def forecast_future(
    representations: Float[Tensor, "n t d"],
    targets: Float[Tensor, "n t c"],
    horizon: int,
    *,
    validation_share: float = 0.2,
    skip: int = 0,
    known: Float[Tensor, "n u k"] | None = None,
) -> Future:
    """Forecast the H values after the last step by ridge regression on its representation.

    The strength of the ridge is chosen on the last fifth of the series (RMSE + MAE). The interval of each step ahead
    and column is the forecast plus the 2.5 % and 97.5 % quantiles of the errors made there. The forecast itself is by a
    regression on the whole series.

    Args:
        representations: (N, T, D), of which row t sees nothing after t.
        targets: (N, T, C), NaN in gaps.
        horizon: H.
        validation_share: of the steps, at the end.
        skip: first steps, which have no past.
        known: (N, T + H, K) what is known ahead, of the steps to forecast too.

    Raises:
        InputError: the series is too short for the horizon, a representation is not finite, or `known` does
            not fit.

    Example:
        >>> steps = torch.arange(90.0)[None, :, None] / 90
        >>> forecast_future(steps, steps, 2).mean.flatten()
        tensor([1.0000, 1.0111], dtype=torch.float64)
    """
    from sklearn.linear_model import Ridge

    check_at_least(horizon, 1, "horizon")
    if not bool(representations.isfinite().all()):
        raise InputError("representations contain NaN or infinite values: look at the encoder and the learning rate.")
    count, steps, columns = targets.shape
    check_known(known, count, steps + horizon)
    border = int((1 - validation_share) * steps)
    parts = [
        ridge_pairs(
            representations[:, first:last],
            targets[:, first:last],
            horizon,
            left_out,
            name,
            None if known is None else known[:, first:last],
        )
        for name, first, last, left_out in (
            ("training", 0, border, skip),
            ("validation", border, steps, 0),
            ("whole", 0, steps, skip),
        )
    ]
    (x, y), (x_validation, y_validation), (x_whole, y_whole) = (thinned(*part[:2]) for part in parts)
    found = {}
    for alpha in (1e-6, 1e-3, 0.01, *ALPHAS):
        error = y_validation - Ridge(alpha=alpha).fit(x, y).predict(x_validation).reshape(y_validation.shape)
        found[alpha] = float(np.sqrt(np.square(error).mean()) + np.abs(error).mean()), error
    alpha = min(found, key=lambda key: found[key][0])
    tail = (1 - COVERAGE) / 2
    low, high = np.quantile(found[alpha][1], [tail, 1 - tail], axis=0)
    latest = representations[:, -1]
    if known is not None:
        latest = torch.cat([latest, ahead(known[:, steps - 1 :], horizon)[:, 0].to(latest)], dim=1)
    last = latest.double().cpu().numpy()
    mean = Ridge(alpha=alpha).fit(x_whole, y_whole).predict(last).reshape(count, -1)
    values = (torch.from_numpy(each).reshape(count, horizon, columns) for each in (mean, mean + low, mean + high))
    return Future(next(values), next(values), next(values), alpha)
