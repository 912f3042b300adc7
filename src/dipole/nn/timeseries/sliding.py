"""Representations of a long series that see the past alone."""

import torch
from jaxtyping import Float
from torch import Tensor

from dipole.nn.timeseries.dilated import DilatedConvEncoder
from dipole.ops.checks import check_at_least


@torch.no_grad()
def causal_sliding_encode(
    encoder: DilatedConvEncoder, x: Float[Tensor, "n t c"], *, padding: int = 200, batch_size: int = 256
) -> Float[Tensor, "n t d"]:
    """Return for every step t what the encoder says of it when it sees the steps t − padding … t alone.

    An encoder that looks ahead would tell the future to a forecast. Steps before the beginning are missing (NaN).

    Yue et al.: *TS2Vec* (AAAI 2022), protocol of forecasting (sliding length 1).

    Args:
        encoder: in evaluation mode.
        x: (N, T, C).
        padding: number of steps before t.
        batch_size: windows that are encoded together.

    Raises:
        InputError: `padding` is negative, or `batch_size` below 1.

    Example:
        >>> encoder = DilatedConvEncoder(1, hidden=4, depth=1, features=3, kernels=(1, 2)).eval()
        >>> x = torch.zeros(1, 9, 1)
        >>> z = causal_sliding_encode(encoder, x, padding=4)
        >>> x[0, 5:] = 1.0
        >>> bool((causal_sliding_encode(encoder, x, padding=4)[:, :5] == z[:, :5]).all())
        True
    """
    check_at_least(padding, 0, "padding")
    check_at_least(batch_size, 1, "batch_size")
    before = x.new_full((len(x), padding, x.shape[2]), torch.nan)
    windows = torch.cat([before, x], dim=1).unfold(1, padding + 1, 1).transpose(2, 3).flatten(0, 1)
    last = [encoder(part, last=True)[:, 0] for part in windows.split(batch_size)]
    return torch.cat(last).unflatten(0, x.shape[:2])
