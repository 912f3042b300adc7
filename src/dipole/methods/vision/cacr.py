"""Contrastive attraction and contrastive repulsion (CACR): in the batch, with a queue, with a predictor."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from dipole.card import Card
from dipole.losses import cacr_momentum_views_loss, cacr_queue_loss
from dipole.losses.cacr import contrastive_attraction, contrastive_repulsion
from dipole.methods.joint_embedding import JointEmbedding, MomentumJointEmbedding
from dipole.negatives import Queue
from dipole.nn import mlp
from dipole.ops.checks import check_at_least, check_temperature
from dipole.views import CACRViews, MoCoV2Views

CARD = Card(
    name="cacr",
    slug="cacr",
    title="Contrastive Attraction and Contrastive Repulsion for Representation Learning",
    authors="Zheng, Chen, Yao, Yang, Li, Zhang, Zhang, Tsang, Zhou, Zhou",
    year=2023,
    venue="TMLR",
    arxiv="2105.03746",
    field="vision",
    summary="Far positives attract more and near negatives repel more, each weighted within its own group.",
    equations=("contrastive attraction and repulsion (Euclidean and RBF cost), their MoCo v2 and MoCo v3 forms",),
    official_code="JegZheng/CACR-SSL",
    differences=(
        "The queue form measures each query's own distance to the queue; the authors' code repeats the first view's "
        '(`queue_queries="first_view"`).',
        'The debiased repulsion has the sign of the derivation; `debias_sign="official"` has that of the code.',
        'The Euclidean MoCo v3 form is a mean over the batch; `reduction="sum"` is the authors\'.',
    ),
)


class CACR(JointEmbedding):
    """K + 1 views of an image attract each other, far ones more; negatives repel, near ones more.

        1. draw K + 1 views of every image        2. z = normalise(projector(encoder(view)))
        3. minimise α Σ_v softmax_v(t⁺ d²) d² − β Σ_j softmax_j(−t⁻ d²) d²

    Args:
        num_positives: K, positives of each view; authors: 4.
        t_positive: t⁺; 0 weighs all positives alike.
        t_negative: t⁻; 0 weighs all negatives alike.
        alpha: weight of the attraction.
        beta: weight of the repulsion.
        cost: of the repulsion.
        **options: arguments of `JointEmbedding` and `Method`.

    Example:
        >>> import torch
        >>> method = CACR(image_size=8, num_positives=2)
        >>> batch = {"views": torch.rand(3, 4, 3, 8, 8), "index": torch.arange(4)}
        >>> sorted(method.loss_terms(batch))
        ['attraction', 'loss', 'repulsion']
    """

    card = CARD
    views_class = CACRViews

    def __init__(
        self,
        *,
        num_positives: int = 4,
        t_positive: float = 1.0,
        t_negative: float = 2.0,
        alpha: float = 1.0,
        beta: float = 1.0,
        cost: Literal["euclidean", "rbf"] = "euclidean",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        check_at_least(num_positives, 1, "num_positives")
        check_at_least(t_positive, 0, "t_positive")
        check_at_least(t_negative, 0, "t_negative")
        self.num_positives = num_positives
        self.t_positive, self.t_negative = t_positive, t_negative
        self.alpha, self.beta, self.cost = alpha, beta, cost

    @property
    def num_views(self) -> int:
        """K + 1."""
        return self.num_positives + 1

    def loss_terms(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss and its two terms."""
        z = F.normalize(self.project(batch["views"]), dim=-1)
        attraction = self.alpha * contrastive_attraction(z, self.t_positive)
        repulsion = contrastive_repulsion(z, self.t_negative, beta=self.beta, cost=self.cost, gather=self.gather)
        return {"loss": attraction + repulsion, "attraction": attraction, "repulsion": repulsion}


