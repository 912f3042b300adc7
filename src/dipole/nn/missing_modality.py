"""A stand-in for modalities that some samples lack."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from dipole.errors import InputError


class MissingModalityProjector(nn.Module):
    """Project features, or what stands for missing ones, together with an embedding that says which it is.

        Linear([features, or the mean of the observed training features; embedding of (observed | missing)]) → LayerNorm

    The contrastive loss then needs no mask. Give the mean of the training features before training.

    Saporta, Puli, Goldstein, Ranganath: *Contrasting with Symile* (NeurIPS 2024), authors' code.

    Args:
        in_features: H, of the features and of the embedding.
        out_features: D.
        mean: (H,) of the observed training features; 0 if None.

    Raises:
        InputError: a number of features below 1, or a mean of another width.

    Example:
        >>> projector = MissingModalityProjector(3, 2, mean=torch.ones(3))
        >>> missing = torch.tensor([False, True])
        >>> same = torch.equal(projector(torch.rand(2, 3), missing)[1], projector(torch.rand(2, 3), missing)[1])
        >>> same  # what came for the missing one does not matter
        True
    """

    mean: Tensor

    def __init__(self, in_features: int, out_features: int, mean: Float[Tensor, "h"] | None = None) -> None:
        super().__init__()
        if min(in_features, out_features) < 1:
            raise InputError(f"a projector from {in_features} to {out_features} features: expected 1 or more of each.")
        mean = torch.zeros(in_features) if mean is None else mean.detach().float().clone()
        if mean.shape != (in_features,):
            raise InputError(f"mean has shape {tuple(mean.shape)}: expected ({in_features},), one of each feature.")
        self.register_buffer("mean", mean)
        self.indicator = nn.Embedding(2, in_features)
        self.linear = nn.Linear(2 * in_features, out_features)
        self.norm = nn.LayerNorm(out_features)

    def forward(self, features: Float[Tensor, "n h"], missing: Bool[Tensor, "n"]) -> Float[Tensor, "n d"]:
        """Project features (N, H), of which the rows where `missing` (N,) is True are not looked at."""
        features = torch.where(missing[:, None], self.mean.to(features.dtype), features)
        projected: Tensor = self.norm(self.linear(torch.cat([features, self.indicator(missing.long())], dim=1)))
        return projected
