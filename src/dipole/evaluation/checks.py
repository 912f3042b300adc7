"""Checks that every protocol makes on its input."""

import torch
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.checks import check_embeddings


def check_problem(
    train_embeddings: Tensor, train_labels: Tensor, test_embeddings: Tensor, test_labels: Tensor | None = None
) -> None:
    """Require finite embeddings of one width, a label for each row and two or more classes to tell apart.

    Raises:
        InputError: something is missing, not finite, or does not fit.
    """
    check_embeddings(train_embeddings=train_embeddings, test_embeddings=test_embeddings)
    for name, labels, embeddings in (
        ("train_labels", train_labels, train_embeddings),
        ("test_labels", test_labels, test_embeddings),
    ):
        if labels is None:
            continue
        if labels.shape != (len(embeddings),) or labels.is_floating_point():
            raise InputError(
                f"{name} is {labels.dtype} of shape {tuple(labels.shape)}: expected integers of shape "
                f"({len(embeddings)},), one for each embedding."
            )
    if len(torch.unique(train_labels)) < 2:
        raise InputError("train_labels holds a single class: a classifier needs two or more to tell apart.")
