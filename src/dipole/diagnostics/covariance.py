"""The covariance of embeddings: how many directions carry it."""

import torch
from jaxtyping import Float
from torch import Tensor

from dipole.diagnostics.rows import check_two_samples
from dipole.errors import InputError
from dipole.losses.common import accumulate
from dipole.ops.checks import check_embeddings
from dipole.ops.door import public


@public
def covariance_eigenvalues(x: Float[Tensor, "n d"]) -> Float[Tensor, "d"]:
    """Compute the eigenvalues of the covariance matrix of embeddings, the largest first.

    Embeddings are used as they are; the covariance is divided by N − 1.

    Args:
        x: (N, D) embeddings.

    Raises:
        InputError: there is one sample only, or a value is not finite.

    Example:
        >>> covariance_eigenvalues(torch.tensor([[1.0, 2.0], [-1.0, -2.0], [0.0, 0.0]])).sum()  # 1 + 4
        tensor(5.0000)
    """
    check_embeddings(x=x)
    check_two_samples(len(x), "a covariance")
    x = accumulate(x)
    # Squared singular values of the centred rows: never negative, unlike eigenvalues that are rounded.
    centred = x - x.mean(dim=0)
    if not bool(centred.isfinite().all()):
        raise InputError("the mean of x overflows: its values are too large. Divide them by the largest.")
    singular = torch.linalg.svdvals(centred)
    values = x.new_zeros(x.shape[1])
    values[: len(singular)] = singular.square() / (len(x) - 1)
    return values


@public
def effective_eigenvalues(x: Float[Tensor, "n d"], threshold: float = 0.99) -> int:
    """Count the largest eigenvalues of the covariance that are needed for a share of their sum.

    Few of them mean that embeddings vary along few directions. Of embeddings that do not vary at all it is 0.

    Fürst et al.: *CLOOB* (NeurIPS 2022), the analysis of the covariance.

    Args:
        x: (N, D) embeddings.
        threshold: the share, above 0 and at most 1.

    Raises:
        InputError: there is one sample only, a value is not finite, or the threshold is out of range.

    Example:
        >>> effective_eigenvalues(torch.tensor([[1.0, 0.0, 0.0], [-1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, -1.0, 0.0]]))
        2
    """
    if not 0 < threshold <= 1:
        raise InputError(f"threshold is {threshold}: expected a share above 0 and at most 1, e.g. 0.99.")
    values = covariance_eigenvalues(x).double()
    total = values.cumsum(0)
    return int((total < threshold * total[-1]).sum()) + 1 if total[-1] > 0 else 0
