"""Multistage contrastive learning."""

import copy
import logging
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dipole.card import Card
from dipole.data.samplers import InTurns, Order
from dipole.errors import InputError
from dipole.losses import same_label_nt_xent_loss
from dipole.methods.joint_embedding import JointEmbedding
from dipole.methods.multimodal.base import ModalityEmbedding
from dipole.methods.vision.simclr import SimCLR
from dipole.methods.wrapping import Wrapping
from dipole.nn.stages import concatenate_stages
from dipole.ops.checks import check_at_least, check_choice
from dipole.ops.clusters import combine_cluster_labels, dense_labels, kmeans, merge_small_labels

logger = logging.getLogger(__name__)
ONCE = 2**31  # epochs between two looks: there is one, before the first
STARTS = 5  # of k-means
WORTH_A_WORD = 0.1  # share of the samples that no batch of an epoch has


class MultiStage(Wrapping):
    """Encoder after encoder, each of which has to tell apart what those before it could not.

        stage 0:  train the base on ordinary batches
        stage t:  1. embed all training samples with every encoder so far, cluster each embedding into K parts
                  2. samples share a pseudo-label where they share all clusters c_0, …, c_{t−1}
                  3. train a new encoder with the same loss, on negatives of the anchor's own pseudo-label
        at last:  z(x) = [f⁰(x), f¹(x), …]

    Each stage is a run of its own, whose settings are those of the first but for `stage` and a seed that is one larger;
    the last one holds the model of all.

    Args:
        base: the method of every stage: one that embeds views of images, or one of several modalities, whose images
            (or first modality) are clustered.
        stages: encoders, the ordinary first one among them.
        clusters: K of each stage.
        negatives: `"sampler"`: every batch is of one pseudo-label; `"mask"`: ordinary batches, in which pairs of
            different labels do not count (SimCLR only).
        small_labels: what happens to labels of fewer samples than a batch: `"merge"` joins them by the clusters of one
            stage less, `"drop"` leaves them out of the stage, `"error"` refuses.
        pseudo_label: `"intersection"` as above, or `"last_stage"`, the last clusters alone, as in the released code.
        initial: a new encoder starts `"anew"` (or from the weights that the base names), or from the `"previous"` one.
        normalize: whether embeddings of the stages are scaled to length 1, see `dipole.nn.stages.concatenate_stages`.
        stage: which stage this is; training sets it.

    Example:
        >>> method = MultiStage(base=SimCLR(image_size=8), stages=2, clusters=2, stage=1)
        >>> embeddings = method.refresh_embed(torch.rand(6, 3, 8, 8))
        >>> method.refreshed = method.refresh(embeddings, torch.arange(6))
        >>> method.refreshed["pseudo_label"].shape, method.embed(torch.rand(2, 3, 8, 8)).shape[1] // embeddings.shape[1]
        (torch.Size([6]), 2)
    """

    card = Card(
        name="multistage",
        slug="multistage",
        title="Learning the Unlearned: Mitigating Feature Suppression in Contrastive Learning",
        authors="Zhang, Lan, Qu, Cheng, Feng, Hooi",
        year=2024,
        venue="ECCV",
        arxiv="2402.11816",
        field="vision",
        summary="New encoders contrast within clusters of the earlier ones, so that they learn what those left out.",
        equations=(
            "the pseudo-label of stages 0 … t",
            "feature-aware negative sampling",
            "concatenation of the stages",
        ),
        official_code="MajorDavidZhang/MCL",
        differences=(
            "Pseudo-labels are intersections of the clusters of all stages, as the paper says; the released code loads "
            "the last stage in every turn of its loop. It stays as an option.",
            "All processes share one permutation of a label; the authors' ranks draw different ones, which repeats "
            "some samples and misses others.",
            "Labels of fewer samples than a batch are joined with their neighbours; the authors drop them silently.",
            "k-means by FAISS in float32, over all samples; the authors use scikit-learn's minibatches under autocast.",
            "Stages of embeddings of several modalities weigh alike; in the authors' evaluation by their norms.",
            "The released code has no unimodal part; stages start anew, which is the page's reading of the paper.",
        ),
    )
    wraps = (JointEmbedding, ModalityEmbedding)

    def __init__(
        self,
        *,
        base: Any,
        stages: int = 2,
        clusters: int = 10,
        negatives: Literal["sampler", "mask"] = "sampler",
        small_labels: Literal["merge", "drop", "error"] = "merge",
        pseudo_label: Literal["intersection", "last_stage"] = "intersection",
        initial: Literal["anew", "previous"] = "anew",
        normalize: Literal["none", "before", "after", "both"] = "none",
        stage: int = 0,
    ) -> None:
        super().__init__(base=base)
        check_at_least(stages, 1, "stages")
        check_at_least(clusters, 2, "clusters")
        check_choice(negatives, ("sampler", "mask"), "negatives")
        check_choice(small_labels, ("merge", "drop", "error"), "small_labels")
        check_choice(pseudo_label, ("intersection", "last_stage"), "pseudo_label")
        check_choice(initial, ("anew", "previous"), "initial")
        check_choice(normalize, ("none", "before", "after", "both"), "normalize")
        if not 0 <= stage < stages:
            raise InputError(f"stage is {stage}: training sets it, from 0 to {stages - 1} for {stages} stages.")
        if base.refresh_every:
            raise InputError(f"multistage cannot change {base.card.name!r}, which looks at the training set by itself.")
        if negatives == "mask" and not isinstance(base, SimCLR):
            raise InputError(f"negatives='mask' is for simclr: use 'sampler' with {base.card.name!r}.")
        self.stages, self.clusters, self.stage, self.initial = stages, clusters, stage, initial
        self.negatives, self.small_labels, self.pseudo_label = negatives, small_labels, pseudo_label
        self.normalize: Any = normalize
        self.earlier = nn.ModuleList(copy.deepcopy(base) for _ in range(stage)).requires_grad_(False).eval()
        self.refresh_every = ONCE if stage else 0
        self._widths: list[int] = []

    @classmethod
    def stage_arguments(cls, arguments: Mapping[str, Any]) -> list[dict[str, Any]] | None:
        """Return what differs in the arguments of each stage; None for one stage that was chosen."""
        if "stage" in arguments:
            return None
        stages = arguments.get("stages", cls.arguments()["stages"].default)
        check_at_least(stages, 1, "stages")
        return [{"stage": number} for number in range(stages)]

    def train(self, mode: bool = True) -> "MultiStage":
        """Set the mode of all but the earlier encoders."""
        super().train(mode)
        self.earlier.eval()
        return self

    def given_weights(self, given: dict[str, Tensor]) -> dict[str, Tensor]:
        """What was trained in the run before is one more earlier encoder here."""
        if not self.stage:
            return super().given_weights(given)
        last = f"earlier.{self.stage - 1}."
        moved = {last + name.removeprefix("base."): value for name, value in given.items() if name.startswith("base.")}
        kept = ("earlier.", "base.") if self.initial == "previous" else ("earlier.",)
        return moved | {name: value for name, value in given.items() if name.startswith(kept)}

    @property
    def begins_anew(self) -> tuple[str, ...]:
        """Weights that no earlier run is to give."""
        return ("base.",) if self.stage and self.initial == "anew" else ()

    def refresh_embed(self, inputs: Any) -> Tensor:
        """Return the embeddings of all encoders so far, side by side."""
        parts = [encoder.embed(inputs) for encoder in self.earlier]  # type: ignore[operator]
        self._widths = [part.shape[1] for part in parts]
        return torch.cat(parts, dim=1)

    def refresh(self, embeddings: Tensor, index: Tensor) -> dict[str, Tensor]:
        """Cluster the embeddings of every encoder, and label samples by their clusters."""
        labels = torch.stack(
            [kmeans(part, self.clusters, starts=STARTS)[1] for part in embeddings.split(self._widths, dim=1)]
        )
        combined = dense_labels(combine_cluster_labels(labels, self.clusters, kind=self.pseudo_label))
        return {"cluster_labels": labels, "pseudo_label": combined, "labels": combined.max() + 1}

    def sampling(self, training_set: Any, batch_size: int) -> Order | None:
        """Return batches of one pseudo-label each."""
        if not self.stage or self.negatives == "mask":
            return super().sampling(training_set, batch_size)
        labels = self.refreshed["pseudo_label"]
        small = labels.bincount()[labels] < batch_size
        if bool(small.any()) and self.small_labels == "error":
            raise InputError(
                f"{int(small.sum())} samples have pseudo-labels of fewer samples than a batch of {batch_size}: use "
                "smaller batches, fewer clusters, or --method.small_labels merge."
            )
        if self.small_labels == "merge":
            stages = self.refreshed["cluster_labels"]
            labels = merge_small_labels(
                stages if self.pseudo_label == "intersection" else stages[-1:], self.clusters, batch_size
            )
        order = InTurns(labels, batch_size)
        if order.dropped > WORTH_A_WORD:
            logger.warning(
                "%.0f %% of the samples are in no batch of an epoch of stage %d: labels do not fill batches of %d.",
                100 * order.dropped,
                self.stage,
                batch_size,
            )
        return order

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the loss of the base; with a mask, over the anchor's own pseudo-label."""
        if not self.stage or self.negatives == "sampler":
            return super().loss_terms(batch)
        base: Any = self.base
        z1, z2 = base.project(batch["views"])
        labels = self.refreshed["pseudo_label"].to(batch["index"].device)[batch["index"]]
        alone = labels.unique(return_counts=True)[1] == 1
        loss = same_label_nt_xent_loss(z1, z2, labels, temperature=base.temperature, gather=base.gather)
        return {"loss": loss, "alone": alone.sum() / len(labels)}

    def embed(self, inputs: Any) -> Tensor:
        """Return the embeddings of all encoders, concatenated."""
        parts = [encoder.embed(inputs) for encoder in (*self.earlier, self.base)]
        # Modalities are compared by inner products of embeddings of length 1.
        several = isinstance(self.base, ModalityEmbedding) and self.normalize == "none"
        return concatenate_stages(parts, "after" if several else self.normalize)

    def missing_embedding(self, name: str) -> Tensor | None:
        """Return what stands for a modality that is missing in a query, for all stages."""
        found = self.base.missing_embedding(name)  # type: ignore[operator]
        return None if found is None else found.repeat(self.stage + 1) / (self.stage + 1) ** 0.5
