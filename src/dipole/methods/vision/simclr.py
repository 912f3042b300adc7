"""SimCLR."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from dipole.card import Card
from dipole.losses import nt_xent_loss
from dipole.methods.joint_embedding import JointEmbedding
from dipole.ops.checks import check_temperature


class SimCLR(JointEmbedding):
    """Two views of an image attract each other and repel every other view in the batch.

        1. draw two views of every image          2. z = projector(encoder(view))
        3. minimise NT-Xent over the 2N embeddings, with cosine similarities and temperature τ

    Args:
        temperature: τ of NT-Xent.
        projector_final_norm: end the projector with batch normalisation, as the authors' code does.
        **options: arguments of `JointEmbedding` and `Method`.

    Example:
        >>> import torch
        >>> method = SimCLR(image_size=8, temperature=0.2)
        >>> batch = {"views": torch.rand(2, 4, 3, 8, 8), "index": torch.arange(4)}
        >>> sorted(method.loss_terms(batch))
        ['loss']
    """

    card = Card(
        name="simclr",
        slug="simclr",
        title="A Simple Framework for Contrastive Learning of Visual Representations",
        authors="Chen, Kornblith, Norouzi, Hinton",
        year=2020,
        venue="ICML",
        arxiv="2002.05709",
        field="vision",
        summary="Two views of an image attract each other and repel all other views in the batch (NT-Xent).",
        equations=("eq. 1 (NT-Xent), algorithm 1",),
        official_code="google-research/simclr",
        differences=(
            "The recipe for digits trains a small ConvNet by Adam; the authors use LARS and ResNet-50.",
            "The normalisation at the end of the projector has no scale of its own; the authors' learns one.",
        ),
    )
    views_share_batch_norm = True

    def __init__(self, *, temperature: float = 0.2, projector_final_norm: bool = True, **options: Any) -> None:
        super().__init__(projector_final_norm=projector_final_norm, **options)
        check_temperature(temperature)
        self.temperature = temperature

    def loss_terms(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return NT-Xent of the two views."""
        z1, z2 = self.project(batch["views"])
        return {"loss": nt_xent_loss(z1, z2, temperature=self.temperature, gather=self.gather)}
