"""BYOL."""

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from dipole.card import Card
from dipole.diagnostics.rank import spread
from dipole.losses.non_contrastive import prediction_loss
from dipole.methods.joint_embedding import MomentumJointEmbedding
from dipole.nn import mlp
from dipole.ops.checks import check_at_least
from dipole.views import MoCoV2Views


class BYOL(MomentumJointEmbedding):
    """A view predicts what a momentum encoder makes of the other view; there are no negatives.

        1. update the momentum encoder            2. p = predictor(network(view)), z = momentum network(other view)
        3. minimise ‖p̄1 − z̄2‖² + ‖p̄2 − z̄1‖² of unit vectors

    Args:
        predictor_hidden: width of the predictor's hidden layer; that of the projection times 4 if it is None.
        encoder_momentum: m at the start.
        encoder_momentum_schedule: `"cosine"` from m to 1, as the authors have it, or `"constant"`.
        **options: arguments of `MomentumJointEmbedding`, `JointEmbedding` and `Method`.

    Example:
        >>> import torch
        >>> method = BYOL(image_size=8)
        >>> batch = {"views": torch.rand(2, 4, 3, 8, 8), "index": torch.arange(4)}
        >>> sorted(method.loss_terms(batch))
        ['loss', 'spread']
    """

    card = Card(
        name="byol",
        slug="byol",
        title="Bootstrap Your Own Latent: A New Approach to Self-Supervised Learning",
        authors="Grill, Strub, Altché, Tallec et al.",
        year=2020,
        venue="NeurIPS",
        arxiv="2006.07733",
        field="vision",
        summary="A view predicts the momentum encoder's embedding of the other view; no negatives.",
        equations=("eq. 2 and 3, algorithm 1",),
        official_code="google-deepmind/deepmind-research",
        differences=(
            "Written from the paper and public code; there are no stored reference values of its own.",
            "Both views have MoCo v2's augmentation; the authors' two differ in blur and solarization.",
        ),
    )
    views_class = MoCoV2Views

    def __init__(
        self,
        *,
        predictor_hidden: int | None = None,
        encoder_momentum: float = 0.996,
        encoder_momentum_schedule: Literal["constant", "cosine"] = "cosine",
        **options: Any,
    ) -> None:
        super().__init__(
            encoder_momentum=encoder_momentum, encoder_momentum_schedule=encoder_momentum_schedule, **options
        )
        if predictor_hidden is not None:
            check_at_least(predictor_hidden, 1, "predictor_hidden")
        self.predictor = mlp(self.projection_dim, predictor_hidden or 4 * self.projection_dim, self.projection_dim)

    def loss_terms(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of both directions, and how far the targets spread; 0 is collapse."""
        p1, p2 = map(self.predictor, self.project(batch["views"]))
        z1, z2 = self.project_keys(batch["views"])
        return {"loss": 2 * (prediction_loss(p1, z2) + prediction_loss(p2, z1)), "spread": spread(z1)}
