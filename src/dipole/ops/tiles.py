"""Cutting a similarity matrix into tiles that stay in the cache."""

import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor

from dipole.ops.door import looking
from dipole.ops.room import large_room
from dipole.ops.rows import Exclusion

# One float32 tile of 2²⁰ entries is 4 MiB: it is written by the product and read by the exponential from the cache.
TILE_ENTRIES = {"cpu": 1 << 20}
DEFAULT_TILE_ENTRIES = 1 << 24  # accelerators want work enough for all their units
TILE_COLUMNS = 1024
LEAST_SIDE = 256  # of the tiles of a triangle: smaller ones cost more than the pairs that they spare
# Exponentials that are kept for the gradient; 2²⁶ in float32 are 256 MiB, the whole matrix of 8,192 pairs.
KEPT_ENTRIES = {"cpu": 1 << 26}
DEFAULT_KEPT_ENTRIES = 1 << 26
LOG2_E = math.log2(math.e)

Tile = tuple[slice, slice, Tensor]


class Tiles:
    """Iterate over the tiles of `scale · queries @ keys.T + log_weight` with −inf where a pair is excluded.

    Yields:
        (rows, columns, logits): slices and the tile, a buffer that the next step overwrites and the caller may change.
    """

    def __init__(
        self, queries: Tensor, keys: Tensor, scale: Tensor, exclude: Exclusion, log_weight: Tensor | None
    ) -> None:
        self.queries, self.keys, self.scale = queries, keys, 1.0
        if scale.device.type == "cpu" and looking():
            self.scale = float(scale.detach())
        else:  # whose value would have to be waited for
            self.queries = queries * scale.detach()
        self.exclude, self.log_weight = exclude, log_weight
        self.device_type = queries.device.type
        self.rows, self.columns = queries.shape[0], keys.shape[0]
        self.height, self.width = sides(self.rows, self.columns, self.device_type)

    @cached_property
    def buffer(self) -> Tensor:
        """Room for the largest tile."""
        return self.queries.new_empty(self.height * self.width)

    def __iter__(self) -> Iterator[Tile]:
        with exact_products(self.device_type):
            for rows, columns in self._places(triangle=False):
                height, width = rows.stop - rows.start, columns.stop - columns.start
                tile = self.buffer[: height * width].view(height, width)
                yield rows, columns, self._write_logits(tile, rows, columns)

    def exponentials(
        self, triangle: bool = False, kept: Tensor | None = None, room: Tensor | None = None
    ) -> Iterator[Tile]:
        """Iterate over the exponentials of the logits, which must not overflow; callers leave them as they are.

        Of a symmetric matrix the square tiles on and above the diagonal are enough (`triangle`). The first pass leaves
        those of the first tiles in `self.kept`, as many as are affordable, or in the room that is given. A second pass
        takes them from there and computes the others again.
        """
        places = self._places(triangle)
        sizes = [(rows.stop - rows.start, columns.stop - columns.start) for rows, columns in places]
        known = kept is not None
        if kept is None:
            if room is None:
                entries = kept_entries(self.rows, self.columns, self.device_type, triangle)
                room = large_room(self.queries, entries)
            kept = self.kept = room
        ends = list(accumulate(height * width for height, width in sizes))
        steps = list(zip(places, sizes, ends, strict=True))
        with exact_products(self.device_type):
            # Backwards the second time: what was written last is still in the cache.
            for (rows, columns), (height, width), end in reversed(steps) if known else steps:
                start, fits = end - height * width, end <= kept.shape[0]
                tile = (kept[start:end] if fits else self.buffer[: end - start]).view(height, width)
                if not (fits and known):
                    # To base 2, since the exponential to base e is up to three times slower.
                    self._write_logits(tile, rows, columns, LOG2_E).exp2_()
                yield rows, columns, tile

    def _places(self, triangle: bool) -> list[tuple[slice, slice]]:
        """Rows and columns of the tiles; square ones, on and above the diagonal, of a triangle."""
        height, width = self.height, self.width
        if triangle:
            height = width = triangle_side(height, width)
        return [
            (slice(top, min(top + height, self.rows)), slice(left, min(left + width, self.columns)))
            for top in range(0, self.rows, height)
            for left in range(top if triangle else 0, self.columns, width)
        ]

    def _write_logits(self, tile: Tensor, rows: slice, columns: slice, factor: float = 1.0) -> Tensor:
        """Fill a tile with its logits times a factor."""
        torch.addmm(tile, self.queries[rows], self.keys[columns].T, beta=0, alpha=self.scale * factor, out=tile)
        if self.log_weight is not None:
            weight = self.log_weight[columns] if self.log_weight.ndim == 1 else self.log_weight[rows, columns]
            tile.add_(weight, alpha=factor)
        return self.mask(tile, self.exclude, rows, columns)

    @staticmethod
    def mask(tile: Tensor, exclude: Exclusion, rows: slice, columns: slice) -> Tensor:
        """Write −inf, in place, where a pair is excluded."""
        if exclude is None:
            return tile
        if isinstance(exclude, str):
            if rows.start < columns.stop and columns.start < rows.stop:
                tile.diagonal(rows.start - columns.start).fill_(-math.inf)
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


def sides(rows: int, columns: int, device_type: str) -> tuple[int, int]:
    """Height and width of the tiles of a matrix."""
    entries = TILE_ENTRIES.get(device_type, DEFAULT_TILE_ENTRIES)
    width = min(columns, max(TILE_COLUMNS, math.isqrt(entries)))
    return min(rows, max(1, entries // width)), width


def triangle_side(height: int, width: int) -> int:
    """The side of the square tiles of a triangle; smaller, since a tile on the diagonal computes every pair twice."""
    return max(1, min(height, width, LEAST_SIDE), min(height, width) // 2)


def kept_entries(rows: int, columns: int, device_type: str, triangle: bool, matrices: int = 1) -> int:
    """How many exponentials are kept for the gradient at most, by the shape of the matrix alone."""
    limit = KEPT_ENTRIES.get(device_type, DEFAULT_KEPT_ENTRIES) // matrices
    every = rows * columns
    if triangle:
        every = (every + rows * triangle_side(*sides(rows, columns, device_type))) // 2
    return min(every, limit)


@torch.no_grad()
def bounded(queries: Tensor, keys: Tensor, scale: Tensor, log_weight: Tensor | None) -> bool:
    """Whether Cauchy–Schwarz proves that no sum of `exp(logit)` can overflow or vanish, so that no shift is needed."""
    if not looking():
        return False
    limit = 0.6 * math.log(torch.finfo(queries.dtype).max)
    longest = torch.linalg.vector_norm(queries, dim=1).max()
    largest = longest.square() if keys is queries else longest * torch.linalg.vector_norm(keys, dim=1).max()
    largest = largest * scale.abs()
    if log_weight is not None:
        largest = largest + torch.where(log_weight.isfinite(), log_weight.abs(), 0.0).max()
    return float(largest) < limit  # False for NaN, as of products that overflow


def exact_products(device_type: str) -> AbstractContextManager[object]:
    """A context in which products are not rounded to half precision; entering none where autocast is off saves time."""
    if torch.is_autocast_enabled(device_type):
        return torch.autocast(device_type, enabled=False)
    return nullcontext()
