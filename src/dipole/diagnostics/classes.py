"""How close embeddings of one class lie."""

from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dipole.diagnostics.rows import check_labels, check_two_samples
from dipole.errors import InputError
from dipole.losses.common import unit_rows
from dipole.ops.checks import check_embeddings
from dipole.ops.door import public


@public
def tolerance(
    x: Float[Tensor, "n d"], labels: Int[Tensor, "n"], form: Literal["conditional", "indicator"] = "conditional"
) -> Float[Tensor, ""] | None:
    """Compute the mean cosine similarity of samples that share a label.

    `"conditional"` averages over the pairs i ≠ j of one class; it is what the values reported in the paper must be.
    `"indicator"` is the paper's formula to the letter, `mean_{i≠j} ⟨x_i, x_j⟩ · 1[l_i = l_j]`, a mean over all pairs.
    Rows are normalised here. Cost is O(N D): `Σ_{i≠j} ⟨x_i, x_j⟩ = ‖Σ_i x_i‖² − Σ_i ‖x_i‖²` within each class.

    Source: Wang, Liu, *Understanding the Behaviour of Contrastive Loss* (CVPR 2021).

    Args:
        x: (N, D) embeddings.
        labels: (N,) class of each sample.
        form: which average.

    Returns:
        A scalar; None for the conditional form where no two samples share a label, since the mean is then over nothing.

    Raises:
        InputError: shapes differ, a value is not finite, an unknown form, or there is one sample only.

    Example:
        >>> x = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> tolerance(x, torch.tensor([0, 0, 1]))
        tensor(1.)
        >>> tolerance(x, torch.tensor([0, 0, 1]), form="indicator")  # one pair of three
        tensor(0.3333)
        >>> tolerance(x, torch.tensor([0, 1, 2])) is None
        True
    """
    check_embeddings(x=x)
    check_labels(labels, len(x))
    check_two_samples(len(x), "tolerance")
    if form not in ("conditional", "indicator"):
        raise InputError(f"form is {form!r}: expected 'conditional' or 'indicator'.")
    z = unit_rows(x)
    classes, members, sizes = torch.unique(labels, return_inverse=True, return_counts=True)
    sums = z.new_zeros(len(classes), z.shape[1]).index_add_(0, members, z)
    similarity = sums.square().sum() - z.square().sum()
    pairs = int((sizes * (sizes - 1)).sum()) if form == "conditional" else len(z) * (len(z) - 1)
    return similarity / pairs if pairs else None
