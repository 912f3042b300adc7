"""Feature transformation: positives that are extrapolated, negatives that are interpolated.

Zhu, Zhao, Liu, Sun, Chen: *Improving Contrastive Learning by Visualizing Feature Transformation* (ICCV 2021).
"""

from typing import Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import Reduction, unit_rows
from dipole.losses.info_nce import info_nce_loss
from dipole.ops.checks import check_choice, check_embeddings, check_same_rows, check_temperature
from dipole.ops.door import public

Target = Literal["posneg", "pos", "neg"]
Granularity = Literal["scalar", "dimension", "pos", "neg"]


class TransformDraws(NamedTuple):
    """What a transformation draws; None for the side that stays as it is."""

    extrapolation: Tensor | float | None  # λ_ex, a number or (N, D)
    interpolation: Tensor | float | None  # λ_in, a number or (M, D)
    permutation: Int[Tensor, "m"] | None


@public
def sample_mixing_coefficients(
    alpha: float, shape: tuple[int, ...] = (), *, offset: float = 0.0, generator: torch.Generator | None = None
) -> Float[Tensor, "*shape"]:
    """Draw λ ~ Beta(α, α) + offset.

    Args:
        alpha: α > 0.
        shape: of the result; one number by default.
        offset: 1 for extrapolation.
        generator: of random numbers.

    Raises:
        InputError: α is not positive.

    Example:
        >>> bool(1 < sample_mixing_coefficients(2.0, offset=1.0) < 2)
        True
    """
    check_temperature(alpha, "alpha")
    # torch draws no Beta variates from a generator.
    device = "cpu" if generator is None else generator.device
    seed = int(torch.randint(2**62, (), generator=generator, device=device))
    drawn = np.random.default_rng(seed).beta(alpha, alpha, shape)
    return torch.as_tensor(drawn, dtype=torch.get_default_dtype()) + offset


