"""Cutting a similarity matrix into tiles that stay in the cache."""

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from dipole.ops.door import looking

# One float32 tile of 2²⁰ entries is 4 MiB: it is written by the product and read by the exponential from the cache.
TILE_ENTRIES = {"cpu": 1 << 20}
DEFAULT_TILE_ENTRIES = 1 << 24  # accelerators want work enough for all their units
TILE_COLUMNS = 1024
LEAST_SIDE = 256  # of the tiles of a triangle: smaller ones cost more than the pairs that they spare
# Exponentials that are kept for the gradient; 2²⁴ in float32 are 64 MiB, the whole matrix of usual batches.
KEPT_ENTRIES = {"cpu": 1 << 24}
DEFAULT_KEPT_ENTRIES = 1 << 26
LOG2_E = math.log2(math.e)

Tile = tuple[slice, slice, Tensor]


class Tiles:
    """Iterate over the tiles of `scale · queries @ keys.T + log_weight` with −inf where a pair is excluded.

    Yields:
        (rows, columns, logits): slices and the tile, a buffer that the next step overwrites and the caller may change.
    """

    def __init__(
        self, queries: Tensor, keys: Tensor, scale: Tensor, exclude: Tensor | None, log_weight: Tensor | None
    ) -> None:
        self.queries, self.keys, self.scale = queries, keys, 1.0
        if scale.device.type == "cpu" and looking():
            self.scale = float(scale.detach())
        else:  # whose value would have to be waited for
            self.queries = queries * scale.detach()
        self.exclude, self.log_weight = exclude, log_weight
        entries = TILE_ENTRIES.get(queries.device.type, DEFAULT_TILE_ENTRIES)
        self.width = min(len(keys), max(TILE_COLUMNS, math.isqrt(entries)))
        self.height = min(len(queries), max(1, entries // self.width))
        self.buffer = queries.new_empty(self.height * self.width)
        self.kept = queries.new_empty(0)

    def __iter__(self) -> Iterator[Tile]:
        for rows, columns in self._places(triangle=False):
            tile = self.buffer[: _size(rows) * _size(columns)].view(_size(rows), _size(columns))
            yield rows, columns, self._write_logits(tile, rows, columns)

    def exponentials(self, triangle: bool = False, kept: Tensor | None = None, matrices: int = 1) -> Iterator[Tile]:
        """Iterate over the exponentials of the logits, which must not overflow; callers leave them as they are.

        Of a symmetric matrix the square tiles on and above the diagonal are enough (`triangle`). The first pass leaves
        those of the first tiles in `self.kept`, as many as are affordable; several `matrices` of one result share what
        is. A second pass takes them from there and computes the others again.
        """
        known = kept is not None
        self.kept = self.queries.new_empty(self._affordable(triangle, matrices)) if kept is None else kept
        end = 0
        for rows, columns in self._places(triangle):
            start, end = end, end + _size(rows) * _size(columns)
            fits = end <= len(self.kept)
            tile = (self.kept[start:end] if fits else self.buffer[: end - start]).view(_size(rows), _size(columns))
            if not (known and fits):
                # To base 2, since the exponential to base e is up to three times slower.
                self._write_logits(tile, rows, columns, LOG2_E).exp2_()
            yield rows, columns, tile

    def _affordable(self, triangle: bool, matrices: int) -> int:
        """Entries of the first tiles that may be kept."""
        limit, total = KEPT_ENTRIES.get(self.queries.device.type, DEFAULT_KEPT_ENTRIES) // matrices, 0
        for rows, columns in self._places(triangle):
            if total + _size(rows) * _size(columns) > limit:
                break
            total += _size(rows) * _size(columns)
        return total

    def _places(self, triangle: bool) -> Iterator[tuple[slice, slice]]:
        """Rows and columns of the tiles; square ones, on and above the diagonal, of a triangle."""
        height, width = self.height, self.width
        if triangle:
            # Smaller ones, since a tile on the diagonal computes every pair twice.
            height = width = max(1, min(height, width, LEAST_SIDE), min(height, width) // 2)
        # Products would be rounded to half precision, here and where the caller uses the tile.
        with torch.autocast(self.queries.device.type, enabled=False):
            for top in range(0, len(self.queries), height):
                rows = slice(top, min(top + height, len(self.queries)))
                for left in range(top if triangle else 0, len(self.keys), width):
                    yield rows, slice(left, min(left + width, len(self.keys)))

    def _write_logits(self, tile: Tensor, rows: slice, columns: slice, factor: float = 1.0) -> Tensor:
        """Fill a tile with its logits times a factor."""
        torch.addmm(tile, self.queries[rows], self.keys[columns].T, beta=0, alpha=self.scale * factor, out=tile)
        if self.log_weight is not None:
            weight = self.log_weight[columns] if self.log_weight.ndim == 1 else self.log_weight[rows, columns]
            tile.add_(weight, alpha=factor)
        return self.mask(tile, self.exclude, rows, columns)

    @staticmethod
    def mask(tile: Tensor, exclude: Tensor | None, rows: slice, columns: slice) -> Tensor:
        """Write −inf, in place, where a pair is excluded."""
        if exclude is None:
            return tile
        if exclude.dtype == torch.bool:
            return tile.masked_fill_(exclude[rows, columns], -math.inf)
        local = exclude[rows] - columns.start
        # An index that stands for no column is negative here too; it is written over with what is there.
        inside = (local >= 0) & (local < tile.shape[1])
        safe = local.clamp(0, tile.shape[1] - 1)
        for slot in range(local.shape[1]):
            place = safe[:, slot, None]
            tile.scatter_(1, place, tile.gather(1, place).masked_fill_(inside[:, slot, None], -math.inf))
        return tile


def _size(part: slice) -> int:
    """Number of indices in a slice of explicit ends."""
    size: int = part.stop - part.start
    return size


@torch.no_grad()
def bounded(queries: Tensor, keys: Tensor, scale: Tensor, log_weight: Tensor | None) -> bool:
    """Whether Cauchy–Schwarz proves that no sum of `exp(logit)` can overflow or vanish, so that no shift is needed."""
    if not looking():
        return False
    limit = 0.6 * math.log(torch.finfo(queries.dtype).max)
    longest = queries.norm(dim=1).max()
    largest = longest * (longest if keys is queries else keys.norm(dim=1).max()) * scale.abs()
    if log_weight is not None:
        largest = largest + torch.where(log_weight.isfinite(), log_weight.abs(), 0.0).max()
    return bool(largest < limit)  # False for NaN, as of products that overflow
