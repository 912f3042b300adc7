"""Losses between images and texts in weak and strong views: CLIP-rocket, SiamLIP, BYOLIP and BarLIP.

Fini, Astolfi, Romero-Soriano, Verbeek, Drozdzal: *Improved baselines for vision-language pre-training* (TMLR 2023),
with the numbers of the authors' code.
"""

from itertools import product
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import accumulate, both_directions, contrasted_rows, gathered_keys, inner_products, unit_rows
from dipole.losses.info_nce import check_has_negatives, check_label_smoothing
from dipole.losses.non_contrastive import prediction_loss
from dipole.ops import gather_mean
from dipole.ops.checks import check_at_least, check_choice, check_same_rows, check_temperature
from dipole.ops.door import public


class ViewTerms(NamedTuple):
    """What `multi_view_clip_terms` finds.

    Attributes:
        image: mean over the terms from images to texts.
        text: from texts to images.
        weak_image: the term of the weak pair, from images to texts.
        weak_text: from texts to images.
        strong_image: mean over the A × A strong pairs; None without strong views.
        strong_text: from texts to images.
    """

    image: Tensor
    text: Tensor
    weak_image: Tensor
    weak_text: Tensor
    strong_image: Tensor | None
    strong_text: Tensor | None


@public
def multi_view_clip_terms(
    image: Float[Tensor, "n d"],
    text: Float[Tensor, "n d"],
    image_views: Float[Tensor, "a n e"] | None = None,
    text_views: Float[Tensor, "a n e"] | None = None,
    *,
    temperature: float | Float[Tensor, ""] = 0.07,
    view_temperature: float | Float[Tensor, ""] = 0.1,
    label_smoothing: float = 0.1,
    normalize: bool = True,
    gather: bool = False,
) -> ViewTerms:
    """Compute the cross entropies of one weak pair and of every pair of A strong views, from each direction:

        G = CE₀(⟨x_i, y_j⟩ / τ),   L = mean_{a,c} CE_ε(⟨xᵃ_i, yᶜ_j⟩ / τ'),   C = (G + A L) / (1 + A)

    The weak pair is never contrasted with a strong one, and its labels are never smoothed.

    Args:
        image: (N, D) of the weak view.
        text: (N, D) of the weak view; row i belongs to row i of `image`.
        image_views: (A, N, E) of the strong views, which may lie in a space of their own; None without.
        text_views: (A, N, E).
        temperature: τ > 0 of the weak pair, a number or a learnable scalar.
        view_temperature: τ' > 0 of the strong pairs.
        label_smoothing: ε of the strong pairs, from 0 to below 1.
        normalize: False if the rows are of unit length already.
        gather: contrast against the pairs of all processes.

    Raises:
        InputError: shapes differ, one of the two strong views is missing, a value is not finite, a temperature is not
            positive, the label smoothing is out of range, or N = 1.

    Example:
        >>> z = torch.eye(4)
        >>> multi_view_clip_terms(z, z, z[None], z[None], temperature=1.0, view_temperature=1.0).weak_image
        tensor(0.7437)
    """
    check_same_rows(image=image, text=text)
    check_temperature(temperature)
    check_temperature(view_temperature, "view_temperature")
    check_label_smoothing(label_smoothing)
    check_has_negatives(contrasted_rows(image, gather))
    weak = _directions(unit_rows(image, normalize), unit_rows(text, normalize), temperature, 0.0, gather)
    if image_views is None and text_views is None:
        return ViewTerms(*weak, *weak, None, None)
    if image_views is None or text_views is None:
        raise InputError("one of image_views and text_views is missing: give both, or neither.")
    check_paired_views(image_views, text_views)
    if image_views.shape[1] != len(image):
        raise InputError(f"image has {len(image)} rows and image_views {image_views.shape[1]}: expected as many.")
    images, texts = unit_rows(image_views, normalize), unit_rows(text_views, normalize)
    found = [_directions(x, y, view_temperature, label_smoothing, gather) for x, y in product(images, texts)]
    strong = [torch.stack(side).mean() for side in zip(*found, strict=True)]
    count = len(images)
    image_term, text_term = ((g + count * mean) / (1 + count) for g, mean in zip(weak, strong, strict=True))
    return ViewTerms(image_term, text_term, *weak, *strong)


