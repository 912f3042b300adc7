"""Bare pixels."""

from typing import ClassVar

from torch import Tensor

from dipole.evaluation.protocol import Baseline


class RawPixels(Baseline):
    """The pixels themselves as embeddings (N, 3·S·S): what any encoder should beat."""

    name: ClassVar[str] = "raw pixels"
    domains = ("images",)

    def embed(self, images: Tensor) -> Tensor:
        """Return the pixels of images (N, 3, S, S), side by side."""
        return images.flatten(1)
