"""The contrastive loss of two towers (CLIP), with several texts of an image (LaCLIP), between several modalities.

Radford et al.: *Learning Transferable Visual Models From Natural Language Supervision* (ICML 2021), figure 3; Fan,
Krishnan, Isola, Katabi, Tian: *Improving CLIP Training with Language Rewrites* (NeurIPS 2023).
"""

from itertools import combinations
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import Reduction, both_directions, contrasted_rows, gathered_keys, reduce, unit_rows
from dipole.losses.info_nce import check_has_negatives, check_label_smoothing
from dipole.ops import pairwise_logsumexp
from dipole.ops.checks import check_choice, check_embeddings, check_same_rows, check_temperature, check_views
from dipole.ops.door import public


@public
def clip_loss(
    image: Float[Tensor, "n d"],
    text: Float[Tensor, "n d"],
    *,
    temperature: float | Float[Tensor, ""] = 0.07,
    label_smoothing: float = 0.0,
    normalize: bool = True,
    gather: bool = False,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Compute CLIP's loss: InfoNCE from images to texts and from texts to images, with s = cos(image, text):

        ℓ_i = ½ [ log Σ_j exp(s_ij / τ) + log Σ_j exp(s_ji / τ) ] − s_ii / τ

    LaCLIP is this loss with one of several texts of each image, drawn anew in every step. Label smoothing ε spreads
    that share of the target over all candidates.

    Conventions: rows are normalised here; mean of the two directions; mean over the N pairs. The N×N similarities are
    computed once for both directions and never stored whole.

    Args:
        image: (N, D).
        text: (N, D); row i belongs to row i of `image`.
        temperature: τ > 0, a number or a learnable scalar; the logit scale of CLIP is 1 / τ.
        label_smoothing: ε, from 0 to below 1.
        normalize: False if the rows are of unit length already.
        gather: contrast against the pairs of all processes.
        reduction: over the pairs.

    Returns:
        The loss, or (N,) values.

    Raises:
        InputError: shapes differ, a value is not finite, the temperature is not positive, the label smoothing is out of
            range, or N = 1.

    Example:
        >>> z = torch.eye(4)
        >>> clip_loss(z, z, temperature=1.0)  # log(e + 3) − 1
        tensor(0.7437)
    """
    check_same_rows(image=image, text=text)
    check_temperature(temperature)
    check_label_smoothing(label_smoothing)
    image, text = unit_rows(image, normalize), unit_rows(text, normalize)
    check_has_negatives(contrasted_rows(image, gather))
    # First, so that its gradient comes last: beside the kept exponentials it would raise the peak of memory.
    positive = (image * text).sum(dim=1)
    denominators = both_directions(image, text, temperature, gather)
    if label_smoothing:
        # The mean logit needs the mean of the candidates, not one logit for each.
        images, texts = (gathered_keys(rows, gather)[0].mean(dim=0) for rows in (image, text))
        positive = torch.lerp(positive, ((image * texts).sum(dim=1) + (text * images).sum(dim=1)) / 2, label_smoothing)
    return reduce((denominators.queries + denominators.keys) / 2 - positive / temperature, reduction)


@public
def multi_text_clip_loss(
    image: Float[Tensor, "n d"],
    texts: Float[Tensor, "v n d"],
    *,
    temperature: float | Float[Tensor, ""] = 0.07,
    text_to_image: Literal["all", "first"] = "all",
    normalize: bool = True,
    gather: bool = False,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Compute the loss of LaCLIP-MT: CLIP's loss with V texts of each image, averaged over them.

        image to text:  mean_v ( log Σ_j exp(⟨image_i, text_vj⟩ / τ) − ⟨image_i, text_vi⟩ / τ )
        text to image:  mean_v ( log Σ_j exp(⟨text_vi, image_j⟩ / τ) − ⟨text_vi, image_i⟩ / τ ), or that of v = 0 alone

    A text of an image is contrasted with version v of the other images; the texts of one image are never negatives of
    each other.

    Conventions: rows are normalised here; mean of the two directions, of the versions and of the N images.

    Fan et al.: *Improving CLIP Training with Language Rewrites* (NeurIPS 2023), section on multiple texts; the authors
    published no code of it.

    Args:
        image: (N, D).
        texts: (V, N, D); version 0 is the original.
        temperature: τ > 0.
        text_to_image: whether every version looks for its image, or the first one only.
        normalize: False if the rows are of unit length already.
        gather: contrast against the pairs of all processes.
        reduction: over the images.

    Returns:
        The loss, or (N,) values.

    Raises:
        InputError: shapes differ, a value is not finite, the temperature is not positive, or N = 1.

    Example:
        >>> z = torch.eye(4)
        >>> multi_text_clip_loss(z, torch.stack([z, -z]), temperature=1.0)  # log(e + 3) − 1, log(1/e + 3) + 1
        tensor(1.4790)
    """
    check_views(texts, minimum=1)
    check_embeddings(image=image, texts=texts[0])
    if texts.shape[1:] != image.shape:
        raise InputError(
            f"image has shape {tuple(image.shape)}, texts {tuple(texts.shape)}: expected (N, D) and (V, N, D)."
        )
    check_temperature(temperature)
    check_choice(text_to_image, ("all", "first"), "text_to_image")
    image, texts = unit_rows(image, normalize), unit_rows(texts, normalize)
    check_has_negatives(contrasted_rows(image, gather))
    to_text, to_image = [], []
    for version, text in enumerate(texts):
        positive = (image * text).sum(dim=1) / temperature
        if version == 0 or text_to_image == "all":
            denominators = both_directions(image, text, temperature, gather)
            to_image.append(denominators.keys - positive)
            to_text.append(denominators.queries - positive)
        else:
            candidates, _ = gathered_keys(text, gather)
            to_text.append(pairwise_logsumexp(image, candidates, 1 / temperature) - positive)
    return reduce((torch.stack(to_text).mean(dim=0) + torch.stack(to_image).mean(dim=0)) / 2, reduction)


@public
def pairwise_clip_loss(
    modalities: Float[Tensor, "m n d"],
    *,
    temperature: float | Float[Tensor, ""] = 0.07,
    pairs: Literal["sum", "mean"] = "sum",
    normalize: bool = True,
    gather: bool = False,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "n"]:
    """Compute CLIP's loss for every pair of M modalities, and add them up; the baseline of Symile.

    Conventions: rows are normalised here; each pair is the mean of its two directions; **sum** over the pairs as in the
    authors' code, which documents a mean; mean over the N samples.

    Args:
        modalities: (M, N, D) embeddings, two modalities or more; row i of each belongs to sample i.
        temperature: τ > 0, of all pairs.
        pairs: `"sum"` or `"mean"` over the M (M − 1) / 2 pairs.
        normalize: False to contrast plain inner products.
        gather: contrast against the samples of all processes.
        reduction: over the samples.

    Returns:
        The loss, or (N,) values.

    Raises:
        InputError: fewer than two modalities, a value is not finite, the temperature is not positive, or N = 1.

    Example:
        >>> z = torch.eye(4)
        >>> pairwise_clip_loss(torch.stack([z, z, z]), temperature=1.0)  # 3 (log(e + 3) − 1)
        tensor(2.2310)
    """
    check_modalities(modalities)
    check_choice(pairs, ("sum", "mean"), "pairs")
    losses = torch.stack(
        [
            clip_loss(x, y, temperature=temperature, normalize=normalize, gather=gather, reduction=reduction)
            for x, y in combinations(modalities, 2)
        ]
    )
    return losses.sum(dim=0) if pairs == "sum" else losses.mean(dim=0)


def check_modalities(modalities: Tensor) -> None:
    """Require finite embeddings (M, N, D) of at least two modalities.

    Raises:
        InputError: another rank, one modality, or a value is not finite.
    """
    if modalities.ndim != 3 or len(modalities) < 2:
        raise InputError(
            f"modalities has shape {tuple(modalities.shape)}: expected (M, N, D), two or more modalities of N samples. "
            "Stack their embeddings."
        )
    check_embeddings(modalities=modalities.flatten(0, 1))