@public
def multi_view_clip_loss(
    image: Float[Tensor, "n d"],
    text: Float[Tensor, "n d"],
    image_views: Float[Tensor, "a n e"] | None = None,
    text_views: Float[Tensor, "a n e"] | None = None,
    *,
    temperature: float | Float[Tensor, ""] = 0.07,
    view_temperature: float | Float[Tensor, ""] = 0.1,
    label_smoothing: float = 0.1,
    directions: Literal["sum", "mean"] = "sum",
    normalize: bool = True,
    gather: bool = False,
) -> Float[Tensor, ""]:
    """Compute the loss of CLIP-rocket, `C_image + C_text` of `multi_view_clip_terms`.

    Conventions: rows are normalised here; **sum** of the two directions, as in most of the authors' runs; mean over the
    N pairs. Without strong views and with the mean it is `clip_loss`.

    Args:
        image: (N, D) of the weak view.
        text: (N, D) of the weak view.
        image_views: (A, N, E) of the strong views; None without.
        text_views: (A, N, E).
        temperature: τ > 0 of the weak pair.
        view_temperature: τ' > 0 of the strong pairs.
        label_smoothing: ε of the strong pairs.
        directions: `"sum"` or `"mean"`.
        normalize: False if the rows are of unit length already.
        gather: contrast against the pairs of all processes.

    Raises:
        InputError: see `multi_view_clip_terms`.

    Example:
        >>> z = torch.eye(4)
        >>> multi_view_clip_loss(z, z, temperature=1.0, directions="mean")  # log(e + 3) − 1
        tensor(0.7437)
    """
    check_choice(directions, ("sum", "mean"), "directions")
    terms = multi_view_clip_terms(
        image,
        text,
        image_views,
        text_views,
        temperature=temperature,
        view_temperature=view_temperature,
        label_smoothing=label_smoothing,
        normalize=normalize,
        gather=gather,
    )
    total = terms.image + terms.text
    return total if directions == "sum" else total / 2


def _directions(
    x: Tensor, y: Tensor, temperature: float | Tensor, label_smoothing: float, gather: bool
) -> tuple[Tensor, Tensor]:
    """Cross entropy of finding y from x, and x from y, of unit rows."""
    positive = (x * y).sum(dim=1)
    denominators = both_directions(x, y, temperature, gather)
    targets = [positive, positive]
    if label_smoothing:
        # The mean logit needs the mean of the candidates, not one logit for each.
        means = [gathered_keys(rows, gather)[0].mean(dim=0) for rows in (y, x)]
        targets = [
            torch.lerp(positive, (rows * mean).sum(dim=1), label_smoothing)
            for rows, mean in zip((x, y), means, strict=True)
        ]
    return (
        (denominators.queries - targets[0] / temperature).mean(),
        (denominators.keys - targets[1] / temperature).mean(),
    )


@public
def cross_modal_prediction_loss(
    image_predictions: Float[Tensor, "v n d"],
    text_predictions: Float[Tensor, "v n d"],
    image_targets: Float[Tensor, "v n d"],
    text_targets: Float[Tensor, "v n d"],
) -> Float[Tensor, ""]:
    """Compute the loss of SiamLIP and BYOLIP: each modality predicts the other one's projection.

        D(p, v) = 2 − 2 mean_i cos(p_i, stop_gradient(v_i))
        S = [ Σ over pairs (a, c):  D(p_imageᵃ, v_textᶜ) + D(p_textᶜ, v_imageᵃ) ] / (2 + 2A²)

    over the weak pair (view 0 with view 0) and all A × A pairs of strong views (those after it). BYOLIP takes the
    targets from the momentum network.

    Conventions: rows are normalised here; targets are constants.

    Args:
        image_predictions: (1 + A, N, D), of the predictor on image projections; view 0 is the weak one.
        text_predictions: (1 + A, N, D).
        image_targets: (1 + A, N, D) projections of images.
        text_targets: (1 + A, N, D).

    Raises:
        InputError: shapes differ or a value is not finite.

    Example:
        >>> z = torch.eye(2)[None]
        >>> cross_modal_prediction_loss(z, z, z, -z)  # (4 + 0) / 2
        tensor(2.)
    """
    for texts in (text_predictions, image_targets, text_targets):
        check_paired_views(image_predictions, texts)
    terms = [
        prediction_loss(image_predictions[a], text_targets[c]) + prediction_loss(text_predictions[c], image_targets[a])
        for a, c in paired_views(len(image_predictions))
    ]
    return torch.stack(terms).mean()


