"""Which samples of old classes a model keeps to rehearse: herding, nearest to the mean, random ones."""

from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.checks import check_choice, check_embeddings

Selection = Literal["herding", "closest", "random"]


def herding_order(features: Float[Tensor, "n f"], most: int) -> Int64[Tensor, "m"]:
    """Choose samples one by one so that their mean stays near that of all.

    Features are scaled to length 1, d_i = x_i / (‖x_i‖ + 10⁻⁸), with mean μ. From w = μ on, the sample with the largest
    ⟨w, d_i⟩ is taken, and w ← w + μ − d_i. A sample that was taken before is not taken again.
    After 1000 steps the rest is filled with those nearest to μ.

    Rebuffi, Kolesnikov, Sperl, Lampert: *iCaRL* (CVPR 2017).

    Args:
        features: (N, F) of the samples of one class.
        most: samples to choose; all in this order if there are fewer.

    Returns:
        Their rows, in the order in which they were chosen.

    Raises:
        InputError: a value is not finite, or nothing is to be chosen.

    Example:
        >>> herding_order(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), 2).tolist()
        [2, 0]
    """
    _check(features, most)
    directions = features / (features.norm(dim=1, keepdim=True) + 1e-8)
    mean = directions.mean(dim=0)
    weight = mean.clone()
    chosen: list[int] = []
    for _ in range(1000):
        if len(chosen) == min(most, len(features)):
            break
        best = int((directions @ weight).argmax())
        if best not in chosen:
            chosen.append(best)
        weight = weight + mean - directions[best]
    rest = [row for row in (directions - mean).norm(dim=1).argsort(stable=True).tolist() if row not in chosen]
    return torch.tensor(chosen + rest)[:most]


def closest_order(features: Float[Tensor, "n f"], most: int) -> Int64[Tensor, "m"]:
    """Choose the samples nearest to the mean of all, by Euclidean distance.

    Args:
        features: (N, F) of the samples of one class.
        most: samples to choose.

    Raises:
        InputError: a value is not finite, or nothing is to be chosen.

    Example:
        >>> closest_order(torch.tensor([[0.0], [4.0], [2.5]]), 2).tolist()
        [2, 1]
    """
    _check(features, most)
    return (features - features.mean(dim=0)).norm(dim=1).argsort(stable=True)[:most]


def choose_exemplars(
    features: Float[Tensor, "n f"],
    labels: Int64[Tensor, "n"],
    per_class: int,
    *,
    selection: Selection = "herding",
    generator: torch.Generator | None = None,
) -> Int64[Tensor, "m"]:
    """Choose exemplars of every class.

    Args:
        features: (N, F).
        labels: (N,) classes.
        per_class: exemplars of a class; all of a smaller one.
        selection: `"herding"`, `"closest"` to the mean of its class, or `"random"`.
        generator: of a random choice.

    Returns:
        Rows, classes in ascending order, and within a class in the order in which they were chosen.

    Raises:
        InputError: a value is not finite, there is not one label a row, or nothing is to be chosen.

    Example:
        >>> features = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [3.0, 3.0]])
        >>> choose_exemplars(features, torch.tensor([5, 5, 5, 2]), 1).tolist()
        [3, 2]
    """
    check_choice(selection, ("herding", "closest", "random"), "selection")
    _check(features, per_class)
    if labels.shape != features.shape[:1]:
        raise InputError(f"{len(labels)} labels came for {len(features)} rows: expected one each.")
    chosen = []
    for label in labels.unique():
        rows = (labels == label).nonzero().flatten()
        if selection == "random":
            order = torch.randperm(len(rows), generator=generator)[:per_class]
        else:
            order = {"herding": herding_order, "closest": closest_order}[selection](features[rows], per_class)
        chosen.append(rows[order])
    return torch.cat(chosen)


def _check(features: Tensor, most: int) -> None:
    """Require finite features and a positive number."""
    check_embeddings(features=features)
    if most < 1:
        raise InputError(f"{most} exemplars of a class: expected one or more.")
