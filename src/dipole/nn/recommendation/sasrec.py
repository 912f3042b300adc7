"""The encoder of SASRec, a causal transformer over a user's items."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.ops.checks import check_at_least

# Added to the attention of keys that are masked. A row in which all are keeps a softmax over all of them, not NaN.
MASKED = -10000.0
EPSILON = 1e-12


class SASRecEncoder(nn.Module):
    """Encode histories of items: learned positions, self-attention to earlier items, the state at the last item.

        x = dropout(LN(E[item] + P))                    and for every layer, normalised after each part:
        x = LN(x + dropout(W_o attention(x)))           x = LN(x + dropout(W₂ gelu(W₁ x)))

    A key is seen if it is not padding and not later than its query. Item 0 is padding.

    Kang, McAuley: *Self-Attentive Sequential Recommendation* (ICDM 2018), in the form of RecBole, which normalises
    after each part and does not scale embeddings.

    Args:
        items: number of items.
        max_length: L, items of a history.
        width: H.
        heads: of the attention; they divide `width`.
        layers: number of layers.
        inner_width: of the feed-forward part.
        dropout: of embeddings and hidden states.
        attention_dropout: of attention weights.

    Raises:
        InputError: a size is below 1, heads do not divide the width, or a dropout is not from 0 to below 1.

    Example:
        >>> encoder = SASRecEncoder(items=9, max_length=4, width=8).eval()
        >>> encoder(torch.tensor([[3, 5, 0, 0]]), torch.tensor([2])).shape
        torch.Size([1, 8])
    """

    def __init__(
        self,
        items: int,
        *,
        max_length: int = 50,
        width: int = 64,
        heads: int = 2,
        layers: int = 2,
        inner_width: int = 256,
        dropout: float = 0.5,
        attention_dropout: float = 0.5,
    ) -> None:
        super().__init__()
        for name, value in {"items": items, "max_length": max_length, "width": width, "layers": layers}.items():
            check_at_least(value, 1, name)
        check_at_least(inner_width, 1, "inner_width")
        if heads < 1 or width % heads:
            raise InputError(f"heads={heads}, width={width}: the heads must divide the width.")
        if not (0 <= dropout < 1 and 0 <= attention_dropout < 1):
            raise InputError(f"dropout={dropout}, attention_dropout={attention_dropout}: expected 0 to below 1.")
        self.items, self.max_length, self.width = items, max_length, width
        self.item_embedding = nn.Embedding(items + 1, width, padding_idx=0)
        self.position_embedding = nn.Embedding(max_length, width)
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.ModuleList(
            _Layer(width, heads, inner_width, dropout, attention_dropout) for _ in range(layers)
        )
        self.apply(_initialize)

    def forward(
        self, history: Int[Tensor, "n l"], length: Int[Tensor, " n"], *, every: bool = False
    ) -> Float[Tensor, "..."]:
        """Return the states (N, H) at the last items, not normalised.

        Args:
            history: (N, L) items from 1 in the order of time, then 0.
            length: (N,) of the histories, 1 or more.
            every: return the states (N, K, H) at all items, K the longest of the lengths.
        """
        # Nothing looks at columns that are padding in all histories, unless a history has no item to look at.
        if bool((history > 0).any(dim=1).all()):
            history = history[:, : int(length.max())]
        x = self.item_embedding(history) + self.position_embedding.weight[: history.shape[1]]
        x = self.dropout(self.norm(x))
        places = torch.arange(history.shape[1], device=history.device)
        seen = (history > 0)[:, None, :] & (places <= places[:, None])
        mask = torch.where(seen, 0.0, MASKED).to(x.dtype)
        rows, last = torch.arange(len(x), device=x.device), length - 1
        for layer in self.layers[:-1]:
            x = layer(x, x, mask)
        if every:
            return self.layers[-1](x, x, mask)
        # Of the last layer one place of each history is read.
        return self.layers[-1](x[rows, last][:, None], x, mask[rows, last][:, None])[:, 0]

    def scores(self, states: Float[Tensor, "n h"]) -> Float[Tensor, "n items"]:
        """Return the inner products (N, 1 + items) of states with all items, the padding in column 0 included."""
        return states @ self.item_embedding.weight.T


class _Layer(nn.Module):
    """Self-attention and a feed-forward network, each added to its input and normalised."""

    def __init__(self, width: int, heads: int, inner_width: int, dropout: float, attention_dropout: float) -> None:
        super().__init__()
        self.heads, self.attention_dropout = heads, attention_dropout
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))
        self.attention_norm, self.feed_forward_norm = (nn.LayerNorm(width, eps=EPSILON) for _ in range(2))
        self.feed_forward = nn.Sequential(nn.Linear(width, inner_width), nn.GELU(), nn.Linear(inner_width, width))
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Float[Tensor, "n q h"], context: Float[Tensor, "n l h"], mask: Float[Tensor, "n q l"]
    ) -> Float[Tensor, "n q h"]:
        """Let `x` attend to `context`, with `mask` added to the logits, and apply the feed-forward network."""
        queries, keys, values = (
            layer(source).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer, source in ((self.query, x), (self.key, context), (self.value, context))
        )
        attended = F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask[:, None], dropout_p=self.attention_dropout if self.training else 0.0
        )
        attended = self.output(attended.transpose(1, 2).flatten(2))
        x = self.attention_norm(x + self.dropout(attended))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))


def _initialize(module: nn.Module) -> None:
    """Draw weights as BERT does, those of the padding too."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)