@public
def cross_modal_correlation(image: Float[Tensor, "n d"], text: Float[Tensor, "n d"]) -> Float[Tensor, "d d"]:
    """Compute `C_jk = 1/N Σ_i image_ij text_ik`, of features that a batch normalisation has standardised.

    Raises:
        InputError: shapes differ or a value is not finite.

    Example:
        >>> cross_modal_correlation(torch.eye(2), torch.eye(2))
        tensor([[0.5000, 0.0000],
                [0.0000, 0.5000]])
    """
    check_same_rows(image=image, text=text)
    return inner_products(accumulate(image).T, accumulate(text).T) / len(image)


@public
def cross_modal_barlow_loss(
    images: Float[Tensor, "v n d"],
    texts: Float[Tensor, "v n d"],
    *,
    off_diagonal_weight: float = 5e-3,
    scale: float = 0.025,
    gather: bool = False,
) -> Float[Tensor, ""]:
    """Compute the loss of BarLIP: `scale · (Σ_j (C_jj − 1)² + λ Σ_{j≠k} C_jk²)`, C between an image and a text view.

    Its mean over the weak pair (view 0 with view 0) and all A × A pairs of strong views.

    Conventions: **nothing is standardised here**, unlike in `barlow_twins_loss`: the projector ends with a batch
    normalisation, whose scale and shift are learned.

    Args:
        images: (1 + A, N, D) projections; view 0 is the weak one.
        texts: (1 + A, N, D).
        off_diagonal_weight: λ.
        scale: of the loss.
        gather: correlate over the batches of all processes.

    Raises:
        InputError: shapes differ, a value is not finite, or a weight is negative.

    Example:
        >>> z = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> cross_modal_barlow_loss(z[None], z[None])
        tensor(0.)
    """
    check_paired_views(images, texts)
    check_at_least(off_diagonal_weight, 0, "off_diagonal_weight")
    check_at_least(scale, 0, "scale")
    terms = []
    for a, c in paired_views(len(images)):
        correlation = cross_modal_correlation(images[a], texts[c])
        correlation = gather_mean(correlation) if gather else correlation
        diagonal = correlation.diagonal()
        off_diagonal = correlation.square().sum() - diagonal.square().sum()
        terms.append(scale * ((diagonal - 1).square().sum() + off_diagonal_weight * off_diagonal))
    return torch.stack(terms).mean()


def paired_views(count: int) -> list[tuple[int, int]]:
    """Return which image view meets which text view: the weak ones each other, every strong one every strong one.

    Example:
        >>> paired_views(3)
        [(0, 0), (1, 1), (1, 2), (2, 1), (2, 2)]
    """
    strong = range(1, count)
    return [(0, 0), *product(strong, strong)]


def check_paired_views(images: Tensor, texts: Tensor) -> None:
    """Require views (V, N, D) of one shape.

    Raises:
        InputError: the shapes differ, there is no view, or a value is not finite.
    """
    if images.ndim != 3 or images.shape != texts.shape or not len(images):
        raise InputError(
            f"views have shapes {tuple(images.shape)} and {tuple(texts.shape)}: expected the same (V, N, D) for both."
        )
    check_same_rows(images=images.flatten(0, 1), texts=texts.flatten(0, 1))
