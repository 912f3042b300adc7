"""MoCo v2."""

from collections.abc import Mapping
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from dipole.card import Card
from dipole.losses import info_nce_loss
from dipole.methods.joint_embedding import MomentumJointEmbedding
from dipole.negatives import Queue
from dipole.ops.checks import check_temperature
from dipole.views import MoCoV2Views


class MoCo(MomentumJointEmbedding):
    """A query finds its momentum key among a queue of keys from earlier batches.

        1. update the momentum encoder            2. q = network(view 1), k = momentum network(view 2)
        3. minimise InfoNCE of (q, k) against the queue, with temperature τ
        4. enqueue k, dequeue the oldest keys

    Args:
        temperature: τ.
        queue_size: M, keys kept; authors: 65,536 for ImageNet.
        **options: arguments of `MomentumJointEmbedding`, `JointEmbedding` and `Method`.

    Example:
        >>> import torch
        >>> method = MoCo(image_size=8, queue_size=16)
        >>> batch = {"views": torch.rand(2, 4, 3, 8, 8), "index": torch.arange(4)}
        >>> _ = method.loss_terms(batch)
        >>> int(method.queue.filled)
        4
    """

    card = Card(
        name="moco",
        slug="moco",
        title="Improved Baselines with Momentum Contrastive Learning",
        authors="Chen, Fan, Girshick, He",
        year=2020,
        venue="arXiv (MoCo v1: CVPR 2020)",
        arxiv="2003.04297",
        field="vision",
        summary="A query finds the key of its other view among a queue of keys from a slowly moving encoder.",
        equations=("MoCo v1 eq. 1 (InfoNCE with a queue), eq. 2 (momentum update), algorithm 1",),
        official_code="facebookresearch/moco",
        differences=(
            "Batch statistics of keys are not shuffled across processes; `--trainer.sync_batchnorm true` joins them.",
            "As in the authors' code, the queue starts with random keys, which count as negatives until replaced.",
        ),
    )
    views_class = MoCoV2Views

    def __init__(self, *, temperature: float = 0.2, queue_size: int = 4096, **options: Any) -> None:
        super().__init__(**options)
        check_temperature(temperature)
        self.temperature = temperature
        self.queue = Queue(queue_size, self.projection_dim)

    def loss_terms(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of the queries of view 1, then enqueue the keys of view 2."""
        queries, keys = self.embed_pair(batch["views"])
        loss = self.contrast(queries, keys, self.queue.entries)
        self.queue.enqueue(keys, gather=self.gather)
        return {"loss": loss}

    def embed_pair(self, views: Float[Tensor, "2 n 3 h w"]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "n d"]]:
        """Return the queries (N, D) of view 1, and the unit keys (N, D) of view 2, which carry no gradient."""
        return self.project(views[:1])[0], F.normalize(self.project_keys(views[1:])[0], dim=1)

    def contrast(self, queries: Tensor, keys: Tensor, queue: Tensor) -> Tensor:
        """Return InfoNCE of queries (N, D) and their keys (N, D) against the queue (M, D)."""
        return info_nce_loss(queries, keys, queue, temperature=self.temperature)
