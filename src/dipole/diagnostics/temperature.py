"""How the contrastive loss distributes its penalty over the negatives, and what the temperature does to it.

Wang, Liu: *Understanding the Behaviour of Contrastive Loss* (CVPR 2021). Throughout, `s` is a similarity matrix (N, N)
with the positives on the diagonal, `s_neg` (N, M) holds negatives only, and the loss of anchor i is
`L_i = −log P_ii`, `P_ij = exp(s_ij/τ) / Σ_k exp(s_ik/τ)`, the positive included in the denominator.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import accumulate, entropy_terms
from dipole.ops.checks import check_temperature
from dipole.ops.door import public


@public
def penalties(s: Float[Tensor, "n n"], temperature: float) -> Float[Tensor, "n n"]:
    """Compute `P_ij = exp(s_ij/τ) / Σ_k exp(s_ik/τ)`, the share of pair (i, j) in the denominator.

    Args:
        s: (N, N) similarities, positives on the diagonal.
        temperature: τ > 0.

    Returns:
        (N, N), rows sum to 1.

    Raises:
        InputError: `s` is not square or not finite, or the temperature is not positive.

    Example:
        >>> penalties(torch.zeros(2, 2), temperature=0.5)
        tensor([[0.5000, 0.5000],
                [0.5000, 0.5000]])
    """
    _check_square(s)
    check_temperature(temperature)
    return (accumulate(s) / temperature).softmax(dim=1)


@public
def loss_gradients(s: Float[Tensor, "n n"], temperature: float) -> Float[Tensor, "n n"]:
    """Compute the gradient of `Σ_i L_i` by the similarities in closed form (eqs. 3, 4).

        ∂L_i/∂s_ii = −(1/τ) Σ_{k≠i} P_ik,   ∂L_i/∂s_ij = P_ij / τ

    so that in every row the penalties of the negatives add up to the pull on the positive.

    Args:
        s: (N, N) similarities, positives on the diagonal.
        temperature: τ > 0.

    Returns:
        (N, N), rows sum to 0.

    Raises:
        InputError: `s` is not square or not finite, or the temperature is not positive.

    Example:
        >>> loss_gradients(torch.zeros(2, 2), temperature=0.5)
        tensor([[-1.,  1.],
                [ 1., -1.]])
    """
    repulsion = (penalties(s, temperature) / temperature).fill_diagonal_(0)
    # The sum of the negatives, not (1 − P_ii) / τ, which cancels where the positive dominates.
    return repulsion - torch.diag(repulsion.sum(dim=1))


@public
def relative_penalty(
    s_neg: Float[Tensor, "n m"], temperature: float, keep: Bool[Tensor, "n m"] | None = None
) -> Float[Tensor, "n m"]:
    """Compute `r_i(s_ij) = exp(s_ij/τ) / Σ_{k≠i} exp(s_ik/τ)`, how one negative's penalty compares with all.

    A Boltzmann distribution over the negatives; the positive has no part in it. For a square matrix with the positives
    on the diagonal pass `keep = ~torch.eye(n, dtype=torch.bool)`; for the hard loss the mask of
    `dipole.losses.hardest_negatives`.

    Args:
        s_neg: (N, M) similarities with the negatives; M may be 0.
        temperature: τ > 0.
        keep: (N, M), False where the pair is no negative; its penalty is 0.

    Returns:
        (N, M), rows sum to 1, or to 0 where there are no negatives.

    Raises:
        InputError: a similarity is not finite, shapes differ, or the temperature is not positive.

    Example:
        >>> relative_penalty(torch.tensor([[0.0, 0.0, 0.9]]), 0.5, torch.tensor([[True, True, False]]))
        tensor([[0.5000, 0.5000, 0.0000]])
    """
    _check_similarities(s_neg, "s_neg")
    check_temperature(temperature)
    logits = accumulate(s_neg) / temperature
    if keep is None:
        return logits.softmax(dim=1)
    if keep.shape != s_neg.shape:
        raise InputError(f"keep has shape {tuple(keep.shape)} and s_neg {tuple(s_neg.shape)}: one entry for each pair.")
    # The lowest finite number, not −∞, so that a row without negatives stays free of NaN.
    shares = logits.masked_fill(~keep, torch.finfo(logits.dtype).min).softmax(dim=1)
    return shares.masked_fill(~keep, 0)


@public
def penalty_entropy(r: Float[Tensor, "n m"]) -> Float[Tensor, "n"]:
    """Compute the entropy `H(r_i) = −Σ_j r_ij log r_ij` in nats; it grows strictly with the temperature.

    `exp(H)` is the number of negatives that are effectively penalised.

    Args:
        r: (N, M) relative penalties, from `relative_penalty`.

    Returns:
        (N,), between 0 and log M; 0 without negatives.

    Raises:
        InputError: a penalty is negative or not finite.

    Example:
        >>> penalty_entropy(torch.full((1, 4), 0.25))  # log 4
        tensor([1.3863])
    """
    _check_similarities(r, "r")
    if bool((r < 0).any()):
        raise InputError("r contains negative values: pass shares from relative_penalty, not similarities.")
    return entropy_terms(accumulate(r)).sum(dim=1)


@public
def loss_at_zero_temperature(s: Float[Tensor, "n n"], temperature: float) -> Float[Tensor, "n"]:
    """Compute what the loss tends to as τ → 0⁺: `(1/τ) max(max_{k≠i} s_ik − s_ii, 0)`, a triplet loss without margin.

    Only the hardest negative counts.

    Args:
        s: (N, N) similarities, positives on the diagonal.
        temperature: τ > 0 at which the limit form is evaluated.

    Returns:
        (N,); 0 without negatives.

    Raises:
        InputError: `s` is not square or not finite, or the temperature is not positive.

    Example:
        >>> loss_at_zero_temperature(torch.tensor([[0.5, 0.7], [0.1, 0.9]]), temperature=0.1)
        tensor([2.0000, 0.0000])
    """
    _check_square(s)
    check_temperature(temperature)
    s = accumulate(s)
    # With the positive left in, the maximum of the differences is max(s_max − s_ii, 0).
    return (s.amax(dim=1) - s.diagonal()) / temperature


@public
def loss_at_infinite_temperature(s: Float[Tensor, "n n"], temperature: float) -> Float[Tensor, "n"]:
    """Compute what the loss tends to as τ → ∞: `−((N−1)/(Nτ)) s_ii + (1/(Nτ)) Σ_{k≠i} s_ik + log N`.

    All negatives count alike, as in the simple loss.

    Args:
        s: (N, N) similarities, positives on the diagonal.
        temperature: τ > 0 at which the limit form is evaluated.

    Returns:
        (N,).

    Raises:
        InputError: `s` is not square or not finite, or the temperature is not positive.

    Example:
        >>> loss_at_infinite_temperature(torch.zeros(2, 2), temperature=1.0)  # log 2
        tensor([0.6931, 0.6931])
    """
    _check_square(s)
    check_temperature(temperature)
    s = accumulate(s)
    return (s.mean(dim=1) - s.diagonal()) / temperature + math.log(len(s))


class PenaltyProfile(NamedTuple):
    """How any loss pulls its positives and pushes its negatives."""

    gradient: Float[Tensor, "n n"]  # of the sum of the loss by the similarities
    attraction: Float[Tensor, "n"]  # −∂L/∂s_ii
    repulsion: Float[Tensor, "n n"]  # ∂L/∂s_ij for j ≠ i, 0 on the diagonal
    relative: Float[Tensor, "n n"]  # |repulsion| as shares of each row; 0 in rows that repel nothing


@public
def penalty_of(loss_closure: Callable[[Tensor], Tensor], s: Float[Tensor, "n n"]) -> PenaltyProfile:
    """Differentiate any loss by the similarities, to see which negatives it penalises and how strongly.

    Args:
        loss_closure: from the similarities (N, N), positives on the diagonal, to a loss: a scalar, or values that are
            summed.
        s: (N, N) similarities at which to look.

    Returns:
        The gradient, split into attraction and repulsion; `penalty_entropy(profile.relative)` tells its spread.

    Raises:
        InputError: `s` is not square or not finite, or the loss does not depend on it.

    Example:
        >>> def margin(s):
        ...     return torch.relu(s - s.diagonal()[:, None] + 0.1).sum()
        >>> s = torch.tensor([[0.5, 0.45, 0.0], [0.0, 0.5, 0.1], [0.2, 0.3, 0.5]])
        >>> penalty_of(margin, s).repulsion
        tensor([[0., 1., 0.],
                [0., 0., 0.],
                [0., 0., 0.]])
    """
    _check_square(s)
    with torch.enable_grad():
        leaf = accumulate(s).detach().clone().requires_grad_()
        loss = loss_closure(leaf).sum()
    if not loss.requires_grad:
        raise InputError("the loss does not depend on the similarities: compute it from the closure's argument.")
    (gradient,) = torch.autograd.grad(loss, leaf, materialize_grads=True)
    repulsion = gradient.clone().fill_diagonal_(0)
    strength = repulsion.abs()
    relative = strength / strength.sum(dim=1, keepdim=True).clamp_min(torch.finfo(gradient.dtype).tiny)
    return PenaltyProfile(gradient, -gradient.diagonal(), repulsion, relative)


def _check_similarities(s: Tensor, name: str) -> None:
    """Require a finite floating-point matrix."""
    if s.ndim != 2 or not s.is_floating_point():
        raise InputError(f"{name} has shape {tuple(s.shape)} and type {s.dtype}: expected a floating-point matrix.")
    if not bool(s.isfinite().all()):
        raise InputError(f"{name} contains NaN or infinite values: normalise embeddings before multiplying them.")


def _check_square(s: Tensor) -> None:
    """Require a square matrix of similarities."""
    _check_similarities(s, "s")
    if s.shape[0] != s.shape[1] or len(s) == 0:
        raise InputError(f"s has shape {tuple(s.shape)}: expected (N, N) with the positives on the diagonal.")
