"""How well the nearest neighbours of rows agree with their classes (ICNN)."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import accumulate
from dipole.ops.checks import check_at_least, check_embeddings
from dipole.ops.door import public

ROOT_EPSILON = 1e-6  # inside the square root of a distance, so that its gradient is finite at 0
EPSILON = 1e-7


class ICNN(NamedTuple):
    """The score of a neighbourhood and what it is made of; the loss is minus its logarithm."""

    score: Tensor
    same: Tensor
    different: Tensor
    purity: Tensor


@public
def euclidean_distances(x: Float[Tensor, "n d"], y: Float[Tensor, "m d"]) -> Float[Tensor, "n m"]:
    """Compute `√(‖x_i − y_j‖² + 10⁻⁶)`, whose gradient is finite everywhere.

    Args:
        x: (N, D), as it is.
        y: (M, D).

    Example:
        >>> euclidean_distances(torch.tensor([[0.0, 0.0]]), torch.tensor([[3.0, 4.0]]))
        tensor([[5.]])
    """
    check_embeddings(x=x, y=y)
    x, y = accumulate(x), accumulate(y)
    return ((x[:, None] - y[None]).square().sum(dim=2) + ROOT_EPSILON).sqrt()


def score_neighbourhoods(
    origin: Tensor,
    labels: Tensor,
    target: Tensor | None = None,
    target_labels: Tensor | None = None,
    *,
    k: int = 4,
    items_per_class: int | Tensor | None = None,
    drop_first: bool | None = None,
    use_variance: bool = False,
    used: Tensor | None = None,
) -> ICNN:
    """`icnn_score` among the targets that are used (M,), all if None; `items_per_class` may be a number on a device."""
    check_at_least(k, 1, "k")
    itself = target is None
    target, target_labels = (origin, labels) if target is None else (target, target_labels)
    if target_labels is None or labels.shape != origin.shape[:1] or target_labels.shape != target.shape[:1]:
        raise InputError("expected one label for each row, of the targets too.")
    dropped = int(itself if drop_first is None else drop_first)
    most = len(target)
    if most < 3:
        raise InputError(f"{most} targets are too few for a neighbourhood: use 3 or more, e.g. more ways or shots.")
    few: bool | Tensor = k + 2 >= most
    k = min(k, most - 2)
    neighbours: int | Tensor = k
    width = k + 1 if items_per_class is None else items_per_class
    width = min(most if isinstance(width, Tensor) else width, most - dropped)
    distances = euclidean_distances(origin, target)
    if used is not None:
        distances, count = distances.masked_fill(~used, torch.inf), used.sum()
        few, neighbours = k + 2 >= count, (count - 2).clamp(1, k)
    items = neighbours + 1 if items_per_class is None else items_per_class
    found = distances.topk(width + dropped, dim=1, largest=False)
    distances, indices = found.values[:, dropped:], found.indices[:, dropped:]
    same = target_labels[indices] == labels[:, None]
    among = _counted(indices, items, used)
    nearest_other = distances.masked_fill(same if among is None else same | ~among, torch.inf).amin(dim=1)
    distances, same = distances[:, :k], same[:, :k]
    other = ~same
    if among is not None:
        near = among[:, :k] & (torch.arange(distances.shape[1], device=origin.device) < neighbours)
        distances, same, other = torch.where(near, distances, 0), same & near, other & near
    relative = distances / (nearest_other[:, None] + EPSILON)
    relative = relative / relative.amax(dim=1, keepdim=True).clamp_min(1)
    lambda_same = 1 - _mean_of_means(relative, same)
    scaled = distances / ((distances * other).amax() + EPSILON)
    lambda_different = torch.where(other.any(), _mean_of_means(scaled, other), 1.0)
    parts = [lambda_same, lambda_different]
    if use_variance:
        parts.append(1 - _variance(relative, same) - _variance(scaled, other))
    share = same.sum(dim=1).to(distances.dtype).mean() / neighbours
    purity = torch.where(few, 1, share) if isinstance(few, Tensor) else torch.ones_like(share) if few else share
    return ICNN((torch.stack(parts).mean() + purity) / 2, lambda_same, lambda_different, purity)


def icnn_of(neighbourhoods: ICNN) -> Tensor:
    """The loss of a score."""
    return -neighbourhoods.score.clamp_min(1e-12).log()


def _counted(indices: Tensor, items: int | Tensor, used: Tensor | None) -> Tensor | None:
    """Which of the nearest targets (N, W) are among the first items, and used; None if it is known that all are."""
    if used is None and not isinstance(items, Tensor):
        return None
    among = (torch.arange(indices.shape[1], device=indices.device) < items).expand_as(indices)
    return among if used is None else among & used[indices]


def _mean_of_means(values: Tensor, chosen: Tensor) -> Tensor:
    """Mean over the rows that have a chosen value of the mean of their chosen values."""
    number = chosen.sum(dim=1).to(values.dtype)
    means = (values * chosen).sum(dim=1) / (number + EPSILON)
    return means.sum() / ((number > 0).sum() + EPSILON)


def _variance(values: Tensor, chosen: Tensor) -> Tensor:
    """Variance of the chosen values; 0 where there are none."""
    number = chosen.sum().clamp_min(1)
    deviation = values - (values * chosen).sum() / number
    return (deviation.square() * chosen).sum() / number
