"""Noise inside an encoder: dropout everywhere, or whole attention heads."""

from typing import Any

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from dipole.errors import InputError


def set_dropout(module: nn.Module, probability: float) -> None:
    """Set the probability of every dropout of a network; of BERT: embeddings, attention, attention output, FFN output.

    Args:
        module: any network; transformers that keep the probability of attention as a number are known too.
        probability: from 0 to below 1.

    Raises:
        InputError: another probability.

    Example:
        >>> layer = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.1))
        >>> set_dropout(layer, 0.3)
        >>> layer[1].p
        0.3
    """
    check_probability(probability, "dropout")
    for part in module.modules():
        if isinstance(part, nn.Dropout):
            part.p = probability
        elif isinstance(getattr(part, "attention_dropout", None), float):
            part.attention_dropout = probability  # type: ignore[assignment]


def drop_heads(x: Float[Tensor, "n t hd"], keep: Bool[Tensor, "n h"] | Float[Tensor, "n h"]) -> Float[Tensor, "n t hd"]:
    """Silence attention heads and scale the others up: `y_nh = x_nh · b_nh · H / Σ_h b_nh`.

    Args:
        x: (N, T, H·d) outputs of the heads side by side, before the output projection.
        keep: (N, H) b, 1 where a head of a text is kept; shared by its tokens. Each text keeps a head or more.

    Returns:
        (N, T, H·d).

    Example:
        >>> drop_heads(torch.ones(1, 1, 4), torch.tensor([[True, False]]))
        tensor([[[2., 2., 0., 0.]]])
    """
    heads = keep.shape[1]
    factor = keep.to(x.dtype)
    factor = factor * (heads / factor.sum(dim=1, keepdim=True))
    return (x.unflatten(2, (heads, -1)) * factor[:, None, :, None]).flatten(2)


class DropHead(nn.Module):
    """Dropout of whole attention heads: one draw for every text and head, while training.

    If all heads of a text were to go, the one with the largest draw stays.

    Zhou et al.: *Scheduled DropHead* (EMNLP Findings 2020); as the second view's noise: Liu et al., *Mirror-BERT*
    (EMNLP 2021).

    Args:
        probability: p of a head being dropped, from 0 to below 1.
        heads: H.

    Raises:
        InputError: another probability.

    Example:
        >>> DropHead(0.5, heads=2).eval()(torch.ones(1, 1, 4))
        tensor([[[1., 1., 1., 1.]]])
    """

    def __init__(self, probability: float, heads: int) -> None:
        super().__init__()
        check_probability(probability, "drophead")
        self.probability, self.heads = probability, heads

    def forward(
        self,
        x: Float[Tensor, "n t hd"],
        keep: Bool[Tensor, "n h"] | Float[Tensor, "n h"] | None = None,
        generator: torch.Generator | None = None,
    ) -> Float[Tensor, "n t hd"]:
        """Drop heads of x (N, T, H·d); `keep` (N, H) in place of a draw."""
        if keep is None:
            if not self.training or self.probability == 0:
                return x
            draw = torch.rand(len(x), self.heads, generator=generator, device=x.device)
            keep = draw >= draw.amax(dim=1, keepdim=True).clamp_max(self.probability)
        return drop_heads(x, keep)

    def extra_repr(self) -> str:
        """Show the probability."""
        return f"{self.probability}, heads={self.heads}"


def add_drophead(module: nn.Module, probability: float) -> list[DropHead]:
    """Put a `DropHead` behind every self-attention of a BERT-like network.

    Args:
        module: a network of BERT's or RoBERTa's kind, whose self-attention returns the heads' outputs side by side.
        probability: p of a head being dropped.

    Returns:
        The new parts, from the first layer to the last.

    Raises:
        InputError: no self-attention of this kind was found.
    """
    found = [part for part in module.modules() if hasattr(part, "num_attention_heads") and hasattr(part, "query")]
    if not found:
        raise InputError("drophead found no self-attention of BERT's or RoBERTa's kind: set drophead to 0.")
    for part in found:
        part.drophead = DropHead(probability, int(part.num_attention_heads)).train(part.training)  # type: ignore[arg-type]
        part.register_forward_hook(_drop_heads_of)
    return [part.drophead for part in found]  # type: ignore[misc]


def _drop_heads_of(attention: Any, inputs: Any, output: Any) -> Any:
    """Hook of a self-attention, which returns (outputs of the heads, attention weights)."""
    return (attention.drophead(output[0]), *output[1:])


def check_probability(value: float, name: str) -> None:
    """Require a probability below 1.

    Raises:
        InputError: another number.
    """
    if not 0 <= value < 1:
        raise InputError(f"{name} is {value}: expected a probability from 0 to below 1, e.g. 0.1.")
