"""Embeddings of several encoders as one."""

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.checks import check_choice

Normalize = Literal["none", "before", "after", "both"]


def concatenate_stages(features: Sequence[Float[Tensor, "n _"]], normalize: Normalize = "none") -> Float[Tensor, "n f"]:
    """Concatenate the features of several encoders, `[f⁰(x), f¹(x), …]`.

    Scaled to length 1 `"after"`, encoders weigh by their norm; `"before"`, each weighs the same, and the cosine of two
    rows is the mean of their cosines once the whole is of length 1 (`"both"`).

    Zhang et al.: *Learning the Unlearned: Mitigating Feature Suppression in Contrastive Learning* (ECCV 2024); the
    authors' code of its evaluation scales after.

    Args:
        features: (N, F) of each encoder; widths may differ.
        normalize: which rows are scaled to length 1.

    Raises:
        InputError: there are none, they have different numbers of rows, or `normalize` is unknown.

    Example:
        >>> concatenate_stages([torch.tensor([[3.0, 4.0]]), torch.tensor([[2.0]])], "before")
        tensor([[0.6000, 0.8000, 1.0000]])
    """
    check_choice(normalize, ("none", "before", "after", "both"), "normalize")
    if not features or len({len(part) for part in features}) > 1:
        raise InputError(
            f"features of {[tuple(part.shape) for part in features]} came: expected the same rows of each."
        )
    unit = torch.nn.functional.normalize
    whole = torch.cat([unit(part, dim=1) if normalize in ("before", "both") else part for part in features], dim=1)
    return unit(whole, dim=1) if normalize in ("after", "both") else whole
