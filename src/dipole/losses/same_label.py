"""Losses in which labels say who is contrasted with whom, or who belongs together."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import Reduction, gathered_keys, reduce, two_views, unit_rows
from dipole.ops import gather as gather_rows
from dipole.ops import pairwise_logsumexp
from dipole.ops.checks import check_embeddings, check_same_rows, check_temperature
from dipole.ops.door import looking, public


@public
def same_label_nt_xent_loss(
    z1: Float[Tensor, "n d"],
    z2: Float[Tensor, "n d"],
    labels: Int[Tensor, "n"],
    *,
    temperature: float | Float[Tensor, ""] = 0.1,
    normalize: bool = True,
    gather: bool = False,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "anchors"]:
    """Compute NT-Xent in which anchor i sees only the views of samples with its own label, itself left out:

        ℓ_i = −s_{i,p(i)} / τ + log Σ_{j≠i, c(j)=c(i)} exp(s_ij / τ)

    A sample that is alone with its label sees its positive only: its loss is 0. With one label it is `nt_xent_loss`.

    Conventions: rows are normalised here; all 2N embeddings are anchors; the mean is over the 2N anchors. Each label's
    own similarities are computed, no others.

    Zhang et al.: *Learning the Unlearned: Mitigating Feature Suppression in Contrastive Learning* (ECCV 2024), the
    masked form of its sampling.

    Args:
        z1: (N, D) embeddings of the first view.
        z2: (N, D) embeddings of the second view.
        labels: (N,) pseudo-labels, such as `dipole.ops.clusters.combine_cluster_labels` gives.
        temperature: τ > 0.
        normalize: False if the rows are of unit length already.
        gather: contrast against the embeddings and labels of all processes.
        reduction: `"mean"` or `"sum"` over the anchors, or `"none"` for all 2N values (view 1, then view 2).

    Returns:
        The loss, or (2N,) values.

    Raises:
        InputError: shapes differ, a value is not finite, the temperature is not positive, or N = 1.

    Example:
        >>> z = torch.eye(4)
        >>> same_label_nt_xent_loss(z, z, torch.tensor([0, 0, 1, 2]), temperature=1.0)  # half of log(e + 2) − 1
        tensor(0.2757)
    """
    check_same_rows(z1=z1, z2=z2)
    check_temperature(temperature)
    _check_labels(labels, z1)
    views = two_views(z1, z2, gather, normalize)
    everywhere = gather_rows(labels) if gather else labels
    denominator = within_labels(
        views.anchors, views.candidates, labels.repeat(2), everywhere.repeat(2), 1 / temperature, views.own
    )
    return reduce(denominator - views.positives / temperature, reduction)


@public
def same_label_clip_loss(
    image: Float[Tensor, "n d"],
    text: Float[Tensor, "n d"],
    labels: Int[Tensor, "n"],
    *,
    temperature: float | Float[Tensor, ""] = 0.07,
    normalize: bool = True,
    gather: bool = False,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Compute CLIP's loss in which a pair sees only the pairs of its own label:

        ℓ_i = ½ [ log Σ_{j: c(j)=c(i)} exp(s_ij / τ) + log Σ_{j: c(j)=c(i)} exp(s_ji / τ) ] − s_ii / τ

    Conventions: rows are normalised here; mean of the two directions; mean over the N pairs; a pair that is alone with
    its label has the loss 0.

    Zhang et al.: *Learning the Unlearned: Mitigating Feature Suppression in Contrastive Learning* (ECCV 2024).

    Args:
        image: (N, D).
        text: (N, D); row i belongs to row i of `image`.
        labels: (N,) pseudo-labels.
        temperature: τ > 0.
        normalize: False if the rows are of unit length already.
        gather: contrast against the pairs of all processes.
        reduction: over the pairs.

    Returns:
        The loss, or (N,) values.

    Raises:
        InputError: shapes differ, a value is not finite or the temperature is not positive.

    Example:
        >>> z = torch.eye(4)
        >>> same_label_clip_loss(z, z, torch.tensor([0, 0, 1, 1]), temperature=1.0)  # log(e + 1) − 1
        tensor(0.3133)
    """
    check_same_rows(image=image, text=text)
    check_temperature(temperature)
    _check_labels(labels, image)
    image, text = unit_rows(image, normalize), unit_rows(text, normalize)
    everywhere = gather_rows(labels) if gather else labels
    scale = 1 / temperature
    to_text = within_labels(image, gathered_keys(text, gather)[0], labels, everywhere, scale)
    to_image = within_labels(text, gathered_keys(image, gather)[0], labels, everywhere, scale)
    return reduce((to_text + to_image) / 2 - (image * text).sum(dim=1) / temperature, reduction)


