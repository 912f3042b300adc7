"""Sums over the rows that share a label, without a matrix of pairs."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.door import looking, public


def counts_of_labels(labels: Tensor, classes: int) -> Tensor:
    """How many labels are 0, 1, …, classes − 1.

    Example:
        >>> counts_of_labels(torch.tensor([2, 0, 2]), 3)
        tensor([1, 0, 2])
    """
    if looking():
        return torch.bincount(labels, minlength=classes)
    counts = torch.zeros(classes, dtype=torch.int64, device=labels.device)
    return counts.index_add(0, labels, torch.ones_like(labels, dtype=torch.int64))


@public
def sums_of_label(
    keys: Float[Tensor, "m d"], key_labels: Int[Tensor, "m"], labels: Int[Tensor, "n"]
) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n"]]:
    """Compute `Σ_{j: key_label_j = label_i} keys_j` and the number of such keys, for every label i.

    Keys with a negative label belong to nothing.

    Args:
        keys: (M, D).
        key_labels: (M,) whole numbers.
        labels: (N,) whole numbers.

    Returns:
        Sums (N, D) and counts (N,), the latter in the type of the keys.

    Raises:
        InputError: not one label for each key.

    Example:
        >>> sums_of_label(torch.eye(2), torch.tensor([3, 3]), torch.tensor([3, 5]))
        (tensor([[1., 1.],
                [0., 0.]]), tensor([2., 0.]))
    """
    if len(keys) != len(key_labels):
        raise InputError(f"{len(key_labels)} labels came for {len(keys)} keys: expected one each.")
    known = key_labels >= 0
    if not looking():  # how many labels there are is not known: all pairs are compared
        same = ((labels[:, None] == key_labels) & known).to(keys.dtype)
        with torch.autocast(keys.device.type, enabled=False):
            return same @ keys, same.sum(dim=1)
    values, places = torch.unique(torch.cat([labels, key_labels[known]]), return_inverse=True)
    mine, theirs = places[: len(labels)], places[len(labels) :]
    sums = keys.new_zeros(len(values), keys.shape[1]).index_add(0, theirs, keys[known])
    counts = torch.bincount(theirs, minlength=len(values)).to(keys.dtype)
    # A query with a negative label has no key, because none with one was kept.
    return sums[mine], counts[mine]
