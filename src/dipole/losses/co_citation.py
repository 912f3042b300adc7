"""Losses of the co-citation experts: targets by similarity within both sides, and what routers are trained by."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import inner_products, unit_rows
from dipole.losses.info_nce import check_has_negatives
from dipole.ops.checks import check_same_rows, check_temperature
from dipole.ops.door import looking, public


class SimilarityTargets(NamedTuple):
    """The target of each row and each column of the logits, (N,)."""

    rows: Tensor
    columns: Tensor


@public
def similarity_targets(
    a: Float[Tensor, "n d"],
    b: Float[Tensor, "n d"],
    *,
    temperature: float | Float[Tensor, ""] = 1.0,
    normalize: bool = False,
) -> SimilarityTargets:
    """Find which pair is the target of which, by the similarities within both sides.

    With S = softmax of the rows of (A Aᵀ + B Bᵀ) · τ / 2 the target of row i is `argmax_j S_ij`, that of column j is
    `argmax_i S_ij`. Rows that are not of unit length may have another one than themselves.

    Args:
        a: (N, D).
        b: (N, D); row i belongs to row i of `a`.
        temperature: τ; it multiplies, as in the authors' code.
        normalize: scale rows to length 1 first.

    Returns:
        Targets of rows and of columns, without gradient.

    Raises:
        InputError: shapes differ or a value is not finite.

    Example:
        >>> a = torch.tensor([[1.0, 0.0], [3.0, 1.0]])
        >>> similarity_targets(a, a).rows  # the first row is closer to the long second one than to itself
        tensor([1, 1])
    """
    check_same_rows(a=a, b=b)
    check_temperature(temperature)
    with torch.no_grad():
        a, b = unit_rows(a, normalize), unit_rows(b, normalize)
        share = ((inner_products(a, a) + inner_products(b, b)) / 2 * temperature).softmax(dim=1)
    return SimilarityTargets(share.argmax(dim=1), share.argmax(dim=0))


@public
def mnr_plus_loss(
    a: Float[Tensor, "n d"],
    b: Float[Tensor, "n d"],
    *,
    temperature: float | Float[Tensor, ""] = 1.0,
    normalize: bool = False,
) -> Float[Tensor, ""]:
    """Compute the cross entropy of both directions with targets that similarities within both sides choose:

        ℓ = ½ [ CE(A Bᵀ / τ, rows) + CE(B Aᵀ / τ, columns) ],    rows, columns = similarity_targets(A, B)

    With the diagonal as targets and cosines it is `clip_loss`; `info_nce_loss` is its one direction, which the paper
    names multiple negatives ranking.

    Conventions: rows are **not** normalised here unless `normalize`; mean of the directions and of the N pairs; the
    targets are constants for the gradient. The N×N similarities are stored.

    Hallee, Kapur, Patel, Gleghorn, Khomtchouk: *Contrastive Learning and Mixture of Experts Enables Precise Vector
    Embeddings* (2024); authors' code, `mnr_plus` (τ = 1) and the earlier `clip_loss` (τ = 0.7).

    Args:
        a: (N, D).
        b: (N, D); row i belongs to row i of `a`.
        temperature: τ > 0.
        normalize: compare cosines.

    Returns:
        The loss.

    Raises:
        InputError: shapes differ, a value is not finite, the temperature is not positive, or N = 1.

    Example:
        >>> z = torch.eye(4)
        >>> mnr_plus_loss(z, z)  # log(e + 3) − 1
        tensor(0.7437)
    """
    targets = similarity_targets(a, b, temperature=temperature, normalize=normalize)
    check_has_negatives(len(a))
    logits = inner_products(unit_rows(a, normalize), unit_rows(b, normalize)) / temperature
    return (F.cross_entropy(logits, targets.rows) + F.cross_entropy(logits.T, targets.columns)) / 2


@public
def domain_router_loss(router_logits: Float[Tensor, "l n e"], domains: Int64[Tensor, "n"]) -> Float[Tensor, ""]:
    """Compute the cross entropy of the routers' mean logits and the domains: every domain shall have its own expert.

        ℓ = CE( 1/L Σ_l r_l , domain )

    Args:
        router_logits: (L, N, E) r of every layer.
        domains: (N,), the expert that each text belongs to.

    Returns:
        The loss, mean over the N texts.

    Raises:
        InputError: shapes differ, a value is not finite, or a domain has no expert.

    Example:
        >>> domain_router_loss(torch.zeros(2, 3, 4), torch.tensor([0, 1, 2]))  # log 4
        tensor(1.3863)
    """
    _check_router(router_logits)
    if domains.shape != router_logits.shape[1:2] or (
        looking() and bool(((domains < 0) | (domains >= router_logits.shape[2])).any())
    ):
        raise InputError(
            f"domains are {tuple(domains.shape)}: expected {router_logits.shape[1]} numbers from 0 to "
            f"{router_logits.shape[2] - 1}, an expert for each text."
        )
    return F.cross_entropy(unit_rows(router_logits, False).mean(dim=0), domains)


@public
def load_balancing_loss(router_logits: Float[Tensor, "l n e"]) -> Float[Tensor, ""]:
    """Compute `E · Σ_e p̄_e f_e`: least, 1, where experts are used equally often.

    p̄_e is the mean probability of expert e and f_e the share of the L·N decisions that fall on it, a constant for the
    gradient.

    Fedus, Zoph, Shazeer: *Switch Transformers* (JMLR 2022), eq. 4.

    Args:
        router_logits: (L, N, E) of every layer.

    Returns:
        The loss.

    Raises:
        InputError: another shape, or a value is not finite.

    Example:
        >>> load_balancing_loss(torch.eye(2)[None])  # each of two texts has its own expert
        tensor(1.)
    """
    _check_router(router_logits)
    logits = unit_rows(router_logits, False).flatten(0, 1)
    experts = logits.shape[1]
    chosen = (logits.argmax(dim=1)[:, None] == torch.arange(experts, device=logits.device)).to(logits.dtype).mean(dim=0)
    return experts * (logits.softmax(dim=1).mean(dim=0) * chosen).sum()


def _check_router(router_logits: Tensor) -> None:
    """Require finite logits of layers, texts and experts."""
    if router_logits.ndim != 3 or not router_logits.numel() or not router_logits.is_floating_point():
        raise InputError(
            f"router_logits are {str(router_logits.dtype).removeprefix('torch.')} {tuple(router_logits.shape)}: "
            "expected floating point (layers, texts, experts)."
        )
    if looking() and not bool(router_logits.isfinite().all()):
        raise InputError("router_logits contains NaN or infinite values: look at the encoder's output.")
