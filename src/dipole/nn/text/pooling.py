"""Token states -> one embedding a text."""

from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import accumulate
from dipole.ops.checks import check_choice

Pooling = Literal["cls", "mean", "last", "mean_with_padding", "first_last_average"]
POOLINGS: tuple[str, ...] = get_args(Pooling)


def pool(
    hidden: Float[Tensor, "n t d"],
    attention_mask: Int[Tensor, "n t"] | Bool[Tensor, "n t"],
    pooling: Pooling = "mean",
    *,
    first_hidden: Float[Tensor, "n t d"] | None = None,
) -> Float[Tensor, "n d"]:
    """Reduce the states of a text's tokens to one embedding.

        cls                 h_0, the state of the first token
        last                h of the last token, for encoders whose tokens see only those before them
        mean                Σ_t m_t h_t / Σ_t m_t, special tokens included
        mean_with_padding   Σ_t h_t / T: depends on how far the batch is padded
        first_last_average  the mean of (h + h') / 2 with h' of the first transformer layer

    A text without any token has the zero vector. Half precision is summed in float32.

    Args:
        hidden: (N, T, D) states of the last layer.
        attention_mask: (N, T), 0 where a position is padding.
        pooling: one of the five.
        first_hidden: (N, T, D) states of the first layer, for `"first_last_average"`.

    Returns:
        (N, D).

    Raises:
        InputError: an unknown pooling, or the first layer's states are missing.

    Example:
        >>> import torch
        >>> hidden = torch.tensor([[[1.0], [3.0], [9.0]]])
        >>> mask = torch.tensor([[1, 1, 0]])
        >>> [pool(hidden, mask, name).item() for name in ("cls", "mean", "last")]
        [1.0, 2.0, 3.0]
    """
    check_choice(pooling, POOLINGS, "pooling")
    mask = attention_mask.bool()
    hidden = accumulate(hidden)
    if pooling == "first_last_average":
        if first_hidden is None:
            raise InputError("pooling 'first_last_average' needs the states of the first layer: give first_hidden.")
        hidden = (hidden + accumulate(first_hidden)) / 2
    if pooling in ("cls", "last"):
        places = torch.arange(mask.shape[1], device=mask.device)
        # Wherever the padding stands: the first or the last place that holds a token.
        kept = torch.where(mask, places, mask.shape[1] if pooling == "cls" else -1)
        place = (kept.amin(dim=1) if pooling == "cls" else kept.amax(dim=1)).clamp(0, mask.shape[1] - 1)
        pooled = hidden[torch.arange(len(hidden), device=hidden.device), place]
    elif pooling == "mean_with_padding":
        pooled = hidden.mean(dim=1)
    else:
        count = mask.sum(dim=1, keepdim=True).clamp_min(1)
        pooled = hidden.masked_fill(~mask[:, :, None], 0).sum(dim=1) / count
    return pooled.masked_fill(~mask.any(dim=1, keepdim=True), 0)
