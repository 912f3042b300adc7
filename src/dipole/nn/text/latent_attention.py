"""Latent-attention pooling: tokens look up a trainable dictionary before they are averaged."""

from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.nn.text.pooling import pool
from dipole.ops.checks import check_at_least, check_choice


class LatentStates(NamedTuple):
    """What the layers of latent attention make of the states of tokens, (N, T, D)."""

    found: Tensor  # in the latents; the tokens' own states come beside it
    tokens: Tensor  # after the feed-forward layer


class LatentAttentionPooling(nn.Module):
    """NV-Embed's pooling: cross-attention of the tokens over R latents, a feed-forward layer, and the mean.

    `code`, as the authors' published modules compute it, with LayerNorms LN, latents Z (R, D) and H heads:

        q = W_q LN(h),  [k ; v] = W_kv LN(Z)          a = softmax(q kᵀ / √d_h) over the latents, head by head
        h₁ = h + W_o (a v)                            h₂ = h₁ + F₂ (x · GELU(gate)),  [x ; gate] = F₁ LN(h₁)
        e = Σ_t m_t h₂_t / Σ_t m_t

    `paper`, as the formula of the paper reads: `h₁ = softmax(h Zᵀ) Z`, `h₂ = F₂ GELU(F₁ h₁)`, and the same mean.

    Lee et al.: *NV-Embed* (ICLR 2025), sec. 3.1.2.

    Args:
        width: D, of tokens and latents.
        num_latents: R.
        num_heads: H.
        head_width: d_h; D / H if None. The authors take D.
        expansion: of the feed-forward layer.
        variant: see above.

    Raises:
        InputError: a number is below 1, or D is no multiple of H.

    Example:
        >>> pooling = LatentAttentionPooling(8, num_latents=4, num_heads=2)
        >>> pooling(torch.randn(2, 3, 8), torch.ones(2, 3, dtype=torch.long)).shape
        torch.Size([2, 8])
    """

    def __init__(
        self,
        width: int,
        *,
        num_latents: int = 512,
        num_heads: int = 8,
        head_width: int | None = None,
        expansion: int = 4,
        variant: Literal["code", "paper"] = "code",
    ) -> None:
        super().__init__()
        check_choice(variant, ("code", "paper"), "variant")
        for name, value in (("num_latents", num_latents), ("num_heads", num_heads), ("expansion", expansion)):
            check_at_least(value, 1, name)
        if head_width is None and width % num_heads:
            raise InputError(f"num_heads is {num_heads} and the width {width}: expected a divisor, or set head_width.")
        inner = num_heads * (width // num_heads if head_width is None else head_width)
        check_at_least(inner, 1, "head_width")
        self.width, self.num_heads, self.variant = width, num_heads, variant
        self.latents = nn.Parameter(torch.randn(num_latents, width))
        gated = 2 if variant == "code" else 1
        self.expand = nn.Linear(width, gated * expansion * width)
        self.contract = nn.Linear(expansion * width, width)
        if variant == "code":
            self.query_norm, self.latent_norm, self.feed_forward_norm = (nn.LayerNorm(width) for _ in range(3))
            self.to_queries = nn.Linear(width, inner, bias=False)
            self.to_keys_values = nn.Linear(width, 2 * inner, bias=False)
            self.to_output = nn.Linear(inner, width, bias=False)

    def forward(
        self, hidden: Float[Tensor, "n t d"], mask: Int[Tensor, "n t"] | Bool[Tensor, "n t"]
    ) -> Float[Tensor, "n d"]:
        """Return embeddings (N, D), not normalised; the zero vector for a text without a token that counts.

        Args:
            hidden: (N, T, D) states of the last layer.
            mask: (N, T), 0 for tokens that do not count: padding, and instructions.
        """
        return pool(self.states(hidden).tokens, mask, "mean")

    def states(self, hidden: Float[Tensor, "n t d"]) -> LatentStates:
        """Return what the tokens find in the latents, and their states after the feed-forward layer."""
        if self.variant == "paper":
            found = (hidden @ self.latents.T).softmax(dim=-1) @ self.latents
            return LatentStates(found, self.contract(F.gelu(self.expand(found))))
        queries = self._heads(self.to_queries(self.query_norm(hidden)))
        # A batch of one: the same latents for every text.
        keys, values = (self._heads(x) for x in self.to_keys_values(self.latent_norm(self.latents))[None].chunk(2, -1))
        found = F.scaled_dot_product_attention(
            queries, keys.expand(len(hidden), -1, -1, -1), values.expand(len(hidden), -1, -1, -1)
        )
        found = self.to_output(found.transpose(1, 2).flatten(2))
        attended = hidden + found
        content, gate = self.expand(self.feed_forward_norm(attended)).chunk(2, dim=-1)
        return LatentStates(found, attended + self.contract(content * F.gelu(gate)))

    def _heads(self, x: Tensor) -> Tensor:
        """(N, T, H · d_h) -> (N, H, T, d_h)."""
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


# Names in the authors' published weights, for those here.
OFFICIAL_NAMES = {
    "latents": "latents",
    "to_queries.weight": "cross_attend_blocks.0.fn.to_q.weight",
    "to_keys_values.weight": "cross_attend_blocks.0.fn.to_kv.weight",
    "to_output.weight": "cross_attend_blocks.0.fn.to_out.weight",
    "query_norm.weight": "cross_attend_blocks.0.norm.weight",
    "query_norm.bias": "cross_attend_blocks.0.norm.bias",
    "latent_norm.weight": "cross_attend_blocks.0.norm_context.weight",
    "latent_norm.bias": "cross_attend_blocks.0.norm_context.bias",
    "expand.weight": "cross_attend_blocks.1.fn.net.0.weight",
    "expand.bias": "cross_attend_blocks.1.fn.net.0.bias",
    "contract.weight": "cross_attend_blocks.1.fn.net.2.weight",
    "contract.bias": "cross_attend_blocks.1.fn.net.2.bias",
    "feed_forward_norm.weight": "cross_attend_blocks.1.norm.weight",
    "feed_forward_norm.bias": "cross_attend_blocks.1.norm.bias",
}
