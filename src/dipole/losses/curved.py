"""Losses of curved contrastive learning: cosines that fall with the distance of two turns."""

from jaxtyping import Float
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import Reduction, reduce, unit_rows
from dipole.ops.checks import check_at_least, check_same_rows
from dipole.ops.door import looking, public


@public
def curved_loss(
    before: Float[Tensor, "n d"],
    after: Float[Tensor, "n d"],
    labels: Float[Tensor, "n"],
    *,
    normalize: bool = True,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Compute `ℓ_i = (cos(u_i, v_i) − y_i)²` of utterances seen from before and from after.

    The labels y fall with the distance of two turns and are 0 against the direction of time, see `curved_pairs`; there
    are no negatives in the batch.

    Erker, Schaffer, Spanakis: *Imagination is All You Need!* (Findings of ACL 2023).

    Args:
        before: (N, D) u.
        after: (N, D) v; row i belongs to row i of `before`.
        labels: (N,) y, the cosine that is wanted.
        normalize: False if all rows are of unit length already.
        reduction: over the pairs.

    Returns:
        The loss, or (N,) values.

    Raises:
        InputError: shapes differ, or a value is not finite.

    Example:
        >>> import torch
        >>> curved_loss(torch.eye(2), torch.eye(2), torch.tensor([1.0, 0.5]))
        tensor(0.1250)
    """
    check_same_rows(before=before, after=after)
    cosine = (unit_rows(before, normalize) * unit_rows(after, normalize)).sum(dim=1)
    return reduce((cosine - _labels_of(labels, before)).square(), reduction)


@public
def margin_contrastive_loss(
    a: Float[Tensor, "n d"],
    b: Float[Tensor, "n d"],
    labels: Float[Tensor, "n"],
    *,
    margin: float = 0.5,
    normalize: bool = True,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Compute `ℓ_i = ½ [ y_i D_i² + (1 − y_i) max(0, m − D_i)² ]` with the distance `D = 1 − cos(a, b)`.

    Labels are 1 for pairs that belong together and 0 for others. Other numbers weigh the two terms; the authors of
    curved contrastive learning hand in 2 for neutral pairs, which rewards neither.

    Hadsell, Chopra, LeCun: *Dimensionality Reduction by Learning an Invariant Mapping* (CVPR 2006), eq. 4, with the
    cosine distance.

    Args:
        a: (N, D).
        b: (N, D); row i belongs to row i of `a`.
        labels: (N,) y.
        margin: m, at which pairs that do not belong together are far enough.
        normalize: False if all rows are of unit length already.
        reduction: over the pairs.

    Returns:
        The loss, or (N,) values.

    Raises:
        InputError: shapes differ, a value is not finite, or the margin is negative.

    Example:
        >>> import torch
        >>> margin_contrastive_loss(torch.eye(2), torch.eye(2), torch.tensor([1.0, 0.0]))  # ½ (0 + 0.25) / 2
        tensor(0.0625)
    """
    check_same_rows(a=a, b=b)
    check_at_least(margin, 0, "margin")
    label = _labels_of(labels, a)
    distance = 1 - (unit_rows(a, normalize) * unit_rows(b, normalize)).sum(dim=1)
    near, far = distance.square(), (margin - distance).clamp_min(0).square()
    return reduce((label * near + (1 - label) * far) / 2, reduction)


def _labels_of(labels: Tensor, rows: Tensor) -> Tensor:
    """Labels (N,) in the type that losses are computed in."""
    if labels.shape != rows.shape[:1]:
        raise InputError(f"labels have shape {tuple(labels.shape)}: expected ({len(rows)},), one for each pair.")
    if looking() and not bool(labels.isfinite().all()):
        raise InputError("labels contains NaN or infinite values: expected a number for each pair.")
    return labels.to(unit_rows(rows[:1]).dtype)
