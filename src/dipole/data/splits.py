"""Training and test part of data that come without."""

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from dipole.errors import InputError


def stratified_split(
    labels: Int64[Tensor, " n"], test_fraction: float = 0.2, seed: int = 0
) -> tuple[Int64[Tensor, " m"], Int64[Tensor, " k"]]:
    """Split 0..n-1 at random so that every class gives the same fraction to the test part.

    A class of c images gives round(test_fraction * c), but at least one if it has two or more and never all of them;
    a class of one image stays in the training part.

    Args:
        labels: class of every image; all zeros split without classes.
        test_fraction: between 0 and 1, both excluded.
        seed: same seed and labels, same split.

    Returns:
        Indices of the training part and of the test part, both increasing.

    Raises:
        InputError: `test_fraction` is out of range.

    Example:
        >>> train, test = stratified_split(torch.tensor([0, 0, 0, 0, 0, 1, 1, 1, 1, 1]))
        >>> len(train), len(test)
        (8, 2)
    """
    if not 0 < test_fraction < 1:
        raise InputError(f"test_fraction is {test_fraction}: expected a number between 0 and 1, e.g. 0.2.")
    rng = np.random.default_rng(seed)
    test: list[int] = []
    for value in np.unique(labels.numpy()):
        members = rng.permutation(np.flatnonzero(labels.numpy() == value))
        wanted = max(round(test_fraction * len(members)), 1)
        test.extend(members[: min(wanted, len(members) - 1)].tolist())
    in_test = torch.zeros(len(labels), dtype=torch.bool)
    in_test[torch.tensor(test, dtype=torch.long)] = True
    return torch.nonzero(~in_test).flatten(), torch.nonzero(in_test).flatten()
