"""Means over draws with their intervals."""

from jaxtyping import Float
from torch import Tensor

from dipole.errors import InputError


def mean_interval(values: Float[Tensor, "n"]) -> tuple[float, float]:
    """Return the mean of values and half the width of its 95 % interval, by Student's t with N − 1 degrees of freedom.

    Args:
        values: (N,) of draws that do not depend on each other.

    Raises:
        InputError: there are fewer than two values, or one is not finite.

    Example:
        >>> import torch
        >>> mean, half = mean_interval(torch.tensor([1.0, 2.0, 3.0]))
        >>> round(mean, 3), round(half, 3)
        (2.0, 2.484)
    """
    if values.ndim != 1 or len(values) < 2 or not bool(values.isfinite().all()):
        raise InputError(f"an interval was asked for of {values.numel()} values: expected two or more finite ones.")
    from scipy import stats

    wide = values.double()
    return float(wide.mean()), float(stats.t.ppf(0.975, len(wide) - 1)) * float(wide.std()) / len(wide) ** 0.5
