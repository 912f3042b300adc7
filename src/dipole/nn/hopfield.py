"""Retrieval from a modern Hopfield network."""

from jaxtyping import Float
from torch import Tensor

from dipole.losses.common import unit_rows
from dipole.ops import softmax_retrieval
from dipole.ops.checks import check_at_least, check_embeddings


def hopfield_retrieve(
    stored: Float[Tensor, "m d"],
    queries: Float[Tensor, "n d"],
    *,
    beta: float | Float[Tensor, ""] = 8.0,
    normalize: bool = True,
) -> Float[Tensor, "n d"]:
    """Retrieve patterns by one update step: `Sᵀ softmax(β S ξ)` for every query ξ, of length 1 unless told otherwise.

    A soft nearest neighbour: a large β returns the most similar stored pattern, β = 0 the mean of all. There are no
    projections and no heads. Gradients flow through queries, weights and stored patterns. The N×M similarities are
    never stored.

    Ramsauer et al.: *Hopfield Networks is All You Need* (ICLR 2021), eq. 3; Fürst et al.: *CLOOB* (NeurIPS 2022).

    Args:
        stored: (M, D) patterns S, used as they are; CLOOB stores unit rows.
        queries: (N, D) state patterns ξ, used as they are.
        beta: β ≥ 0, a number or a learnable scalar.
        normalize: bring the retrieved patterns to length 1.

    Returns:
        (N, D).

    Raises:
        InputError: widths differ, a value is not finite, or β is negative.

    Example:
        >>> import torch
        >>> stored = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
        >>> hopfield_retrieve(stored, torch.tensor([[0.6, 0.8]]), beta=1e3)
        tensor([[0., 1.]])
    """
    check_embeddings(stored=stored, queries=queries)
    check_at_least(beta, 0, "beta")
    return unit_rows(softmax_retrieval(queries, stored, beta)[0], normalize)
