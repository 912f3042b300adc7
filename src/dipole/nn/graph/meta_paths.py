"""The encoder of MEOW: contexts on meta-paths, one GCN for every view, attention over the views."""

from collections.abc import Sequence
from typing import Any, NamedTuple, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.losses.common import Reduction, unit_rows
from dipole.losses.meow import contrast_in_tiles
from dipole.ops.checks import check_at_least


class MetaPathViews(NamedTuple):
    """What the encoder reads of a graph with several kinds of nodes.

    Attributes:
        attributes: (N_k, F_k) of each kind of nodes, the target kind first.
        masked: (N, F) of the target kind, some of them 0.
        contexts: of each meta-path, for each of its inner places the kind (its place in `attributes`) and the matrix
            (N, N_k) that takes the mean over the nodes reached there.
        adjacency: (N, N) normalised, of each meta-path.
        adjacency_masked: (N, N) likewise, some edges missing.
        coarse: (N, N) mean of `adjacency`.
    """

    attributes: list[Tensor]
    masked: Tensor
    contexts: list[list[tuple[int, Tensor]]]
    adjacency: list[Tensor]
    adjacency_masked: list[Tensor]
    coarse: Tensor


class Embedded(NamedTuple):
    """Embeddings of the target nodes.

    Attributes:
        coarse: (N, D) by who is joined to whom.
        fine: (N, D) by who is joined by what; the embedding of a node.
    """

    coarse: Tensor
    fine: Tensor


