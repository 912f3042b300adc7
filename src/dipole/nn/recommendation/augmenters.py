"""Networks that make a view of an embedding: the model augmenters of MCLRec."""

from collections.abc import Sequence
from itertools import pairwise

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dipole.errors import InputError


class ModelAugmenter(nn.Module):
    """A small network whose output has unit length: `z = g(h) / ‖g(h)‖`.

    Qin et al.: *Meta-optimized Contrastive Learning for Sequential Recommendation* (SIGIR 2023), model augmenters.

    Args:
        width: H, of the embeddings.
        hidden: widths of the layers between.

    Raises:
        InputError: a width is below 1.

    Example:
        >>> import torch
        >>> ModelAugmenter(8, hidden=(4,))(torch.ones(2, 8)).norm(dim=1).detach().round()
        tensor([1., 1.])
    """

    def __init__(self, width: int = 64, hidden: Sequence[int] = (32, 16)) -> None:
        super().__init__()
        widths = (width, *hidden, width)
        if min(widths) < 1:
            raise InputError(f"widths of an augmenter are {widths}: expected 1 or more.")
        layers: list[nn.Module] = []
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.GELU()]
        self.network = nn.Sequential(*layers[:-1])

    def forward(self, h: Float[Tensor, "n h"]) -> Float[Tensor, "n h"]:
        """Return views (N, H) of unit length; where the network gives exactly 0, so does this."""
        return F.normalize(self.network(h), dim=-1)


class AttentionAugmenter(nn.Module):
    """An augmenter in which the embeddings of a batch attend to each other: `z = normalise(gelu(softmax(q kᵀ) v))`.

    The attention is not scaled, as in the authors' code.

    Args:
        width: H, of the embeddings.

    Example:
        >>> import torch
        >>> AttentionAugmenter(8)(torch.eye(8)[:3]).shape
        torch.Size([3, 8])
    """

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))

    def forward(self, h: Float[Tensor, "n h"]) -> Float[Tensor, "n h"]:
        """Return views (N, H) of unit length."""
        attended = F.scaled_dot_product_attention(self.query(h), self.key(h), self.value(h), scale=1.0)
        return F.normalize(F.gelu(attended), dim=-1)
