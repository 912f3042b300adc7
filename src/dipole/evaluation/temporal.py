"""Zero-shot tasks on sounds of one and of two events: which, both, in which order, in which relation (ZSTE)."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import inner_products, unit_rows
from dipole.ops.checks import check_embeddings
from dipole.ops.door import public


@public
def single_sound_accuracy(
    audio: Float[Tensor, "n d"], class_texts: Float[Tensor, "c d"], labels: Int[Tensor, "n"]
) -> float:
    """Return the share of sounds of one event whose nearest class text is theirs.

    Args:
        audio: (N, D) embeddings.
        class_texts: (C, D) embeddings of a prompt for each class.
        labels: (N,) classes 0 … C − 1.

    Raises:
        InputError: shapes do not fit, a value is not finite, or a label is no class.

    Example:
        >>> single_sound_accuracy(torch.eye(3), torch.eye(3), torch.tensor([0, 1, 1]))
        0.6666666666666666
    """
    check_embeddings(audio=audio, class_texts=class_texts)
    _check_labels(labels, (len(audio),), len(class_texts))
    found = inner_products(unit_rows(audio), unit_rows(class_texts)).argmax(dim=1)
    return float((found == labels).double().mean())


@public
def both_sounds_accuracy(
    audio: Float[Tensor, "n d"], class_texts: Float[Tensor, "c d"], labels: Int[Tensor, "n k"]
) -> tuple[float, float]:
    """Return how often the two nearest class texts of a sound of two events are its own, and how often the first is.

    Args:
        audio: (N, D) embeddings.
        class_texts: (C, D), C ≥ 2.
        labels: (N, 2) the two classes of each sound, different ones.

    Returns:
        The strict and the loose share.

    Raises:
        InputError: shapes do not fit, a value is not finite, a label is no class, or a sound has one class twice.

    Example:
        >>> both_sounds_accuracy(torch.tensor([[1.0, 0.9, 0.0]]), torch.eye(3), torch.tensor([[1, 0]]))
        (1.0, 1.0)
    """
    check_embeddings(audio=audio, class_texts=class_texts)
    _check_labels(labels, (len(audio), 2), len(class_texts))
    if bool((labels[:, 0] == labels[:, 1]).any()):
        raise InputError("labels hold one class twice in a row: expected two different ones of each sound.")
    found = inner_products(unit_rows(audio), unit_rows(class_texts)).topk(2, dim=1).indices
    strict = (found.sort(dim=1).values == labels.sort(dim=1).values).all(dim=1)
    loose = (found[:, :1] == labels).any(dim=1)
    return float(strict.double().mean()), float(loose.double().mean())


@public
def relation_accuracy(
    audio: Float[Tensor, "n d"], relation_texts: Float[Tensor, "n k d"], relation: Int[Tensor, "n"]
) -> float:
    """Return how often the nearest of a sound's K texts is the true one.

    With the texts "x before y" and "x after y" it is the task of order, with "x while y" beside them that of relation.

    Args:
        audio: (N, D) embeddings.
        relation_texts: (N, K, D) embeddings of the texts of each sound.
        relation: (N,) which is true, 0 … K − 1.

    Raises:
        InputError: shapes do not fit, a value is not finite, or there is no such text.

    Example:
        >>> relation_accuracy(torch.eye(2), torch.eye(2).expand(2, 2, 2), torch.tensor([0, 0]))
        0.5
    """
    if relation_texts.ndim != 3 or len(relation_texts) != len(audio) or not relation_texts.numel():
        raise InputError(f"relation_texts are {tuple(relation_texts.shape)}: expected ({len(audio)}, K, D).")
    check_embeddings(audio=audio, relation_texts=relation_texts.flatten(0, 1))
    _check_labels(relation, (len(audio),), relation_texts.shape[1])
    scores = (unit_rows(relation_texts) @ unit_rows(audio)[..., None])[..., 0]
    return float((scores.argmax(dim=1) == relation).double().mean())


def _check_labels(labels: Tensor, shape: tuple[int, ...], classes: int) -> None:
    """Require whole numbers of a shape from 0 to below the number of classes."""
    if labels.shape != shape or labels.is_floating_point() or labels.dtype == torch.bool:
        raise InputError(f"labels are {labels.dtype} {tuple(labels.shape)}: expected whole numbers {shape}.")
    if not 0 <= int(labels.min()) <= int(labels.max()) < classes:
        raise InputError(
            f"labels run from {int(labels.min())} to {int(labels.max())}: expected 0 to {classes - 1}, one a text."
        )
