"""SwALIP's losses: assignments of one modality, made by Sinkhorn's iterations, are targets of the other one.

Fini et al.: *Improved baselines for vision-language pre-training* (TMLR 2023), with the numbers of the authors' code.
"""

from itertools import product

import torch
from jaxtyping import Float
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import accumulate, contrasted_rows, gathered_keys, inner_products, unit_rows
from dipole.losses.info_nce import check_has_negatives
from dipole.losses.vision_language import check_paired_views
from dipole.ops.checks import check_same_rows, check_temperature
from dipole.ops.door import public
from dipole.ops.sinkhorn import sinkhorn_assign


@public
def swapped_targets(
    images: Float[Tensor, "a n d"],
    texts: Float[Tensor, "a n d"],
    *,
    epsilon: float = 0.05,
    iterations: int = 3,
    gather: bool = False,
) -> Float[Tensor, "a a n m"]:
    """Compute SwALIP's soft targets: Sinkhorn's assignment of each image view to the texts of the batch.

        T_ac = Sinkhorn(⟨images_aᵢ, texts_cⱼ⟩)

    Args:
        images: (A, N, D); swap the arguments for the targets of texts.
        texts: (A, N, D).
        epsilon: ε of Sinkhorn.
        iterations: of Sinkhorn.
        gather: over the texts, and the rows, of all processes.

    Returns:
        (A, A, N, M), a constant whose rows sum to 1.

    Raises:
        InputError: shapes differ, a value is not finite, or a setting is out of range.

    Example:
        >>> swapped_targets(torch.eye(2)[None], torch.eye(2)[None])[0, 0]
        tensor([[1.0000e+00, 2.0612e-09],
                [2.0612e-09, 1.0000e+00]])
    """
    check_paired_views(images, texts)
    rows = unit_rows(images).detach()
    keys = [gathered_keys(text, gather)[0] for text in unit_rows(texts).detach()]
    options: dict[str, float | bool] = {"epsilon": epsilon, "iterations": iterations, "gather": gather}
    targets = [sinkhorn_assign(inner_products(x, y), **options).weights for x, y in product(rows, keys)]  # type: ignore[arg-type]
    return torch.stack(targets).unflatten(0, (len(images), len(texts)))


@public
def swalip_loss(
    images: Float[Tensor, "a n d"],
    texts: Float[Tensor, "a n d"],
    *,
    temperature: float | Float[Tensor, ""] = 0.1,
    epsilon: float = 0.05,
    iterations: int = 3,
    gather: bool = False,
) -> Float[Tensor, ""]:
    """Compute SwALIP's loss, in which the candidates of the other modality are the prototypes:

        W = mean_{a,c} ½ [ H(T_{1−a,1−c}, ⟨imagesᵃ, textsᶜ⟩ / τ) + H(T'_{1−a,1−c}, ⟨textsᵃ, imagesᶜ⟩ / τ) ]

    with the cross entropy H and the targets T of `swapped_targets`, T' those of texts over images. The logits of two
    views meet the target of the two other ones.

    Conventions: rows are normalised here; targets are constants; mean over the N rows. Memory grows with N².

    Args:
        images: (2, N, D) of the two strong views.
        texts: (2, N, D).
        temperature: τ > 0, a number or a learnable scalar.
        epsilon: ε of Sinkhorn.
        iterations: of Sinkhorn.
        gather: over the pairs of all processes.

    Raises:
        InputError: other than two views, shapes differ, a value is not finite, a setting is out of range, or N = 1.

    Example:
        >>> z = torch.eye(4).expand(2, 4, 4)
        >>> swalip_loss(z, z, temperature=1.0)  # log(e + 3) − 1
        tensor(0.7437)
    """
    check_paired_views(images, texts)
    check_temperature(temperature)
    if len(images) != 2:
        raise InputError(f"{len(images)} views came: swapping needs exactly two strong views of each modality.")
    check_has_negatives(contrasted_rows(images[0], gather))
    total = []
    for queries, keys in ((images, texts), (texts, images)):
        targets = swapped_targets(queries, keys, epsilon=epsilon, iterations=iterations, gather=gather)
        candidates = [gathered_keys(key, gather)[0] for key in unit_rows(keys)]
        for (a, x), (c, y) in product(enumerate(unit_rows(queries)), enumerate(candidates)):
            total.append(_soft_cross_entropy(targets[1 - a, 1 - c], inner_products(x, y) / temperature))
    return torch.stack(total).mean()


@public
def prototype_swap_loss(
    image: Float[Tensor, "n d"],
    text: Float[Tensor, "n d"],
    prototypes: Float[Tensor, "k d"],
    *,
    temperature: float | Float[Tensor, ""] = 0.1,
    epsilon: float = 0.05,
    iterations: int = 3,
    gather: bool = False,
) -> Float[Tensor, ""]:
    """Compute the loss of SwALIP with prototypes: each modality predicts the assignment of the other one.

        s = image · prototypesᵀ,   t = text · prototypesᵀ,   ½ [ H(Sinkhorn(t), s / τ) + H(Sinkhorn(s), t / τ) ]

    Conventions: rows of `image` and `text` are normalised here, **prototypes are used as they are**; assignments are
    constants; mean over the N rows.

    Args:
        image: (N, D).
        text: (N, D).
        prototypes: (K, D) of unit length, shared by both modalities.
        temperature: τ > 0.
        epsilon: ε of Sinkhorn.
        iterations: of Sinkhorn.
        gather: assign the rows of all processes together.

    Raises:
        InputError: shapes differ, a value is not finite, or a setting is out of range.

    Example:
        >>> prototype_swap_loss(torch.eye(2), torch.eye(2), torch.eye(2), temperature=1.0)  # log(e + 1) − 1
        tensor(0.3133)
    """
    check_same_rows(image=image, text=text)
    check_temperature(temperature)
    scores = [inner_products(unit_rows(rows), accumulate(prototypes)) for rows in (image, text)]
    assigned = [sinkhorn_assign(s, epsilon=epsilon, iterations=iterations, gather=gather).weights for s in scores]
    losses = [_soft_cross_entropy(t, s / temperature) for t, s in zip(reversed(assigned), scores, strict=True)]
    return torch.stack(losses).mean()


def _soft_cross_entropy(targets: Tensor, logits: Tensor) -> Tensor:
    """`−mean_i Σ_k t_ik log softmax(x_i)_k`."""
    return -(targets * logits.log_softmax(dim=1)).sum(dim=1).mean()
