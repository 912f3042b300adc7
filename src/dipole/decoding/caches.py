"""Caches of transformers: which ones candidates and streams can use, and how those of several streams become one."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dipole.errors import InputError


def right_aligned(parts: Sequence[Tensor], dim: int) -> Tensor:
    """Put tensors below each other whose lengths along `dim` differ; zeros fill up the beginning of the shorter ones.

    Example:
        >>> right_aligned([torch.tensor([[1, 2, 3]]), torch.tensor([[4]])], dim=1)
        tensor([[1, 2, 3],
                [0, 0, 4]])
    """
    length = max(part.shape[dim] for part in parts)
    padded = []
    for part in parts:
        after = [0, 0] * (part.ndim - dim - 1)  # F.pad counts the axes from the last
        padded.append(F.pad(part, [*after, length - part.shape[dim], 0]))
    return torch.cat(padded)


def join_rows(caches: Sequence[Any]) -> None:
    """Add the rows of all caches to the first; the entries that fill up shorter ones must be masked as padding."""
    if len(caches) == 1:
        return
    for layer, *others in zip(*(cache.layers for cache in caches), strict=True):
        layers = [layer, *others]
        layer.keys = right_aligned([each.keys for each in layers], dim=2)
        layer.values = right_aligned([each.values for each in layers], dim=2)
        if hasattr(layer, "cumulative_length"):  # a sliding layer counts also what it has forgotten
            layer.cumulative_length = max(each.cumulative_length for each in layers)


def check_cache(cache: Any) -> None:
    """Require an empty cache whose entries can be repeated and exchanged.

    Raises:
        InputError: it is missing, holds tokens, or is of another kind.
    """
    from transformers import DynamicCache

    if cache is None:
        raise InputError("there is no cache: leave use_cache on; models that keep no DynamicCache are not supported.")
    if type(cache) is not DynamicCache or getattr(cache, "offloading", False):
        raise InputError(
            f"the cache is a {type(cache).__name__}: candidates and streams need the default DynamicCache in the "
            "device's memory. Leave cache_implementation out."
        )
    check_layers(cache)
    if cache.get_seq_length() > 0:
        raise InputError(
            f"past_key_values holds {cache.get_seq_length()} tokens: the decoder needs the hidden states of the whole "
            "prompt. Leave past_key_values out."
        )


def check_layers(cache: Any) -> None:
    """Require layers of full or sliding-window attention.

    Raises:
        InputError: a layer keeps something else, such as a recurrent state.
    """
    from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

    for layer in cache.layers:
        if type(layer) not in (DynamicLayer, DynamicSlidingWindowLayer):
            raise InputError(
                f"the model's cache has a {type(layer).__name__}: full and sliding-window attention are supported. "
                "Decode this model with 'greedy', 'beam' or 'nucleus'."
            )
