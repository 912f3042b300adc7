"""MCLRec: contrast of two histories and of the views that augmenters make of their embeddings."""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from dipole.losses.common import accumulate
from dipole.losses.info_nce import nt_xent_loss
from dipole.ops.checks import check_choice, check_same_rows, check_temperature
from dipole.ops.tiles import Tiles

Similarity = Literal["dot", "cosine"]
Scope = Literal["row", "batch"]
GAMMA = 0.1  # weight of the regulariser in the authors' code


def two_view_info_nce(
    z1: Float[Tensor, "n d"],
    z2: Float[Tensor, "n d"],
    *,
    temperature: float = 1.0,
    similarity: Similarity = "dot",
) -> Float[Tensor, ""]:
    """Compute NT-Xent, by default of inner products; 0 for a batch of one, which has no negatives.

    Args:
        z1: (N, D).
        z2: (N, D); row i belongs to the same sample as row i of `z1`.
        temperature: τ.
        similarity: `"dot"` or `"cosine"`.

    Raises:
        InputError: shapes differ, a value is not finite, or an argument is out of range.

    Example:
        >>> two_view_info_nce(torch.eye(2), torch.eye(2))  # log(e + 2) − 1
        tensor(0.5514)
    """
    check_choice(similarity, ("dot", "cosine"), "similarity")
    if len(z1) == 1:
        check_same_rows(z1=z1, z2=z2)
        return (z1.sum() + z2.sum()) * 0
    return nt_xent_loss(z1, z2, temperature=temperature, normalize=similarity == "cosine")


def contrastive_regularizer(
    a: Float[Tensor, "n d"], b: Float[Tensor, "n d"], *, temperature: float = 1.0, scope: Scope = "row"
) -> Float[Tensor, ""]:
    """Compute the regulariser that keeps views neither alike nor easy to tell apart.

    With the scores s = ⟨z_i, z_j⟩ / τ of the 2N rows, of positive pairs σ⁺ and of negative pairs σ⁻,

        R = mean [σ⁺ − o⁺]₊ + mean [o⁻ − σ⁻]₊,   o⁺ = min(min σ⁺, max σ⁻),   o⁻ = max(min σ⁺, max σ⁻)

    Nothing in the brackets is negative, and o⁻ − o⁺ = |min σ⁺ − max σ⁻|, so that this is

        R = mean σ⁺ − mean σ⁻ + |min σ⁺ − max σ⁻|

    `"row"` takes minimum and maximum for every row, which has one positive, and the mean over the rows, as the authors'
    code; `"batch"` takes them over all pairs, as the paper writes it. A batch of one has no negatives: 0.

    Qin et al.: *Meta-optimized Contrastive Learning for Sequential Recommendation* (SIGIR 2023), R.

    Args:
        a: (N, D).
        b: (N, D); row i belongs to the same sample as row i of `a`.
        temperature: τ.
        scope: `"row"` or `"batch"`.

    Raises:
        InputError: shapes differ, a value is not finite, or an argument is out of range.

    Example:
        >>> contrastive_regularizer(torch.eye(2), torch.eye(2))  # positives at 1, negatives at 0
        tensor(2.)
    """
    check_same_rows(a=a, b=b)
    check_temperature(temperature)
    check_choice(scope, ("row", "batch"), "scope")
    if len(a) == 1:
        return (a.sum() + b.sum()) * 0
    z = accumulate(torch.cat([a, b]))
    partner = z.roll(len(a), dims=0)
    positive = (z * partner).sum(dim=1)
    # Sums of scores need the sum of the rows, not a score for each pair.
    negative_mean = (z * (z.sum(dim=0) - z - partner)).sum(dim=1) / (len(z) - 2)
    hardest = (z * z[_hardest_negatives(z.detach())]).sum(dim=1)
    gap = (positive - hardest).abs().mean() if scope == "row" else (positive.min() - hardest.max()).abs()
    return (positive.mean() - negative_mean.mean() + gap) / temperature


class MCLRecTerms(NamedTuple):
    """The parts of the objective that compare views."""

    sequences: Tensor  # L_cl1 of the embeddings of two histories
    views: Tensor  # L_cl2 of these and their augmented views
    regularizer: Tensor  # R of the same pairs


def mclrec_terms(
    h1: Float[Tensor, "n d"],
    h2: Float[Tensor, "n d"],
    z1: Float[Tensor, "n d"],
    z2: Float[Tensor, "n d"],
    *,
    temperature: float = 1.0,
    similarity: Similarity = "dot",
    view_temperature: float = 1.0,
    scope: Scope = "row",
) -> MCLRecTerms:
    """Compute the three parts of MCLRec that compare views.

        L_cl1 = ℓ(h₁, h₂)      L_cl2 = ℓ(h₁, z₂) + ℓ(h₂, z₁) + ℓ(z₁, z₂)      R = R(h₁, z₂) + R(h₂, z₁) + R(z₁, z₂)

    with ℓ of `two_view_info_nce`, in L_cl2 always of inner products, and R of `contrastive_regularizer`.

    Args:
        h1: (N, D) embeddings of one view of every history.
        h2: (N, D) of the other.
        z1: (N, D) what the first augmenter makes of `h1`.
        z2: (N, D) what the second makes of `h2`.
        temperature: τ of L_cl1 and R.
        similarity: of L_cl1.
        view_temperature: τ of L_cl2.
        scope: of R.

    Raises:
        InputError: as the two losses.
    """
    pairs = ((h1, z2), (h2, z1), (z1, z2))
    return MCLRecTerms(
        two_view_info_nce(h1, h2, temperature=temperature, similarity=similarity),
        torch.stack([two_view_info_nce(a, b, temperature=view_temperature) for a, b in pairs]).sum(),
        torch.stack([contrastive_regularizer(a, b, temperature=temperature, scope=scope) for a, b in pairs]).sum(),
    )


@torch.no_grad()
def _hardest_negatives(z: Tensor) -> Tensor:
    """For each of 2N rows the row of another sample with the largest inner product, without a (2N, 2N) matrix."""
    own = torch.arange(len(z), device=z.device)
    exclude = torch.stack([own, own.roll(len(z) // 2)], dim=1)
    best = torch.full_like(z[:, 0], -torch.inf)
    index = torch.zeros_like(own)
    for rows, columns, scores in Tiles(z, z, z.new_ones(()), exclude, None):
        value, place = scores.max(dim=1)
        better = value > best[rows]
        best[rows] = torch.where(better, value, best[rows])
        index[rows] = torch.where(better, place + columns.start, index[rows])
    return index
