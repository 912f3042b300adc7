"""A similarity matrix read a few rows at a time."""

from collections.abc import Iterator

from torch import Tensor

from dipole.errors import InputError

TILE_ENTRIES = 1 << 22  # 16 MiB of float32: large enough for the matrix product, small beside the embeddings


def similarity_rows(x: Tensor, y: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Yield `(rows, x[rows] @ y.T)`, so that memory grows with N, not with N²."""
    height = max(1, TILE_ENTRIES // len(y))
    for top in range(0, len(x), height):
        rows = slice(top, min(top + height, len(x)))
        yield rows, x[rows] @ y.T


def check_two_samples(count: int, what: str) -> None:
    """Require a second sample.

    Raises:
        InputError: fewer than two samples.
    """
    if count < 2:
        raise InputError(f"{what} compares different samples, and {count} came: pass 2 or more.")


def check_labels(labels: Tensor, count: int) -> None:
    """Require one label for each sample.

    Raises:
        InputError: the numbers differ.
    """
    if labels.shape != (count,):
        raise InputError(f"labels has shape {tuple(labels.shape)}: expected ({count},), one for each embedding.")
