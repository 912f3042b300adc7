"""Barlow Twins."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from dipole.card import Card
from dipole.losses.non_contrastive import barlow_twins_loss
from dipole.methods.joint_embedding import JointEmbedding
from dipole.ops.checks import check_at_least
from dipole.views import MoCoV2Views


class BarlowTwins(JointEmbedding):
    """Features of two views agree, and different features do not repeat each other.

        1. draw two views of every image          2. z = projector(encoder(view)), standardised over the batch
        3. C = correlation of the features of the two views; minimise Σ (1 − C_ll)² + λ Σ_{l≠m} C_lm²

    Args:
        off_diagonal_weight: λ.
        projector_layers: linear layers of the projector.
        **options: arguments of `JointEmbedding` and `Method`.

    Example:
        >>> import torch
        >>> method = BarlowTwins(image_size=8)
        >>> batch = {"views": torch.rand(2, 4, 3, 8, 8), "index": torch.arange(4)}
        >>> sorted(method.loss_terms(batch))
        ['loss']
    """

    card = Card(
        name="barlow-twins",
        slug="barlow-twins",
        title="Barlow Twins: Self-Supervised Learning via Redundancy Reduction",
        authors="Zbontar, Jing, Misra, LeCun, Deny",
        year=2021,
        venue="ICML",
        arxiv="2103.03230",
        field="vision",
        summary="The cross-correlation of the features of two views is brought to the identity.",
        equations=("eq. 1 and 2, algorithm 1",),
        official_code="facebookresearch/barlowtwins",
        differences=(
            "Written from the paper and public code; there are no stored reference values of its own.",
            "Both views have MoCo v2's augmentation; the authors' two differ in blur and solarization.",
        ),
    )
    views_class = MoCoV2Views

    def __init__(self, *, off_diagonal_weight: float = 5e-3, projector_layers: int = 3, **options: Any) -> None:
        super().__init__(projector_layers=projector_layers, **options)
        check_at_least(off_diagonal_weight, 0, "off_diagonal_weight")
        self.off_diagonal_weight = off_diagonal_weight

    def loss_terms(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of the two views."""
        z1, z2 = self.project(batch["views"])
        loss = barlow_twins_loss(z1, z2, off_diagonal_weight=self.off_diagonal_weight, gather=self.gather)
        return {"loss": loss}
