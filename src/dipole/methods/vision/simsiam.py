"""SimSiam."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from dipole.card import Card
from dipole.diagnostics.rank import spread
from dipole.losses.non_contrastive import prediction_loss
from dipole.methods.joint_embedding import JointEmbedding
from dipole.nn import mlp
from dipole.ops.checks import check_at_least
from dipole.views import MoCoV2Views


class SimSiam(JointEmbedding):
    """A view predicts the other view of its image, which carries no gradient; there are no negatives.

        1. draw two views of every image          2. z = projector(encoder(view)), p = predictor(z)
        3. minimise 1 − ½ cos(p1, stop_gradient(z2)) − ½ cos(p2, stop_gradient(z1))

    Args:
        predictor_hidden: width of the predictor's hidden layer; a quarter of the projection if it is None.
        projector_layers: linear layers of the projector.
        projector_final_norm: end the projector with batch normalisation.
        **options: arguments of `JointEmbedding` and `Method`.

    Example:
        >>> import torch
        >>> method = SimSiam(image_size=8)
        >>> batch = {"views": torch.rand(2, 4, 3, 8, 8), "index": torch.arange(4)}
        >>> sorted(method.loss_terms(batch))
        ['loss', 'spread']
    """

    card = Card(
        name="simsiam",
        slug="simsiam",
        title="Exploring Simple Siamese Representation Learning",
        authors="Chen, He",
        year=2021,
        venue="CVPR",
        arxiv="2011.10566",
        field="vision",
        summary="A view predicts the other one, whose gradient is stopped; no negatives, no momentum encoder.",
        equations=("eq. 1 to 4, algorithm 1",),
        official_code="facebookresearch/simsiam",
        differences=(
            "Written from the paper and public code; there are no stored reference values of its own.",
            "1 is added to the paper's loss, which is −1 at best. The predictor has the learning rate of the rest.",
        ),
    )
    views_class = MoCoV2Views

    def __init__(
        self,
        *,
        predictor_hidden: int | None = None,
        projector_layers: int = 3,
        projector_final_norm: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(projector_layers=projector_layers, projector_final_norm=projector_final_norm, **options)
        if predictor_hidden is not None:
            check_at_least(predictor_hidden, 1, "predictor_hidden")
        self.predictor = mlp(
            self.projection_dim, predictor_hidden or max(1, self.projection_dim // 4), self.projection_dim
        )

    def loss_terms(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of both directions, and how far the targets spread; 0 is collapse, 1 is isotropic."""
        z1, z2 = self.project(batch["views"])
        p1, p2 = self.predictor(z1), self.predictor(z2)
        loss = (prediction_loss(p1, z2) + prediction_loss(p2, z1)) / 2
        return {"loss": loss, "spread": spread(z1)}
