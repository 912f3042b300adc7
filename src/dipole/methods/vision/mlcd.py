"""Multi-label cluster discrimination."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from dipole.card import Card
from dipole.errors import InputError
from dipole.methods.joint_embedding import JointEmbedding
from dipole.nn import PartialClassifier, build_encoder
from dipole.ops.checks import check_at_least
from dipole.ops.clusters import kmeans, nearest_centres

ONCE = 2**31  # epochs between two looks: there is one, before the first
PIXELS = "pixels"


class MLCD(JointEmbedding):
    """An image against many clusters of images, several of which are its own.

        before:     1. features of all images, from a frozen model     2. k-means into K centres
                    3. the l nearest centres of an image are its labels
        each step:  1. e = projector(encoder(view)), one view an image
                    2. the classes of the batch and a sample of the others: r K of them
                    3. minimise log(1 + Σ_own exp(−s_i)) + log(1 + Σ_others exp(s_j))

    with s = scale · cos, of its own classes scale · (cos − margin). Class weights belong to training: they stand in the
    checkpoint, spread over the processes, and not in the model. They make a step of AdamW after every batch, at the
    learning rate of the network.

    Args:
        embeddings: Parquet file of `dipole embed` with the features of all training images; it goes before `features`.
        features: a frozen model whose embeddings are clustered: `"pixels"`, or the name of an image encoder with
            pretrained weights.
        features_weights: a .safetensors file with the weights of that encoder, in place of the pretrained ones.
        clusters: K.
        positives: l, centres that are an image's own.
        ratio: r, share of the classes in a step.
        scale: of cosines.
        margin: of an image's own classes; scale 1 and margin 0 are the paper's formula verbatim.
        margin_kind: `"cosface"`, `"arcface"` or `"arcface_straight_through"`.
        mode: `"mlcd"` (eq. 5), `"mlc"` (eq. 4), or `"softmax"` of the nearest centre alone (UNICOM).
        projection: whether a linear layer with `projection_dim` outputs stands between the features that are kept and
            the classes.
        **options: arguments of `JointEmbedding` and `Method`.

    Example:
        >>> method = MLCD(image_size=8, clusters=4, positives=2, ratio=1.0)
        >>> images = torch.rand(16, 3, 8, 8)
        >>> method.refreshed = method.refresh(method.refresh_embed(images), torch.arange(16))
        >>> method.setup("fit")
        >>> sorted(method.loss_terms({"views": images[None], "index": torch.arange(16)}))
        ['classes', 'loss']
    """

    card = Card(
        name="mlcd",
        slug="mlcd",
        title="Multi-label Cluster Discrimination for Visual Representation Learning",
        authors="An, Yang, Dai, Feng, Deng",
        year=2024,
        venue="ECCV",
        arxiv="2407.17331",
        field="vision",
        summary="An image is brought to the centres of several clusters and away from a sample of all others.",
        equations=("eq. 3 to 5", "margin-based partial classification"),
        official_code="deepglint/unicom",
        differences=(
            "The authors have not published the training loss; it is written from eq. 4 and 5, and their sampler of "
            "classes is followed.",
            "Scale and margin are not published: 64 and 0.3 are those of a later work by some of the authors.",
            "The share of sampled classes counts those of the batch, as in the authors' sampler; the paper counts "
            "negatives.",
            "Moments of AdamW of a class move only in steps that sample it; their bias is corrected by its own steps.",
            "The loss is averaged over the batch, which the paper leaves open.",
        ),
    )

    def __init__(
        self,
        *,
        embeddings: str | None = None,
        features: str = PIXELS,
        features_weights: str | None = None,
        clusters: int = 200,
        positives: int = 8,
        ratio: float = 0.1,
        scale: float = 64.0,
        margin: float = 0.3,
        margin_kind: Literal["cosface", "arcface", "arcface_straight_through"] = "cosface",
        mode: Literal["mlcd", "mlc", "softmax"] = "mlcd",
        projection: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        check_at_least(clusters, 2, "clusters")
        check_at_least(positives, 1, "positives")
        if positives > clusters:
            raise InputError(f"positives is {positives}, of {clusters} clusters: an image cannot have more than all.")
        self.stored_embeddings = embeddings
        self.features, self.features_weights = features, features_weights
        self.clusters, self.positives = clusters, positives
        if not projection:
            self.network.projector = nn.Identity()
        width = self.projection_dim if projection else self.encoder.width
        kinds: dict[str, Any] = {"kind": margin_kind, "mode": mode}
        self._classes: dict[str, Any] = {"ratio": ratio, "scale": scale, "margin": margin, **kinds}
        PartialClassifier(width, 2, **self._classes)  # refuses what is out of range now, not when training begins
        self._width, self._seed = width, int(torch.randint(2**31, ()))
        self.refresh_every = ONCE
        self._frozen: list[nn.Module] = []  # in a list, so that it is no part of the model
        shards = ("weight", "first_moment", "second_moment", "steps")
        # Every process has classes of its own, which DistributedDataParallel must not make alike.
        self._ddp_params_and_buffers_to_ignore = [f"classifier.{name}" for name in shards]

    @property
    def num_views(self) -> int:
        """One view of an image."""
        return 1

    def setup(self, stage: str) -> None:
        """Draw the class weights, once it is known how many processes share them."""
        if self._trainer is not None and self.trainer.precision == "16-mixed":
            raise InputError("mlcd makes steps of its own, which 16-mixed would scale: use bf16-mixed or 32-true.")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self._seed)
            self.classifier = PartialClassifier(self._width, self.clusters, **self._classes)

    def refresh_embed(self, inputs: Any) -> Tensor:
        """Return features of the frozen model."""
        if self.features == PIXELS:
            return inputs.flatten(1)
        if not self._frozen:
            options: dict[str, Any] = {"image_size": inputs.shape[-1], "weights": self.features_weights}
            self._frozen = [build_encoder(self.features, pretrained=self.features_weights is None, **options).eval()]
        features: Tensor = self._frozen[0].to(inputs.device)(inputs)
        return features

    def refresh(self, embeddings: Tensor, index: Tensor) -> dict[str, Tensor]:
        """Cluster the features, and give every image its nearest centres."""
        self._frozen = []
        if len(embeddings) < self.clusters:
            raise InputError(f"{len(embeddings)} images cannot be {self.clusters} clusters: --method.clusters less.")
        centres, _ = kmeans(embeddings, self.clusters)
        labels, cosine = nearest_centres(embeddings, centres, self.positives)
        return {"labels": labels, "nearest_cosine": cosine[:, 0].mean(), "farthest_cosine": cosine[:, -1].mean()}

    def loss_terms(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss, and how many classes were sampled."""
        (embeddings,) = self.project(batch["views"])
        labels = self.refreshed["labels"][batch["index"].cpu()].to(embeddings.device)
        loss = self.classifier(embeddings, labels)
        assert self.classifier.kept is not None
        return {"loss": loss, "classes": torch.tensor(float(len(self.classifier.kept)))}

    def on_after_backward(self) -> None:
        """Make a step of the sampled classes."""
        rate = self.trainer.optimizers[0].param_groups[0]["lr"]
        self.classifier.update(rate, self.weight_decay)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the classes of all processes."""
        super().on_save_checkpoint(checkpoint)
        checkpoint["classes"] = self.classifier.stored()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take this process's part."""
        super().on_load_checkpoint(checkpoint)
        self.classifier.restore(checkpoint["classes"])
