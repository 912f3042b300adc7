"""Two images and their two texts: is each text matched with its own image?"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dipole.errors import InputError


def matched_pairs(image: Float[Tensor, "p 2 d"], text: Float[Tensor, "p 2 d"]) -> Bool[Tensor, "p"]:
    """Return whether text 1 has a larger cosine to image 1 than to image 2, and text 2 to image 2 than to image 1.

    A tie is no match. Guessing gets a quarter of the pairs right. Tong et al.: *Eyes Wide Shut?* (CVPR 2024), MMVP-VLM.

    Args:
        image: (P, 2, D) embeddings of the two images of each pair.
        text: (P, 2, D) of their texts.

    Raises:
        InputError: shapes differ, or are not (P, 2, D).

    Example:
        >>> matched_pairs(torch.eye(2)[None], torch.tensor([[[1.0, 0.5], [0.8, 0.7]]]))
        tensor([False])
    """
    if image.shape != text.shape or image.ndim != 3 or image.shape[1] != 2:
        raise InputError(f"images {tuple(image.shape)} and texts {tuple(text.shape)} came: expected two of (P, 2, D).")
    unit = torch.nn.functional.normalize
    similarity = unit(text, dim=2) @ unit(image, dim=2).mT  # (P, text, image)
    return (similarity[:, 0, 0] > similarity[:, 0, 1]) & (similarity[:, 1, 1] > similarity[:, 1, 0])
