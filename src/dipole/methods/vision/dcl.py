"""Decoupled contrastive learning: DCL, DCLW and DCL with a queue."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from dipole.card import Card
from dipole.losses import dcl_loss, dcl_queue_loss, dclw_loss, npc_multiplier
from dipole.methods.joint_embedding import JointEmbedding
from dipole.methods.vision.moco import MoCo
from dipole.ops.checks import check_temperature

CARD = Card(
    name="dcl",
    slug="dcl",
    title="Decoupled Contrastive Learning",
    authors="Yeh, Hong, Hsu, Liu, Chen, LeCun",
    year=2022,
    venue="ECCV",
    arxiv="2110.06848",
    field="vision",
    summary="NT-Xent without the positive pair in the denominator, so that small batches and easy pairs still teach.",
    equations=("DCL, DCLW with von Mises–Fisher weights, the NPC multiplier, DCL for MoCo and (loss only) NNCLR",),
    official_code=None,
    differences=(
        "No official code exists; third-party codes differ. The mean over both views' anchors, normalisation inside "
        'and detached weights are the default; `reduction="sum_of_views"` and `detach_weight=False` are the other '
        "reading.",
        "The queue and nearest-neighbour forms follow the definition, not published code.",
    ),
)


class DCL(JointEmbedding):
    """SimCLR with the decoupled loss: the positive pair does not stand in the denominator.

        1. draw two views of every image          2. z = projector(encoder(view))
        3. minimise −s⁺/τ + log Σ_{other samples, both views} exp(s/τ) over the 2N embeddings

    The multiplier by which NT-Xent would have shrunk the gradient is logged as `npc_multiplier`.

    Args:
        temperature: τ.
        projector_final_norm: end the projector with batch normalisation, as SimCLR does.
        **options: arguments of `JointEmbedding` and `Method`.

    Example:
        >>> method = DCL(image_size=8)
        >>> batch = {"views": torch.rand(2, 4, 3, 8, 8), "index": torch.arange(4)}
        >>> sorted(method.loss_terms(batch))
        ['loss', 'npc_multiplier']
    """

    card = CARD
    views_share_batch_norm = True

    def __init__(self, *, temperature: float = 0.1, projector_final_norm: bool = True, **options: Any) -> None:
        super().__init__(projector_final_norm=projector_final_norm, **options)
        check_temperature(temperature)
        self.temperature = temperature

    def loss_terms(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of the two views and the mean NPC multiplier."""
        z1, z2 = self.project(batch["views"])
        with torch.no_grad():
            multiplier = npc_multiplier(z1, z2, temperature=self.temperature, gather=self.gather).mean()
        return {"loss": self.contrast(z1, z2), "npc_multiplier": multiplier}

    def contrast(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return the decoupled loss of two views (N, D)."""
        return dcl_loss(z1, z2, temperature=self.temperature, gather=self.gather)


class DCLW(DCL):
    """DCL with weights that make far positive pairs count more.

    Args:
        sigma: width σ of the von Mises–Fisher weights.
        **options: arguments of `DCL`, `JointEmbedding` and `Method`.
    """

    card = replace(CARD, name="dclw", summary="DCL in which positive pairs that are far apart weigh more.")

    def __init__(self, *, sigma: float = 0.5, **options: Any) -> None:
        super().__init__(**options)
        check_temperature(sigma, "sigma")
        self.sigma = sigma

    def contrast(self, z1: Tensor, z2: Tensor) -> Tensor:
        """Return the weighted decoupled loss of two views (N, D)."""
        return dclw_loss(z1, z2, temperature=self.temperature, sigma=self.sigma, gather=self.gather)


class DCLMoCo(MoCo):
    """MoCo with the decoupled loss: only the queue stands in the denominator.

    Args:
        **options: arguments of `MoCo` and its bases.
    """

    card = replace(CARD, name="dcl-moco", summary="MoCo without the positive pair in the denominator.")

    def contrast(self, queries: Tensor, keys: Tensor, queue: Tensor) -> Tensor:
        """Return the decoupled loss against the queue."""
        return dcl_queue_loss(queries, keys, queue, temperature=self.temperature)