@public
def same_index_nt_xent_loss(
    z: Float[Tensor, "m d"],
    index: Int[Tensor, "m"],
    *,
    temperature: float | Float[Tensor, ""] = 0.1,
    normalize: bool = True,
    gather: bool = False,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "m"]:
    """Compute NT-Xent of any number of views of a sample, which an index tells apart:

        ℓ_i = −log ( Σ_{j≠i, id(j)=id(i)} exp(s_ij / τ) / Σ_{j≠i} exp(s_ij / τ) )

    Rows with the same index are positives, all others negatives. Where a sample was drawn twice into a batch, its
    copies are negatives of each other if they are counted apart, and positives if they share an index.

    Conventions: rows are normalised here; mean over the rows; with two views of each index it is `nt_xent_loss`.

    Wang, Zhang, Wang: *Do Generated Data Always Help Contrastive Learning?* (ICLR 2024), authors' code.

    Args:
        z: (M, D) embeddings of all views.
        index: (M,) which sample a row is a view of.
        temperature: τ > 0.
        normalize: False if the rows are of unit length already.
        gather: contrast against the rows of all processes.
        reduction: over the rows.

    Returns:
        The loss, or (M,) values.

    Raises:
        InputError: shapes differ, a value is not finite, or an index stands for one row alone.

    Example:
        >>> z = torch.eye(4)
        >>> same_index_nt_xent_loss(torch.cat([z, z]), torch.arange(4).repeat(2), temperature=0.5)
        tensor(0.5944)
    """
    check_embeddings(z=z)
    check_temperature(temperature)
    _check_labels(index, z)
    z = unit_rows(z, normalize)
    keys, own = gathered_keys(z, gather)
    everywhere = gather_rows(index) if gather else index
    if looking() and int(everywhere.unique(return_counts=True)[1].min()) < 2:
        raise InputError("an index stands for one row alone: give two views or more of each sample.")
    positives = within_labels(z, keys, index, everywhere, 1 / temperature, own)
    return reduce(pairwise_logsumexp(z, keys, 1 / temperature, exclude=own) - positives, reduction)


def _check_labels(labels: Tensor, rows: Tensor) -> None:
    """Require a label for each row."""
    if labels.shape != rows.shape[:1] or labels.is_floating_point():
        raise InputError(
            f"labels are {labels.dtype} of shape {tuple(labels.shape)}: expected a whole number for each of "
            f"{len(rows)} rows."
        )


def within_labels(
    queries: Tensor,
    keys: Tensor,
    query_labels: Tensor,
    key_labels: Tensor,
    scale: float | Tensor,
    own: Tensor | None = None,
) -> Tensor:
    """`log Σ_j exp(scale · s_ij)` of each query over the keys of its label, the column `own` left out."""
    if not looking():  # which rows share a label is not known: all pairs are compared
        apart = query_labels[:, None] != key_labels
        if own is not None:
            apart = apart.scatter(1, own[:, None], True)
        return pairwise_logsumexp(queries, keys, scale, exclude=apart)
    rows, parts = [], []
    for label in query_labels.unique().tolist():
        members = (query_labels == label).nonzero().flatten()
        candidates = (key_labels == label).nonzero().flatten()
        exclude = None if own is None else torch.searchsorted(candidates, own[members])
        rows.append(members)
        parts.append(pairwise_logsumexp(queries[members], keys[candidates], scale, exclude=exclude))
    return torch.cat(parts)[torch.cat(rows).argsort()]
