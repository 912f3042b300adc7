"""Supervised contrastive loss."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import Reduction, gathered_keys, reduce, unit_rows
from dipole.losses.info_nce import check_has_negatives
from dipole.ops import gather as gather_rows
from dipole.ops import pairwise_logsumexp
from dipole.ops.checks import check_embeddings, check_temperature
from dipole.ops.door import public
from dipole.ops.groups import sums_of_label


@public
def sup_con_loss(
    z: Float[Tensor, "n d"],
    labels: Int[Tensor, "n"],
    *,
    temperature: float | Float[Tensor, ""] = 0.1,
    normalize: bool = True,
    gather: bool = False,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Compute the supervised contrastive loss, with the sum over positives outside the logarithm.

        ℓ_i = −1/|P(i)| Σ_{p∈P(i)} log( exp(s_ip/τ) / Σ_{a≠i} exp(s_ia/τ) )

    with P(i) = {p ≠ i : label_p = label_i}.

    Conventions: rows are normalised here; every row is an anchor; an anchor without positives contributes 0 and stays
    in the mean. For several views give all rows with the labels repeated. The sum over positives uses the mean
    embedding of each class, so that memory grows with N, not N².

    Khosla et al.: *Supervised Contrastive Learning* (NeurIPS 2020), eq. 2 (L_out); the factor τ/τ_base of the authors'
    code is left to the learning rate.

    Args:
        z: (N, D).
        labels: (N,) classes.
        temperature: τ > 0.
        normalize: False if the rows are of unit length already.
        gather: contrast against the embeddings and labels of all processes.
        reduction: over the anchors.

    Returns:
        The loss, or (N,) values.

    Raises:
        InputError: lengths differ, a value is not finite, the temperature is not positive, or N = 1.

    Example:
        >>> z = torch.eye(2).repeat(2, 1)
        >>> sup_con_loss(z, torch.tensor([0, 1, 0, 1]), temperature=1.0)  # log(e + 2) − 1
        tensor(0.5514)
    """
    check_embeddings(z=z)
    check_temperature(temperature)
    if labels.shape != z.shape[:1]:
        raise InputError(f"labels has shape {tuple(labels.shape)}: expected one label for each of {len(z)} rows.")
    anchors = unit_rows(z, normalize)
    keys, own = gathered_keys(anchors, gather)
    check_has_negatives(len(keys))
    every_label = gather_rows(labels) if gather else labels
    lowest = every_label.min()  # negative labels are classes like any other here
    sums, counts = sums_of_label(keys, every_label - lowest, labels - lowest)
    positives = counts - 1
    similarity = (anchors * sums).sum(dim=1) - (anchors * anchors).sum(dim=1)
    denominator = pairwise_logsumexp(anchors, keys, 1 / temperature, exclude=own)
    values = denominator - similarity / positives.clamp_min(1) / temperature
    return reduce(torch.where(positives > 0, values, torch.zeros_like(values)), reduction)
