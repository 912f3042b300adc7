"""The statistics of rows from the whole matrix, for second derivatives and transforms of functions."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from dipole.ops.rows import Exclusion, as_mask


def logits_of(
    queries: Tensor, keys: Tensor, scale: Tensor, exclude: Exclusion = None, log_weight: Tensor | None = None
) -> Tensor:
    """`scale · queries @ keys.T + log_weight`, −inf where a pair is excluded."""
    with torch.autocast(queries.device.type, enabled=False):
        logits = (queries @ keys.T) * scale
    if log_weight is not None:
        logits = logits + log_weight
    return logits if exclude is None else logits.masked_fill(as_mask(exclude, len(keys), keys.device), -math.inf)


def logsumexp(logits: Tensor, dim: int) -> Tensor:
    """`torch.logsumexp` whose gradients of a row without anything left are 0."""
    empty = (logits == -math.inf).all(dim=dim, keepdim=True)
    result = torch.where(empty, 0, logits).logsumexp(dim=dim)
    return torch.where(empty.squeeze(dim), -math.inf, result)


def softmax_mean(
    queries: Tensor,
    keys: Tensor,
    scale: Tensor,
    value: Callable[[Tensor], Tensor] | None,
    exclude: Exclusion,
    detach_weights: bool,
) -> Tensor:
    """The mean of a function of the similarities, weighted by their softmax."""
    with torch.autocast(queries.device.type, enabled=False):
        similarities = queries @ keys.T
    logits = similarities * scale
    if exclude is not None:
        logits = logits.masked_fill(as_mask(exclude, len(keys), keys.device), -math.inf)
    empty = (logits == -math.inf).all(dim=1, keepdim=True)
    weights = torch.where(empty, 0, torch.where(empty, 0, logits).softmax(dim=1))
    values = similarities if value is None else value(similarities)
    return ((weights.detach() if detach_weights else weights) * values).sum(dim=1)


def retrieval(queries: Tensor, stored: Tensor, scale: Tensor, sizes: Sequence[int]) -> Tensor:
    """The softmax-weighted mean of each group of patterns."""
    with torch.autocast(queries.device.type, enabled=False):
        return torch.stack([((queries @ part.T) * scale).softmax(dim=1) @ part for part in stored.split(list(sizes))])
