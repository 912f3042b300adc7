"""BECLR."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from dipole.card import Card
from dipole.errors import InputError
from dipole.losses.beclr import beclr_loss, patch_mask
from dipole.methods.joint_embedding import MomentumJointEmbedding, project_views
from dipole.negatives.clustered_memory import DynamicClusteredMemory, memory_size
from dipole.nn import mlp
from dipole.ops.checks import check_at_least, check_choice, check_temperature
from dipole.views import MoCoV2Views

ROWS = 512  # of two views, by the authors' batch size


class BECLR(MomentumJointEmbedding):
    """Unsupervised few-shot learning: a batch is enhanced by its neighbours in a clustered memory. Needs no labels.

        1. p, z = student of two views, some patches hidden; t = teacher of the views
        2. write p, z and t into a memory each, which assigns them to its clusters by balanced transport
        3. add to every row its k nearest of the memory, within the cluster of its prototype
        4. predictions approach the teacher's rows of the other view, the student's rows spread
        5. the teacher follows the student

    Few-shot episodes are measured by `dipole evaluate RUN --protocol few-shot --align true` (OpTA).

    Args:
        temperature: τ of the spread.
        lambda_neg: λ, weight of the spread.
        uniformity: whose rows spread: `"SS"`, `"ST"` or `"TT"`, see `beclr_loss`.
        topk: k, neighbours added to each row.
        clusters: P of a memory.
        memory_scale: memory rows for each cluster, about.
        memory_start_epoch: epoch from which rows are added.
        cluster_every: epochs between two divisions of the memories by k-means.
        memory_metric: by which rows are assigned: `"euclidean"` or `"cosine"`.
        memory_momentum: of the prototypes.
        epsilon: of the balanced transport.
        exclude_self: leave out a row's nearest neighbour, which is itself.
        legacy_partition_indexing: the neighbours of the authors' code.
        mask_ratio: mean share of patches hidden from the student; 0 for none.
        mask_variation: largest difference from it.
        patch: side of a patch in pixels.
        encoder_momentum: m at the start; it rises to 1.
        encoder_momentum_schedule: `"cosine"` or `"constant"`.
        projector_layers: linear layers of the projector.
        projector_final_norm: end the projector with batch normalisation.
        **options: arguments of `MomentumJointEmbedding`, `JointEmbedding` and `Method`.

    Example:
        >>> import torch
        >>> method = BECLR(image_size=8, clusters=2, memory_scale=4, patch=2)
        >>> batch = {"views": torch.rand(2, 4, 3, 8, 8), "index": torch.arange(4)}
        >>> sorted(method.loss_terms(batch))
        ['enhanced', 'loss', 'negatives', 'positives', 'spread']
    """

    card = Card(
        name="beclr",
        slug="beclr",
        title="BECLR: Batch Enhanced Contrastive Few-Shot Learning",
        authors="Poulakakis-Daktylidis, Jamali-Rad",
        year=2024,
        venue="ICLR",
        arxiv="2402.02444",
        field="recognition",
        summary="A clustered memory gives every row further positives; prototypes are transported onto the queries.",
        equations=("the memory DyCE with balanced assignment", "the loss with its three spreads", "OpTA"),
        official_code="stypoumic/BECLR",
        differences=(
            "Neighbours are those of the cluster. The authors' code takes places within a cluster for places in the "
            "memory, so that its neighbours are rows of any cluster (`legacy_partition_indexing`).",
            "The balanced assignment prefers near prototypes; with its Euclidean metric the authors' code prefers far "
            "ones.",
            "Prototypes of empty clusters stay; the authors' code divides by the count of another cluster.",
            "The whole memory is searched where a cluster has k rows or fewer, for both views.",
            "Views are MoCo v2's; the authors add RandAugment and a vertical flip.",
            "Weight decay spares biases and norms; the authors' loop applies it to all parameters.",
            "The memory has the size for batches of 2 · 256 rows and drops what does not fit, whatever the batch.",
        ),
    )
    views_class = MoCoV2Views

    def __init__(
        self,
        *,
        temperature: float = 2.0,
        lambda_neg: float = 0.1,
        uniformity: Literal["SS", "ST", "TT"] = "SS",
        topk: int = 5,
        clusters: int = 200,
        memory_scale: int = 40,
        memory_start_epoch: int = 60,
        cluster_every: int = 60,
        memory_metric: Literal["euclidean", "cosine"] = "euclidean",
        memory_momentum: float = 0.0,
        epsilon: float = 0.05,
        exclude_self: bool = False,
        legacy_partition_indexing: bool = False,
        mask_ratio: float = 0.15,
        mask_variation: float = 0.1,
        patch: int = 16,
        encoder_momentum: float = 0.995,
        encoder_momentum_schedule: Literal["constant", "cosine"] = "cosine",
        projector_layers: int = 3,
        projector_final_norm: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(
            encoder_momentum=encoder_momentum,
            encoder_momentum_schedule=encoder_momentum_schedule,
            projector_layers=projector_layers,
            projector_final_norm=projector_final_norm,
            **options,
        )
        check_temperature(temperature)
        check_at_least(lambda_neg, 0, "lambda_neg")
        check_choice(uniformity, ("SS", "ST", "TT"), "uniformity")
        for name, value, least in (("topk", topk, 1), ("cluster_every", cluster_every, 1), ("patch", patch, 1)):
            check_at_least(value, least, name)
        check_at_least(memory_start_epoch, 0, "memory_start_epoch")
        if not 0 <= mask_variation <= mask_ratio or mask_ratio + mask_variation >= 1:
            raise InputError(
                f"mask_ratio is {mask_ratio} and mask_variation {mask_variation}: expected shares with a sum below "
                "1, the second at most the first."
            )
        image_size = options.get("image_size", 32)
        if mask_ratio and image_size % patch:
            raise InputError(f"patches of {patch} pixels do not fill images of {image_size}: choose --method.patch.")
        self.temperature, self.lambda_neg, self.uniformity = temperature, lambda_neg, uniformity
        self.topk, self.memory_start_epoch, self.cluster_every = topk, memory_start_epoch, cluster_every
        self.mask_ratio, self.mask_variation, self.patch = mask_ratio, mask_variation, patch
        self.predictor = mlp(self.projection_dim, max(1, self.projection_dim // 4), self.projection_dim)
        wanted = clusters * memory_scale
        size = memory_size(clusters, ROWS, memory_scale) if wanted >= ROWS else wanted + 1
        if topk + 1 >= size:
            raise InputError(f"topk is {topk}: the memory has {size} rows, ask for fewer neighbours.")
        self.memories = torch.nn.ModuleList(
            DynamicClusteredMemory(
                size,
                self.projection_dim,
                clusters=clusters,
                metric=memory_metric,
                momentum=memory_momentum,
                epsilon=epsilon,
                exclude_self=exclude_self,
                legacy_partition_indexing=legacy_partition_indexing,
                gather=self.gather,
            )
            for _ in range(3)
        )

    def on_train_epoch_start(self) -> None:
        """Divide the memories anew every few epochs; a run that resumes here does so again, with the same outcome."""
        if self.current_epoch and self.current_epoch % self.cluster_every == 0:
            for memory in self.memories:
                if memory.ready:
                    memory.recluster()  # type: ignore[operator]

    def _hidden(self, views: Tensor) -> Tensor:
        """Views in which some patches are zero, of every image as many as its drawn share."""
        if not self.mask_ratio:
            return views
        flat = views.flatten(0, 1)
        side = flat.shape[-1] // self.patch
        share = self.mask_ratio + self.mask_variation * (2 * torch.rand(len(flat), 1, device=flat.device) - 1)
        blocks = _blocks(torch.rand(len(flat), side, side, device=flat.device))
        hidden = blocks.argsort(dim=1).argsort(dim=1) < (share * side * side).round()
        return patch_mask(flat, hidden.view(-1, side, side), patch=self.patch).view_as(views)

    def loss_terms(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of the enhanced batch, its parts, how far the teacher's rows spread, if any were added."""
        views = batch["views"]
        z = project_views(self.network, self._hidden(views), self.views_share_batch_norm)
        p = torch.stack([self.predictor(view) for view in z])
        t = self.project_keys(views)
        rows = self._enhanced([each.flatten(0, 1) for each in (p, z, t)], len(views))
        found = beclr_loss(*rows, temperature=self.temperature, lambda_neg=self.lambda_neg, uniformity=self.uniformity)
        return {
            "loss": found.loss,
            "positives": found.positives,
            "negatives": found.negatives,
            "spread": found.deviation,
            # 0 for a whole run tells of a memory that is too large for the data.
            "enhanced": found.loss.new_tensor(float(len(rows[0]) > views.shape[0] * views.shape[1])),
        }

    @property
    def _started(self) -> bool:
        """Whether the memories add rows by now."""
        return self._trainer is None or self.current_epoch >= self.memory_start_epoch

    def _enhanced(self, rows: list[Tensor], views: int) -> list[Tensor]:
        """Write rows of each kind into its memory, and add their neighbours once all memories have them."""
        memories: list[Any] = list(self.memories)
        if self.training:
            for memory, each in zip(memories, rows, strict=True):
                memory.update(each.detach())
        # Rows of three memories are paired one by one, so all are enhanced or none.
        if not (self._started and all(memory.ready for memory in memories)):
            return rows
        return [memory.enhance(each, self.topk, views=views).rows for memory, each in zip(memories, rows, strict=True)]


def _blocks(noise: Tensor) -> Tensor:
    """Smooth noise (N, P, P), so that the patches of the smallest values lie together: (N, P·P)."""
    smooth = torch.nn.functional.avg_pool2d(noise[:, None], 3, stride=1, padding=1, count_include_pad=False)
    return smooth.flatten(1)
