"""Memory for what a pass keeps for its gradient, which the next pass takes over."""

import weakref

import numpy as np
import torch
from torch import Tensor

CACHE_LINE = 64  # bytes
LEAST_BYTES = 1 << 22  # smaller rooms come from freed memory, which the C library keeps

_spare: list[np.ndarray] = []  # the room that was given back last, at most one


def large_room(like: Tensor, entries: int) -> Tensor:
    """Memory (entries,) of one type and device with a tensor, not filled.

    A large room on a processor is taken over by the next one as soon as no tensor needs it: the system fills new memory
    with zeros at its first touch, which takes a fifth of NT-Xent's time. New ones are NumPy's, which asks for pages of
    2 MiB where the system grants them (Linux, `madvise`).
    """
    size = entries * like.element_size()
    if like.device.type != "cpu" or size < LEAST_BYTES:
        return like.new_empty(entries)
    try:
        whole = _spare.pop()
    except IndexError:
        whole = np.empty(0, np.uint8)
    if len(whole) < size + CACHE_LINE:
        del whole  # before there is another one
        whole = np.empty(size + CACHE_LINE, np.uint8)
    start = -whole.ctypes.data % CACHE_LINE
    part = whole[start : start + size]
    # The storage of the tensor holds the part, and only that.
    weakref.finalize(part, _give_back, whole).atexit = False
    return torch.frombuffer(part, dtype=like.dtype)


def _give_back(whole: np.ndarray) -> None:
    """Keep a room for the next pass in place of the one before."""
    _spare[:] = [whole]
