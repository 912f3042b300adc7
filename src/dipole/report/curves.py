"""Series as small pictures."""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

SIDE = 48
COLOURS = ((31, 119, 180), (214, 39, 40), (44, 160, 44), (148, 103, 189))


def draw_curves(values: Float[Tensor, "n t c"], side: int = SIDE) -> UInt8[Tensor, "n 3 h w"]:
    """Draw each series as a picture: its first four channels in colours, from the lowest to the highest value.

    Args:
        values: (N, T, C), NaN where a value is missing, at which a curve is broken.
        side: of a picture in pixels.

    Returns:
        (N, 3, side, side) on white.

    Example:
        >>> draw_curves(torch.arange(9.0).reshape(1, 9, 1)).shape
        torch.Size([1, 3, 48, 48])
    """
    found = np.full((len(values), side, side, 3), 255, dtype=np.uint8)
    for picture, series in zip(found, values[:, :, : len(COLOURS)].double().numpy(), strict=True):
        known = np.isfinite(series).any(axis=1)
        if not known.any():
            continue
        series = series[: np.flatnonzero(known)[-1] + 1]  # a shorter series ends earlier
        low, high = np.nanmin(series), np.nanmax(series)
        scaled = (series - low) / (high - low if high > low else 1)
        places = np.linspace(0, len(series) - 1, side)
        for colour, channel in zip(COLOURS, scaled.T, strict=False):
            height = np.interp(places, np.arange(len(channel)), channel) if len(channel) > 1 else channel.repeat(side)
            row = (side - 3) * (1 - height) + 1
            before = np.concatenate([row[:1], row[:-1]])
            for column, (top, bottom) in enumerate(zip(np.fmin(row, before), np.fmax(row, before), strict=True)):
                if np.isfinite(row[column]):
                    picture[int(top) : int(bottom) + 1, column] = colour
    return torch.from_numpy(found).permute(0, 3, 1, 2).contiguous()
