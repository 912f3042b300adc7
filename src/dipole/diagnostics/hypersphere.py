"""Alignment and uniformity of embeddings on the unit hypersphere.

Wang, Isola: *Understanding Contrastive Representation Learning through Alignment and Uniformity on the Hypersphere*
(ICML 2020); used by Wang, Liu: *Understanding the Behaviour of Contrastive Loss* (CVPR 2021).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from dipole.diagnostics.rows import check_two_samples
from dipole.errors import InputError
from dipole.losses.common import unit_rows
from dipole.ops import pairwise_logsumexp
from dipole.ops.checks import check_embeddings, check_same_rows
from dipole.ops.door import public


@public
def alignment(x: Float[Tensor, "n d"], y: Float[Tensor, "n d"], alpha: float = 2.0) -> Float[Tensor, ""]:
    """Compute how far apart the two views of a sample lie: `mean_i ‖x_i − y_i‖^α` (Wang–Isola, eq. 4).

    0 is perfect alignment; for α = 2 it equals 2 − 2 · mean cosine. Rows are normalised here.

    Args:
        x: (N, D) embeddings of one view.
        y: (N, D) embeddings of another view of the same samples.
        alpha: exponent of the distance, above 0.

    Returns:
        A scalar, differentiable.

    Raises:
        InputError: shapes differ, a value is not finite, or alpha is not positive.

    Example:
        >>> x = torch.tensor([[3.0, 0.0]])
        >>> alignment(x, -x)  # opposite points of the circle
        tensor(4.)
    """
    check_same_rows(x=x, y=y)
    if not (math.isfinite(alpha) and alpha > 0):
        raise InputError(f"alpha is {alpha}: expected a number above 0; 2 is usual.")
    return torch.linalg.vector_norm(unit_rows(x) - unit_rows(y), dim=1).pow(alpha).mean()


@public
def uniformity(x: Float[Tensor, "n d"], t: float = 2.0, include_self: bool = False) -> Float[Tensor, ""]:
    """Compute the uniformity loss `L_unif = log mean_{i≠j} exp(−t ‖x_i − x_j‖²)` (Wang–Isola, eq. 5).

    Sign: this is L_unif, which is at most 0 and smaller for more uniform embeddings. Papers that "report uniformity"
    report −L_unif. Rows are normalised here. The N×N matrix is never stored.

    Args:
        x: (N, D) embeddings.
        t: sharpness of the Gaussian potential; 2 in both papers.
        include_self: average over all N² ordered pairs, each sample with itself too, instead of the N(N − 1) others.

    Returns:
        A scalar, differentiable.

    Raises:
        InputError: a value is not finite, t is not positive, or there is one sample only.

    Example:
        >>> uniformity(torch.eye(3))  # all squared distances are 2: −2 t
        tensor(-4.)
    """
    check_embeddings(x=x)
    check_two_samples(len(x), "uniformity")
    if not (math.isfinite(t) and t > 0):
        raise InputError(f"t is {t}: expected a number above 0; 2 is usual.")
    z = unit_rows(x)
    count = len(z)
    own = None if include_self else torch.arange(count, device=z.device)
    pairs = count * count if include_self else count * (count - 1)
    # ‖x − y‖² = 2 − 2⟨x, y⟩ for unit rows.
    return pairwise_logsumexp(z, z, 2 * t, exclude=own).logsumexp(0) - 2 * t - math.log(pairs)