class CACRMoCo(MomentumJointEmbedding):
    """CACR with the momentum encoder and the queue of MoCo v2.

        1. update the momentum encoder            2. q_v = network(view v), k_v = momentum network(view v), all views
        3. minimise α · attraction of q_x to k_v, v ≠ x, − β · repulsion of q_x from the queue and the other q_x
        4. enqueue the keys of the last view

    Args:
        num_positives: K; authors: 4.
        t_positive: t⁺.
        t_negative: t⁻.
        alpha: weight of the attraction.
        beta: weight of the repulsion.
        queue_size: M, keys kept; authors: 65,536 for ImageNet.
        intra_batch: repulse from the other queries of the batch too.
        **options: arguments of `MomentumJointEmbedding`, `JointEmbedding` and `Method`.

    Example:
        >>> import torch
        >>> method = CACRMoCo(image_size=8, num_positives=1, queue_size=16)
        >>> batch = {"views": torch.rand(2, 4, 3, 8, 8), "index": torch.arange(4)}
        >>> _ = method.loss_terms(batch)
        >>> int(method.queue.filled)
        4
    """

    card = replace(CARD, name="cacr-moco", summary="CACR with a momentum encoder and a queue of negatives.")
    views_class = MoCoV2Views

    def __init__(
        self,
        *,
        num_positives: int = 4,
        t_positive: float = 1.0,
        t_negative: float = 2.0,
        alpha: float = 1.0,
        beta: float = 1.0,
        queue_size: int = 4096,
        intra_batch: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        check_at_least(num_positives, 1, "num_positives")
        check_at_least(t_positive, 0, "t_positive")
        check_at_least(t_negative, 0, "t_negative")
        self.num_positives = num_positives
        self.t_positive, self.t_negative = t_positive, t_negative
        self.alpha, self.beta, self.intra_batch = alpha, beta, intra_batch
        self.queue = Queue(queue_size, self.projection_dim)

    @property
    def num_views(self) -> int:
        """K + 1."""
        return self.num_positives + 1

    def loss_terms(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss, then enqueue the keys of the last view."""
        queries, keys = self.project(batch["views"]), self.project_keys(batch["views"])
        loss = cacr_queue_loss(
            queries,
            keys,
            self.queue.entries,
            t_positive=self.t_positive,
            t_negative=self.t_negative,
            alpha=self.alpha,
            beta=self.beta,
            intra_batch=self.intra_batch,
        )
        self.queue.enqueue(F.normalize(keys[-1], dim=1), gather=self.gather)
        return {"loss": loss}


class CACRMoCoV3(MomentumJointEmbedding):
    """CACR with the predictor of MoCo v3: several predicted views against one momentum key.

        1. update the momentum encoder            2. q_v = predictor(network(view v)), k_v = momentum network(view v)
        3. for each key view: queries of the other views, the far ones weighing more, find their key in the batch

    Args:
        num_positives: K; with 1 the attraction weights are inactive and the loss is MoCo v3's times 2T.
        temperature: T.
        cost: `"rbf"` (InfoNCE per query) or `"euclidean"`.
        num_keys: K', views whose momentum keys are used: 2 as the authors' `light`, more up to all views (`full`).
        predictor_hidden: width of the predictor's hidden layer.
        **options: arguments of `MomentumJointEmbedding`, `JointEmbedding` and `Method`.

    Example:
        >>> import torch
        >>> method = CACRMoCoV3(image_size=8)
        >>> batch = {"views": torch.rand(2, 4, 3, 8, 8), "index": torch.arange(4)}
        >>> sorted(method.loss_terms(batch))
        ['loss']
    """

    card = replace(CARD, name="cacr-moco-v3", summary="CACR with a momentum encoder and a predictor, in the batch.")
    views_class = MoCoV2Views

    def __init__(
        self,
        *,
        num_positives: int = 1,
        temperature: float = 1.0,
        cost: Literal["rbf", "euclidean"] = "rbf",
        num_keys: int = 2,
        predictor_hidden: int = 512,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        check_at_least(num_positives, 1, "num_positives")
        check_at_least(num_keys, 1, "num_keys")
        check_temperature(temperature)
        self.num_positives, self.num_keys = num_positives, min(num_keys, num_positives + 1)
        self.temperature, self.cost = temperature, cost
        self.predictor = mlp(self.projection_dim, predictor_hidden, self.projection_dim, layers=2)

    @property
    def num_views(self) -> int:
        """K + 1."""
        return self.num_positives + 1

    def loss_terms(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss averaged over the key views."""
        predicted = torch.stack([self.predictor(embeddings).float() for embeddings in self.project(batch["views"])])
        keys = self.project_keys(batch["views"][: self.num_keys])
        loss = cacr_momentum_views_loss(
            predicted, keys, temperature=self.temperature, cost=self.cost, gather=self.gather
        )
        return {"loss": loss}
