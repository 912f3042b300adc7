"""A map of the embeddings on the plane."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

FEWEST = 5  # points from which neighbourhoods can be drawn
COLLAPSED = 1e-4  # largest distance from the mean, of unit vectors, below which they are one point


def sample(count: int, points: int, seed: int) -> Int[Tensor, "k"]:
    """Choose at most `points` of `count` rows, in ascending order.

    Example:
        >>> sample(3, 10, seed=0)
        tensor([0, 1, 2])
    """
    generator = torch.Generator().manual_seed(seed)
    return torch.randperm(count, generator=generator)[:points].sort().values


def plane(x: Float[Tensor, "n d"], seed: int) -> Float[Tensor, "n 2"] | None:
    """Compute t-SNE coordinates of the normalised embeddings, begun from their principal components.

    On unit vectors the Euclidean distance orders pairs as the cosine does.

    Returns:
        (N, 2), or None for fewer than 5 points or embeddings that have collapsed to one point.

    Example:
        >>> plane(torch.ones(8, 3), seed=0) is None
        True
    """
    from sklearn.manifold import TSNE

    z = F.normalize(x.double(), dim=1)
    if len(z) < FEWEST or float((z - z.mean(0)).norm(dim=1).max()) < COLLAPSED:
        return None
    if z.shape[1] < 2:
        z = F.pad(z, (0, 1))
    tsne = TSNE(init="pca", perplexity=min(30.0, (len(z) - 1) / 3), random_state=seed)
    return torch.as_tensor(tsne.fit_transform(z.cpu().numpy()), dtype=torch.float64)