class MetaPathGCN(nn.Module):
    """Two layers `Z = A Drop(PReLU(A Drop(x W₁)) W₂)`, scaled to mean 0 and variance 1 over all entries of Z.

    Args:
        inputs: width of x.
        width: of Z and of the hidden layer.
        dropout: of both products.

    Example:
        >>> MetaPathGCN(3, 4)(torch.rand(5, 3), torch.eye(5)).shape
        torch.Size([5, 4])
    """

    def __init__(self, inputs: int, width: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        bound = width**-0.5
        self.first = nn.Parameter(torch.empty(inputs, width).uniform_(-bound, bound))
        self.second = nn.Parameter(torch.empty(width, width).uniform_(-bound, bound))
        self.activation, self.dropout = nn.PReLU(), nn.Dropout(dropout)

    def forward(self, x: Float[Tensor, "n f"], adjacency: Tensor) -> Float[Tensor, "n d"]:
        """Embed nodes: attributes (N, F) and a normalised adjacency (N, N), dense or sparse, to (N, D)."""
        hidden = self.activation(adjacency @ self.dropout(x @ self.first))
        found = adjacency @ self.dropout(hidden @ self.second)
        return F.layer_norm(found, found.shape)


class SemanticAttention(nn.Module):
    """Weigh views: `e_m = a · mean_i tanh(W Z_m[i] + b)`, `z = Σ_m softmax(e)_m Z_m`.

    Wang et al.: *Heterogeneous Graph Attention Network* (WWW 2019).

    Args:
        width: of the embeddings.
        dropout: of a.

    Example:
        >>> SemanticAttention(4)(torch.rand(3, 5, 4)).shape
        torch.Size([5, 4])
    """

    def __init__(self, width: int, *, dropout: float = 0.0) -> None:
        super().__init__()
        self.vector, self.layer = nn.Parameter(torch.empty(1, width)), nn.Linear(width, width)
        nn.init.xavier_normal_(self.vector, gain=1.414)
        nn.init.xavier_normal_(self.layer.weight, gain=1.414)
        self.dropout = nn.Dropout(dropout)

    def forward(self, views: Float[Tensor, "m n d"]) -> Float[Tensor, "n d"]:
        """Fuse views (M, N, D)."""
        scores = torch.tanh(self.layer(views)).mean(dim=1) @ self.dropout(self.vector)[0]
        return (scores.softmax(dim=0)[:, None, None] * views).sum(dim=0)


class MetaPathEncoder(nn.Module):
    """A coarse view (who is joined) and a fine one (who is joined by what) of the target nodes.

        h_k = ELU(Drop(W_k x_k + b_k)) of every kind       f_s = ELU(h + Σ_places Drop(U mean of h_k reached))
        coarse = GCN(h, mean of A_s)                       fine = attention over GCN(f_s, A_s) and their masked twins

    Args:
        attribute_widths: F_k of each kind of nodes, the target kind first.
        contexts: of each meta-path, the kinds at its inner places.
        hidden: width of h and f.
        width: of the embeddings.
        dropout: of all layers and of the attention's vector.

    Raises:
        InputError: there is no meta-path, or a width is below 1.

    Example:
        >>> MetaPathEncoder([6, 5], [[1]], hidden=4, width=3).width
        3
    """

    def __init__(
        self,
        attribute_widths: Sequence[int],
        contexts: Sequence[Sequence[int]],
        *,
        hidden: int = 64,
        width: int = 64,
        dropout: float = 0.2,
    ) -> None:
        super().__init__()
        for name, value in (("hidden", hidden), ("width", width), ("attribute_widths", min(attribute_widths))):
            check_at_least(value, 1, name)
        if not contexts or not all(contexts):
            raise InputError("there are no meta-paths: name one or more, e.g. paper-author-paper.")
        if not 0 <= dropout < 1:
            raise InputError(f"dropout is {dropout}: expected a share from 0 to below 1.")
        self.kinds = nn.ModuleList(nn.Linear(inputs, hidden) for inputs in attribute_widths)
        self.contexts = nn.ModuleList(
            nn.ModuleList(nn.Linear(hidden, hidden, bias=False) for _ in places) for places in contexts
        )
        self.gcn = MetaPathGCN(hidden, width, dropout=dropout)
        self.attention = SemanticAttention(width, dropout=dropout)
        self.dropout, self.width = nn.Dropout(dropout), width

    def project(self, views: MetaPathViews) -> tuple[list[Tensor], Tensor]:
        """Return h of every kind, and that of the masked attributes of the target kind."""
        # Attributes may be sparse, which nn.Linear does not take.
        every = [
            F.elu(self.dropout(x @ layer.weight.T + layer.bias))
            for x, layer in zip(views.attributes, cast(Sequence[nn.Linear], self.kinds), strict=True)
        ]
        return every, F.elu(self.dropout(self.kinds[0](views.masked)))

    def in_context(self, views: MetaPathViews, kinds: list[Tensor], masked: Tensor) -> list[tuple[Tensor, Tensor]]:
        """Return f and its masked twin of every meta-path."""
        found = []
        for layers, places in zip(self.contexts, views.contexts, strict=True):
            met = torch.zeros_like(kinds[0])
            for layer, (kind, reached) in zip(cast(nn.ModuleList, layers), places, strict=True):
                met = met + self.dropout(layer(reached @ kinds[kind]))
            found.append((F.elu(kinds[0] + met), F.elu(masked + met)))
        return found

    def forward(self, views: MetaPathViews) -> Embedded:
        """Embed the target nodes, (N, D) each."""
        kinds, masked = self.project(views)
        plain, twins = zip(*self.in_context(views, kinds, masked), strict=True)
        inputs = zip(plain, views.adjacency, twins, views.adjacency_masked, strict=True)
        fine = [
            unit_rows(self.gcn(*each)) for x, matrix, twin, sparser in inputs for each in ((x, matrix), (twin, sparser))
        ]
        return Embedded(self.gcn(kinds[0], views.coarse), self.attention(torch.stack(fine)))


class AdaptiveNegativeWeight(nn.Module):
    """AdaMEOW's weight of a pair, `w_ij = sigmoid(V₂ tanh(V₁ (v_i + u_j) + b₁) + b₂)`.

    `V₁ v_i` and `V₁ u_j` are computed once each. Nothing keeps all weights from shrinking together, by which the loss
    falls: watch their mean.

    Args:
        width: of the vectors.
        hidden: of the network.

    Example:
        >>> weight = AdaptiveNegativeWeight(4)(torch.rand(3, 4), torch.rand(5, 4))
        >>> weight.shape, bool(((weight > 0) & (weight < 1)).all())
        (torch.Size([3, 5]), True)
    """

    def __init__(self, width: int, hidden: int = 16) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(width, hidden), nn.Linear(hidden, 1)

    def logits(self, v: Float[Tensor, "n d"], u: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
        """Return the weights (N, M) before the sigmoid."""
        left, right = F.linear(v, self.first.weight, self.first.bias), F.linear(u, self.first.weight)
        return self.second(torch.tanh(left[:, None] + right[None]))[..., 0]

    def forward(self, v: Float[Tensor, "n d"], u: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
        """Return the weights (N, M) of vectors (N, D) and (M, D)."""
        return torch.sigmoid(self.logits(v, u))

    def contrast(
        self,
        v: Float[Tensor, "n d"],
        u: Float[Tensor, "m d"],
        *,
        temperature: float,
        own: Tensor | None = None,
        reduction: Reduction = "mean",
    ) -> Tensor:
        """Compute `weighted_info_nce_loss(v, u, self(v, u))` of unit rows in tiles, so that memory grows with N."""
        if own is None:
            own = torch.arange(len(v), device=v.device)

        def log_weight(rows: Tensor) -> Tensor:
            return F.logsigmoid(self.logits(v[rows], u))

        options: dict[str, Any] = {"temperature": temperature, "own": own, "reduction": reduction}
        return contrast_in_tiles(v, u, log_weight, **options)
