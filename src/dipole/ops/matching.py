"""Clusters and classes matched one to one."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.door import public


@public
def contingency(rows: Int[Tensor, "n"], columns: Int[Tensor, "n"], size: int) -> Int[Tensor, "s s"]:
    """Count how often row value i and column value j come together.

    Args:
        rows: (N,) from 0 to size − 1.
        columns: (N,) the same.
        size: S.

    Raises:
        InputError: a value out of range.

    Example:
        >>> contingency(torch.tensor([0, 1, 1]), torch.tensor([1, 0, 0]), 2)
        tensor([[0, 1],
                [2, 0]])
    """
    for name, values in (("rows", rows), ("columns", columns)):
        if values.numel() and (int(values.min()) < 0 or int(values.max()) >= size):
            raise InputError(f"{name} range from {int(values.min())} to {int(values.max())}: expected 0 to {size - 1}.")
    return torch.bincount(rows * size + columns, minlength=size * size).reshape(size, size)


@public
def match(weights: Float[Tensor, "s s"] | Int[Tensor, "s s"]) -> Int[Tensor, "s"]:
    """Return the column of each row in the one-to-one matching of the largest sum (the Hungarian method, by SciPy).

    Args:
        weights: (S, S).

    Example:
        >>> match(torch.tensor([[5, 4], [4, 0]]))
        tensor([1, 0])
    """
    from scipy.optimize import linear_sum_assignment

    if weights.shape[0] != weights.shape[1]:
        raise InputError(f"weights have shape {tuple(weights.shape)}: expected as many rows as columns.")
    rows, columns = linear_sum_assignment(weights.detach().cpu().numpy(), maximize=True)
    found = torch.empty(len(weights), dtype=torch.int64)
    found[torch.from_numpy(rows)] = torch.from_numpy(columns)
    return found


@public
def estimate_class_distribution(
    cluster_ids: Int[Tensor, "n"],
    labels: Int[Tensor, "n"],
    labelled: Bool[Tensor, "n"],
    *,
    num_known: int,
    num_classes: int,
) -> Float[Tensor, "c"]:
    """Estimate the sizes of all classes from clusters and the labels of known classes.

    Clusters are matched with classes by the share of a cluster that has the label of the class. The sizes of the
    clusters of known classes are given to these in the order of their labelled counts; those left over are the sizes
    of the novel classes, the largest first.

    Bai et al.: *Towards Distribution-Agnostic Generalized Category Discovery* (NeurIPS 2023), section 3.2.

    Args:
        cluster_ids: (N,) from 0 to C − 1.
        labels: (N,), read where labelled.
        labelled: (N,).
        num_known: K; classes 0 … K − 1 are known.
        num_classes: C.

    Raises:
        InputError: a known class without labelled samples, a label of a class that is not known, or K above C.

    Example:
        >>> clusters, labels = torch.tensor([0, 0, 0, 1]), torch.tensor([-1, -1, -1, 0])
        >>> estimate_class_distribution(clusters, labels, labels >= 0, num_known=1, num_classes=2)
        tensor([1., 3.])
    """
    if not 1 <= num_known <= num_classes:
        raise InputError(f"{num_known} of {num_classes} classes are known: expected 1 to {num_classes}.")
    mine = labels[labelled]
    if mine.numel() and (int(mine.min()) < 0 or int(mine.max()) >= num_known):
        raise InputError(f"labels range from {int(mine.min())} to {int(mine.max())}: known are 0 to {num_known - 1}.")
    counts = torch.bincount(mine, minlength=num_known)
    if int(counts.min()) < 1:
        missing = (counts == 0).nonzero().flatten().tolist()
        raise InputError(f"class {missing[0]} has no labelled sample: label one, or count it among the novel classes.")
    sizes = torch.bincount(cluster_ids, minlength=num_classes)
    shares = contingency(cluster_ids[labelled], mine, num_classes).double() / sizes.clamp_min(1)[:, None]
    columns = match(shares)
    of_known = sizes[columns < num_known].sort().values
    found = torch.empty(num_classes, dtype=torch.get_default_dtype())
    found[counts.argsort(stable=True)] = of_known.to(found.dtype)
    found[num_known:] = sizes[columns >= num_known].sort(descending=True).values.to(found.dtype)
    return found
