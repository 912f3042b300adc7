"""Cutting a similarity matrix into tiles that stay in the cache."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

# One float32 tile of 2¹⁹ entries is 2 MiB: it is written by the product and read by the exponential from the cache.
TILE_ENTRIES = {"cpu": 1 << 19}
DEFAULT_TILE_ENTRIES = 1 << 24  # accelerators want work enough for all their units
TILE_COLUMNS = 1024


class Tiles:
    """Iterate over the tiles of `scale · queries @ keys.T + log_weight` with −inf where a pair is excluded.

    Yields:
        (rows, columns, logits): slices and the tile, a buffer that the next step overwrites and the caller may change.
    """

    def __init__(
        self, queries: Tensor, keys: Tensor, scale: Tensor, exclude: Tensor | None, log_weight: Tensor | None
    ) -> None:
        self.queries, self.keys, self.scale = queries, keys, scale
        self.exclude, self.log_weight = exclude, log_weight
        entries = TILE_ENTRIES.get(queries.device.type, DEFAULT_TILE_ENTRIES)
        self.width = min(len(keys), max(TILE_COLUMNS, math.isqrt(entries)))
        self.height = min(len(queries), max(1, entries // self.width))
        self.buffer = queries.new_empty(self.height * self.width)

    def __iter__(self) -> Iterator[tuple[slice, slice, Tensor]]:
        return self._tiles(triangle=False)

    def upper_triangle(self) -> Iterator[tuple[slice, slice, Tensor]]:
        """Iterate over square tiles on and above the diagonal of a square matrix."""
        return self._tiles(triangle=True)

    def _tiles(self, triangle: bool) -> Iterator[tuple[slice, slice, Tensor]]:
        height = width = min(self.height, self.width)
        if not triangle:
            height, width = self.height, self.width
        with torch.autocast(self.queries.device.type, enabled=False):
            for top in range(0, len(self.queries), height):
                rows = slice(top, min(top + height, len(self.queries)))
                scaled = self.queries[rows] * self.scale
                for left in range(top if triangle else 0, len(self.keys), width):
                    columns = slice(left, min(left + width, len(self.keys)))
                    yield rows, columns, self._logits(scaled, rows, columns)

    def _logits(self, scaled: Tensor, rows: slice, columns: slice) -> Tensor:
        """One tile in the shared buffer."""
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        tile = self.buffer[: shape[0] * shape[1]].view(shape)
        torch.mm(scaled, self.keys[columns].T, out=tile)
        if self.log_weight is not None:
            tile += self.log_weight[columns] if self.log_weight.ndim == 1 else self.log_weight[rows, columns]
        return self.mask(tile, self.exclude, rows, columns)

    @staticmethod
    def mask(tile: Tensor, exclude: Tensor | None, rows: slice, columns: slice) -> Tensor:
        """Write −inf, in place, where a pair is excluded."""
        if exclude is None:
            return tile
        if exclude.dtype == torch.bool:
            return tile.masked_fill_(exclude[rows, columns], -math.inf)
        local = exclude[rows] - columns.start
        # An index that stands for no column is negative here too.
        row, slot = torch.nonzero((local >= 0) & (local < tile.shape[1]), as_tuple=True)
        tile[row, local[row, slot]] = -math.inf
        return tile


def bounded(queries: Tensor, keys: Tensor, scale: Tensor, log_weight: Tensor | None) -> bool:
    """Whether Cauchy–Schwarz proves that no sum of `exp(logit)` can overflow or vanish, so that no shift is needed."""
    limit = 0.6 * math.log(torch.finfo(queries.dtype).max)
    largest = queries.norm(dim=1).max() * keys.norm(dim=1).max() * scale.abs()
    if log_weight is not None:
        largest = largest + torch.where(log_weight.isfinite(), log_weight.abs(), 0.0).max()
    return bool(largest < limit)
