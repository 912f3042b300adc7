"""How many directions the embeddings use."""

import torch
from jaxtyping import Float
from torch import Tensor

from dipole.losses.common import accumulate, entropy_terms, unit_rows
from dipole.ops.checks import check_embeddings
from dipole.ops.door import public


@public
def effective_rank(x: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Compute the exponential of the entropy of the singular values: `exp(−Σ_k p_k log p_k)`, `p_k = σ_k / Σ σ`.

    It is min(N, D) when all directions are used alike, and 1 when every embedding is a multiple of one vector
    (dimensional collapse). The embeddings are used as they are: neither centred nor normalised.

    Source: Roy, Vetterli, *The effective rank* (EUSIPCO 2007); Garrido, Balestriero, Najman, LeCun, *RankMe* (ICML
    2023), eq. 1, whose ε = 1e-7 against log 0 is not needed with 0 · log 0 = 0.

    Args:
        x: (N, D) embeddings.

    Returns:
        A scalar between 1 and min(N, D).

    Raises:
        InputError: a value is not finite, or x is not a matrix.

    Example:
        >>> effective_rank(torch.eye(4))
        tensor(4.)
        >>> effective_rank(torch.ones(8, 4))
        tensor(1.0000)
    """
    check_embeddings(x=x)
    x = accumulate(x)
    peak = x.detach().abs().amax()  # squares of the rows as they are could vanish or overflow
    singular = torch.linalg.svdvals(x / torch.where(peak > 0, peak, 1))
    share = singular / singular.sum().clamp_min(torch.finfo(singular.dtype).tiny)
    return entropy_terms(share).sum().exp()


@public
def spread(z: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Compute the mean deviation of the features of unit rows times √D: 0 if all are alike, near 1 if isotropic.

    Source: Chen and He, *Exploring Simple Siamese Representation Learning* (CVPR 2021), section 4.1, where it tells
    collapse.

    Args:
        z: (N, D) embeddings; no gradient is recorded.

    Returns:
        A scalar.

    Raises:
        InputError: a value is not finite, or z is not a matrix.

    Example:
        >>> spread(torch.ones(4, 2))
        tensor(0.)
    """
    check_embeddings(z=z)
    return unit_rows(z.detach()).std(dim=0, correction=0).mean() * z.shape[1] ** 0.5
