"""InfoNCE with several positives of one anchor."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import Reduction, gathered_keys, reduce, unit_rows
from dipole.losses.info_nce import check_has_negatives
from dipole.ops import pairwise_logsumexp
from dipole.ops.checks import check_choice, check_embeddings, check_temperature, check_views
from dipole.ops.door import looking, public


@public
def multi_positive_info_nce_loss(
    anchor: Float[Tensor, "n d"],
    positives: Float[Tensor, "v n d"],
    *,
    temperature: float | Float[Tensor, ""] = 0.05,
    weights: Sequence[float] | Float[Tensor, "v"] | None = None,
    mode: Literal["sum", "inside_log"] = "sum",
    normalize: bool = True,
    gather: bool = False,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Contrast an anchor with every one of its positives, each against the same view of the other samples:

        log p_iv = s_iv,i / τ − log Σ_j exp(s_iv,j / τ),    s_iv,j = cos(anchor_i, positives_vj)

        sum:         ℓ_i = −Σ_v λ_v log p_iv
        inside_log:  ℓ_i = −log Σ_v λ_v p_iv

    Conventions: rows are normalised here; one direction, from the anchor; mean over the N anchors, **sum** over the
    positives. No positive is a negative of another one. Memory grows with N, not N².

    Zhuo, Sun, Wang, Zhu, Yang: *WhitenedCSE* (ACL 2023); authors' code: sum with λ = 1.

    Args:
        anchor: (N, D).
        positives: (V, N, D); row i of each view belongs to the same sample as row i of the anchor.
        temperature: τ > 0.
        weights: λ, one a positive, at least 0 and not all 0; 1 each if None.
        mode: whether the positives are weighed outside or inside the logarithm.
        normalize: False if the rows are of unit length already.
        gather: contrast against the positives of all processes.
        reduction: over the anchors.

    Returns:
        The loss, or (N,) values.

    Raises:
        InputError: shapes differ, a value is not finite, the temperature is not positive, the weights do not fit, or
            N = 1.

    Example:
        >>> z = torch.eye(4)
        >>> multi_positive_info_nce_loss(z, torch.stack([z, z]), temperature=1.0)  # 2 · (log(e + 3) − 1)
        tensor(1.4873)
    """
    check_views(positives, minimum=1)
    check_embeddings(anchor=anchor, positives=positives[0])
    if anchor.shape != positives.shape[1:]:
        raise InputError(
            f"anchor has shape {tuple(anchor.shape)}, positives {tuple(positives.shape)}: expected (N, D), (V, N, D)."
        )
    check_temperature(temperature)
    check_choice(mode, ("sum", "inside_log"), "mode")
    weight = _weights(weights, positives)
    anchor, positives = unit_rows(anchor, normalize), unit_rows(positives, normalize)
    # One communication for all views.
    keys = gathered_keys(positives.transpose(0, 1), gather)[0].transpose(0, 1)
    check_has_negatives(keys.shape[1])
    positive = (anchor * positives).sum(dim=2) / temperature
    denominator = torch.stack([pairwise_logsumexp(anchor, view, 1 / temperature) for view in keys])
    log_probability = positive - denominator
    if mode == "inside_log":
        return reduce(-(log_probability + weight.log()).logsumexp(dim=0), reduction)
    return reduce(-(weight * log_probability).sum(dim=0), reduction)


def _weights(weights: Sequence[float] | Tensor | None, positives: Tensor) -> Tensor:
    """λ as a tensor (V, 1)."""
    values = torch.ones(len(positives)) if weights is None else torch.as_tensor(weights, dtype=torch.float64)
    usable = (values.isfinite() & (values >= 0)).all() & (values.sum() > 0)
    if values.shape != positives.shape[:1] or (looking() and not bool(usable)):
        raise InputError(
            f"weights are {weights}: expected {len(positives)} numbers of at least 0, one a positive, not all 0."
        )
    kind = torch.promote_types(positives.dtype, torch.float32)
    return values.to(kind).to(positives.device, non_blocking=True)[:, None]
