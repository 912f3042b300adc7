"""A temperature for each pair, learned."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.ops.checks import check_at_least, check_choice


class PairTemperature(nn.Module):
    """Predict `τ_ij = lower + (upper − lower) · σ(u_ij)` of ordered pairs of embeddings.

    `form="concat"`: `u_ij = w · ReLU(W_a z_i + W_b z_j + b)`, a small network on both embeddings, shared by all heads.
    `form="dot"`: `u_ij = φ(z_i) · φ(z_j)` with φ one linear layer.

    Wang et al.: *Adaptive Multi-head Contrastive Learning* (ECCV 2024).

    Args:
        dim: D, dimensions of an embedding.
        hidden: features of the network.
        lower: smallest temperature; the authors' 1e-5 lets 1/τ grow to 1e5.
        upper: largest temperature.
        form: `"concat"` or `"dot"`.

    Raises:
        InputError: a size below 1, or not 0 < lower < upper.

    Example:
        >>> network = PairTemperature(4)
        >>> network(torch.zeros(3, 5, 4), torch.zeros(3, 6, 4)).shape
        torch.Size([3, 5, 6])
    """

    def __init__(
        self,
        dim: int,
        hidden: int = 128,
        lower: float = 0.05,
        upper: float = 2.0,
        form: Literal["concat", "dot"] = "concat",
    ) -> None:
        super().__init__()
        check_at_least(dim, 1, "dim")
        check_at_least(hidden, 1, "hidden")
        check_choice(form, ("concat", "dot"), "form")
        if not 0 < lower < upper:
            raise InputError(f"temperatures from {lower} to {upper}: expected 0 < lower < upper.")
        self.lower, self.upper, self.form = lower, upper, form
        if form == "concat":
            self.first, self.second = nn.Linear(2 * dim, hidden), nn.Linear(hidden, 1)
        else:
            self.first = nn.Linear(dim, hidden)

    def forward(self, queries: Float[Tensor, "*heads n d"], keys: Float[Tensor, "*heads m d"]) -> Tensor:
        """Return τ (…, N, M) of all pairs. The hidden features of a pair take N · M · hidden numbers."""
        if self.form == "dot":
            return self._bounded(self.first(queries) @ self.first(keys).mT)
        left, right = self._halves(queries, keys)
        hidden = (left[..., :, None, :] + right[..., None, :, :]).relu_()
        return self._bounded(self.second(hidden)[..., 0])

    def pairs(self, first: Float[Tensor, "*rows d"], second: Float[Tensor, "*rows d"]) -> Float[Tensor, "*rows"]:
        """Return τ (…,) of the pairs of rows in the same place."""
        if self.form == "dot":
            return self._bounded((self.first(first) * self.first(second)).sum(dim=-1))
        left, right = self._halves(first, second)
        return self._bounded(self.second((left + right).relu())[..., 0])

    def _halves(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """The first layer, applied to either embedding alone; their sum is what it gives of both."""
        of_first, of_second = self.first.weight.chunk(2, dim=1)
        return nn.functional.linear(first, of_first, self.first.bias), nn.functional.linear(second, of_second)

    def _bounded(self, values: Tensor) -> Tensor:
        """A number between the bounds."""
        return self.lower + (self.upper - self.lower) * values.sigmoid()


class MultiHeadProjector(nn.Module):
    """Projection heads of one shape with weights of their own, their outputs side by side.

    Each is linear, ReLU, linear, without batch normalisation, as in AMCL's code.

    Args:
        width: input features.
        out: D, dimensions of a head.
        heads: C.
        hidden: features of the hidden layer; the width if it is None.

    Example:
        >>> MultiHeadProjector(8, 4, heads=3)(torch.zeros(2, 8)).shape
        torch.Size([2, 12])
    """

    def __init__(self, width: int, out: int, heads: int = 3, hidden: int | None = None) -> None:
        super().__init__()
        check_at_least(heads, 1, "heads")
        check_at_least(out, 1, "out")
        size = hidden or width
        self.heads = nn.ModuleList(
            nn.Sequential(nn.Linear(width, size), nn.ReLU(inplace=True), nn.Linear(size, out)) for _ in range(heads)
        )

    def forward(self, features: Float[Tensor, "n f"]) -> Float[Tensor, "n cd"]:
        """Return (N, C · D)."""
        return torch.cat([head(features) for head in self.heads], dim=1)


def by_head(z: Float[Tensor, "*v n cd"], heads: int) -> Float[Tensor, "*v c n d"]:
    """Return the embeddings of each head, (…, C, N, D), of outputs side by side.

    Example:
        >>> by_head(torch.zeros(2, 5, 12), 3).shape
        torch.Size([2, 3, 5, 4])
    """
    return z.unflatten(-1, (heads, -1)).transpose(-3, -2)
