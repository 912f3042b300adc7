"""Hydra: contrast of arbitrary pairs of classes."""

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor, nn

from dipole.card import Card
from dipole.errors import InputError
from dipole.losses import arbitrary_pair_loss, sample_partner_labels
from dipole.losses.arbitrary_pairs import PartnerLabels
from dipole.methods.joint_embedding import JointEmbedding
from dipole.nn import PairGate, gate_statistics
from dipole.ops.checks import check_choice, check_temperature


class Hydra(JointEmbedding):
    """Any two classes attract each other, in the subspace of features in which they are alike. Needs labels.

        1. draw two views of every image of class y₁          2. z = projector(encoder(view))
        3. draw a class y₂ for every image                    4. g = gate(y₁, y₂)
        5. draw g ⊙ z to the g ⊙ z of the other view's images of class y₂, away from those of neither class

    The loss is the mean of both directions between the views. A third class is needed: a pair of the only two classes
    has no negatives. Logged are how far the gates of single classes are open (`activation`) and how undecided they are
    (`entropy`).

    Args:
        num_classes: C, number of classes; a run takes it from the data.
        temperature: τ.
        pairs: how y₂ is drawn: `"arbitrary"`, the labels of the batch in random order; `"identical"`, y₂ = y₁;
            `"distinct"`, any other class.
        gate: `"fused"`, of the mean of both classes' embeddings; `"product"` of the classes' gates; `"open"`, none.
        similarity: `"masked_cosine"`, normalised in the subspace, or `"prenormalised"`, before it.
        reduction: `"micro"`, the mean over pairs; `"macro"` or `"macro_valid"`, over images, see `arbitrary_pair_loss`.
        gate_embedding: dimensions of the embedding of a class.
        gate_hidden: width of the gate's hidden layer.
        **options: arguments of `JointEmbedding` and `Method`.

    Example:
        >>> import torch
        >>> method = Hydra(image_size=8, num_classes=3)
        >>> batch = {"views": torch.rand(2, 4, 3, 8, 8), "index": torch.arange(4), "label": torch.tensor([0, 0, 1, 2])}
        >>> sorted(method.loss_terms(batch))
        ['activation', 'entropy', 'loss']
    """

    card = Card(
        name="hydra",
        slug="hydra",
        title="Rethinking Positive Pairs in Contrastive Learning",
        authors="Wu, Atito, Feng, Mo, Kittler, Awais",
        year=2024,
        venue="arXiv",
        arxiv="2410.18200",
        field="vision",
        summary="Any two classes attract each other in the subspace that a learned gate opens for the pair.",
        equations=(
            "the loss of arbitrary pairs with masked cosine and prenormalised similarity, micro and macro means",
            "the feature filter, fused and as a product",
            "the total of Hydra-MoCo and the weights of pairs by semantic distance (functions only)",
        ),
        official_code="erow/vitookit, erow/FastSSL",
        differences=(
            "Only the abstract and the code could be read, not the paper's text. The default is the masked cosine; the "
            'code\'s latest state has `similarity="prenormalised"`.',
            "Two views of every image, and both directions between them; one of the authors' codes has one view, in "
            "which an image is its own key. Whether their two views share batch statistics is not known; here they do.",
            'The mean over images is an option (`reduction="macro"`, with 10⁻⁶ added to each count, as in the code); '
            '`"macro_valid"` leaves out images without a positive.',
            "A batch without any positive has the loss 0; the official mean over pairs is NaN.",
            "The linear head that the code trains beside it on detached features is left to `dipole evaluate`.",
            "Left out: gates with Gumbel noise or a stochastic threshold, a learned temperature, the ungated term α. "
            "Hydra-MoCo has its loss (`hydra_moco_loss`), but no method; the default of its α is not known.",
            "Partners by semantic distance need distances between classes, which data sets do not bring: "
            "`pair_probabilities` computes their weights, and no option of the method draws from them.",
            "The recipe for digits trains small networks; the authors' projector is 2048 wide and ends in 256 "
            "dimensions, their optimiser Adam at 0.001 for 50 epochs with batches of 256 (CIFAR-10).",
        ),
    )
    views_share_batch_norm = True

    def __init__(
        self,
        *,
        num_classes: int = 10,
        temperature: float = 0.1,
        pairs: PartnerLabels = "arbitrary",
        gate: Literal["fused", "product", "open"] = "fused",
        similarity: Literal["masked_cosine", "prenormalised"] = "masked_cosine",
        reduction: Literal["micro", "macro", "macro_valid"] = "micro",
        gate_embedding: int = 512,
        gate_hidden: int = 1024,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        if num_classes < 2:
            raise InputError(
                f"the data have {num_classes} classes: hydra pairs classes, so choose labelled data with 2 or more."
            )
        check_temperature(temperature)
        for name, value, choices in (
            ("pairs", pairs, ("arbitrary", "identical", "distinct")),
            ("gate", gate, ("fused", "product", "open")),
            ("similarity", similarity, ("masked_cosine", "prenormalised")),
            ("reduction", reduction, ("micro", "macro", "macro_valid")),
        ):
            check_choice(value, choices, name)
        self.num_classes, self.temperature, self.pairs = num_classes, temperature, pairs
        self.similarity, self.reduction = similarity, reduction
        self.network.projector = _with_layer_norm(self.network.projector, self.projection_dim)
        self.gate = None
        if gate != "open":
            sizes = {"embed_dim": gate_embedding, "hidden_dim": gate_hidden}
            self.gate = PairGate(num_classes, self.projection_dim, fuse=gate == "fused", **sizes)

    def loss_terms(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of arbitrary pairs between the views, and how far the gates are open."""
        if "label" not in batch:
            raise InputError("the batch has no labels: hydra pairs classes, so choose labelled data.")
        labels = batch["label"]
        partners = sample_partner_labels(labels, self.pairs, num_classes=self.num_classes)
        gate = None if self.gate is None else self.gate(labels, partners)
        z1, z2 = self.project(batch["views"])
        loss = (self._contrast(z1, z2, gate, labels, partners) + self._contrast(z2, z1, gate, labels, partners)) / 2
        if self.gate is None:
            return {"loss": loss}
        return {"loss": loss, **gate_statistics(self.gate.of_classes())._asdict()}

    def _contrast(self, z: Tensor, keys: Tensor, gate: Tensor | None, labels: Tensor, partners: Tensor) -> Tensor:
        """The loss in one direction."""
        return arbitrary_pair_loss(
            z,
            keys,
            gate,
            labels,
            partners,
            temperature=self.temperature,
            similarity=self.similarity,
            reduction=self.reduction,
            gather=self.gather,
        )


def _with_layer_norm(projector: Any, dim: int) -> nn.Sequential:
    """End a projector with layer normalisation, without which the authors saw gates close."""
    *hidden, last = projector
    return nn.Sequential(*hidden, nn.Linear(last.in_features, dim, bias=False), nn.LayerNorm(dim))