@public
def extrapolate_positives(
    queries: Float[Tensor, "n d"], keys: Float[Tensor, "n d"], coefficient: float | Tensor
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
    """Move query and key apart along the line between them:

        q̂ = λ q + (1 − λ) k,    k̂ = λ k + (1 − λ) q

    For unit rows and one λ their score becomes `Ŝ = 2λ(1 − λ) + (λ² + (1 − λ)²) S`, at most S if λ ≥ 1. Both contain
    the query, so that the positive score sends it gradient twice.

    Zhu et al.: *Improving Contrastive Learning by Visualizing Feature Transformation* (ICCV 2021).

    Args:
        queries: (N, D).
        keys: (N, D).
        coefficient: λ, from 1 to 2 to extrapolate; a number, or (N, D) for a λ of each dimension.

    Returns:
        q̂ and k̂, not normalised.

    Raises:
        InputError: shapes differ or a value is not finite.

    Example:
        >>> q, k = extrapolate_positives(torch.eye(2)[:1], torch.eye(2)[1:], 1.5)
        >>> q, k
        (tensor([[ 1.5000, -0.5000]]), tensor([[-0.5000,  1.5000]]))
    """
    check_same_rows(queries=queries, keys=keys)
    return coefficient * queries + (1 - coefficient) * keys, coefficient * keys + (1 - coefficient) * queries


@public
def interpolate_negatives(
    negatives: Float[Tensor, "m d"], coefficient: float | Tensor, permutation: Int[Tensor, "m"]
) -> Float[Tensor, "m d"]:
    """Mix every negative with another one: `n̂_j = λ n_j + (1 − λ) n_π(j)`.

    Zhu et al.: *Improving Contrastive Learning by Visualizing Feature Transformation* (ICCV 2021).

    Args:
        negatives: (M, D), for example a queue.
        coefficient: λ, from 0 to 1; a number, or (M, D) for a λ of each dimension.
        permutation: π, (M,).

    Returns:
        (M, D), not normalised.

    Raises:
        InputError: a value is not finite, or the permutation has another length.

    Example:
        >>> interpolate_negatives(torch.eye(2), 0.75, torch.tensor([1, 0]))
        tensor([[0.7500, 0.2500],
                [0.2500, 0.7500]])
    """
    check_embeddings(negatives=negatives)
    if permutation.shape != (len(negatives),):
        raise InputError(f"the permutation has shape {tuple(permutation.shape)}: expected ({len(negatives)},).")
    return coefficient * negatives + (1 - coefficient) * negatives[permutation]


@public
def draw_transform(
    rows: int,
    bank: int,
    dim: int,
    *,
    target: Target = "posneg",
    pos_alpha: float = 2.0,
    neg_alpha: float = 1.6,
    granularity: Granularity = "scalar",
    generator: torch.Generator | None = None,
) -> TransformDraws:
    """Draw λ_ex ~ 1 + Beta(α_ex, α_ex), λ_in ~ Beta(α_in, α_in) and a permutation of the bank.

    Args:
        rows: N, queries.
        bank: M, negatives.
        dim: D.
        target: what is transformed.
        pos_alpha: α_ex.
        neg_alpha: α_in.
        granularity: one λ for all (`"scalar"`), one of each entry (`"dimension"`), or of each entry of the positives
            (`"pos"`) or negatives (`"neg"`) alone.
        generator: of random numbers.

    Raises:
        InputError: a choice or α that does not exist.

    Example:
        >>> draws = draw_transform(4, 8, 2, target="pos", granularity="dimension")
        >>> draws.extrapolation.shape, draws.permutation
        (torch.Size([4, 2]), None)
    """
    check_choice(target, ("posneg", "pos", "neg"), "target")
    check_choice(granularity, ("scalar", "dimension", "pos", "neg"), "granularity")
    of_positives = (rows, dim) if granularity in ("dimension", "pos") else ()
    of_negatives = (bank, dim) if granularity in ("dimension", "neg") else ()
    extrapolation = interpolation = permutation = None
    if target != "neg":
        extrapolation = sample_mixing_coefficients(pos_alpha, of_positives, offset=1.0, generator=generator)
    if target != "pos":
        interpolation = sample_mixing_coefficients(neg_alpha, of_negatives, generator=generator)
        device = "cpu" if generator is None else generator.device
        permutation = torch.randperm(bank, generator=generator, device=device)
    return TransformDraws(extrapolation, interpolation, permutation)


class Transformed(NamedTuple):
    """Queries, keys and negatives as the loss sees them."""

    queries: Float[Tensor, "n d"]
    keys: Float[Tensor, "n d"]
    negatives: Float[Tensor, "m d"]


@public
def transform_features(
    queries: Float[Tensor, "n d"],
    keys: Float[Tensor, "n d"],
    negatives: Float[Tensor, "m d"],
    draws: TransformDraws,
    *,
    post_norm: bool = False,
    normalize: bool = True,
) -> Transformed:
    """Extrapolate positives and interpolate negatives, whichever has been drawn for.

    Args:
        queries: (N, D).
        keys: (N, D).
        negatives: (M, D).
        draws: see `draw_transform`.
        post_norm: scale transformed queries and keys to length 1, but not the negatives, as the authors' code does.
        normalize: False if all rows are of unit length already.

    Returns:
        Rows of other lengths than 1, unless `post_norm`.

    Raises:
        InputError: shapes do not fit or a value is not finite.

    Example:
        >>> draws = TransformDraws(1.5, None, None)
        >>> transform_features(torch.eye(2)[:1], torch.eye(2)[1:], torch.eye(2), draws).queries
        tensor([[ 1.5000, -0.5000]])
    """
    check_same_rows(queries=queries, keys=keys)
    check_embeddings(queries=queries, negatives=negatives)
    queries, keys = unit_rows(queries, normalize), unit_rows(keys, normalize)
    negatives = unit_rows(negatives, normalize)
    if draws.extrapolation is not None:
        queries, keys = extrapolate_positives(queries, keys, _like(draws.extrapolation, queries))
        queries, keys = unit_rows(queries, post_norm), unit_rows(keys, post_norm)
    if draws.interpolation is not None and draws.permutation is not None:
        permutation = draws.permutation.to(negatives.device, non_blocking=True)
        negatives = interpolate_negatives(negatives, _like(draws.interpolation, negatives), permutation)
    return Transformed(queries, keys, negatives)


def _like(coefficient: Tensor | float, rows: Tensor) -> Tensor | float:
    """The coefficient on the device and in the precision of what it multiplies."""
    return coefficient.to(rows, non_blocking=True) if isinstance(coefficient, Tensor) else coefficient


@public
def feature_transform_loss(
    queries: Float[Tensor, "n d"],
    keys: Float[Tensor, "n d"],
    negatives: Float[Tensor, "m d"],
    *,
    temperature: float | Float[Tensor, ""] = 0.2,
    target: Target = "posneg",
    pos_alpha: float = 2.0,
    neg_alpha: float = 1.6,
    granularity: Granularity = "scalar",
    post_norm: bool = False,
    normalize: bool = True,
    draws: TransformDraws | None = None,
    generator: torch.Generator | None = None,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Compute InfoNCE of extrapolated positives against interpolated negatives:

        ℓ_i = −log( exp(⟨q̂_i, k̂_i⟩ / τ) / ( exp(⟨q̂_i, k̂_i⟩ / τ) + Σ_j exp(⟨q̂_i, n̂_j⟩ / τ) ) )

    with q̂, k̂ of `extrapolate_positives` and n̂ of `interpolate_negatives`. Positives become harder, and negatives others
    at every step.

    Conventions: rows are normalised here, before they are transformed, and not after it unless `post_norm`; one
    direction; mean over the N queries. Negatives are scored with q̂. Keys and negatives come without gradient from a
    momentum encoder and a queue; k̂ contains the query and passes gradient to it.

    Zhu, Zhao, Liu, Sun, Chen: *Improving Contrastive Learning by Visualizing Feature Transformation* (ICCV 2021).

    Args:
        queries: (N, D).
        keys: (N, D); row i is the positive of query i.
        negatives: (M, D), for example a queue.
        temperature: τ > 0.
        target: `"posneg"`, or `"pos"` or `"neg"` to transform one side alone.
        pos_alpha: α of the positives' λ.
        neg_alpha: α of the negatives' λ.
        granularity: see `draw_transform`.
        post_norm: scale q̂ and k̂ to length 1.
        normalize: False if all rows are of unit length already.
        draws: in place of random ones, which make `target`, α and `granularity` superfluous.
        generator: of random numbers.
        reduction: over the queries.

    Returns:
        The loss, or (N,) values.

    Raises:
        InputError: shapes differ, a value is not finite, the temperature or an α is not positive, or a choice does not
            exist.

    Example:
        >>> draws = TransformDraws(1.5, 0.5, torch.tensor([1, 0]))
        >>> rows = torch.eye(4)
        >>> feature_transform_loss(rows[:2], rows[:2], rows[2:], temperature=1.0, draws=draws)  # log(e + 2) − 1
        tensor(0.5514)
    """
    check_same_rows(queries=queries, keys=keys)
    check_temperature(temperature)
    if draws is None:
        draws = draw_transform(
            len(queries),
            len(negatives),
            queries.shape[1],
            target=target,
            pos_alpha=pos_alpha,
            neg_alpha=neg_alpha,
            granularity=granularity,
            generator=generator,
        )
    transformed = transform_features(queries, keys, negatives, draws, post_norm=post_norm, normalize=normalize)
    return info_nce_loss(*transformed, temperature=temperature, normalize=False, reduction=reduction)
