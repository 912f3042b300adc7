"""A classifier on top of an encoder, which is kept as it is or trained further."""

from collections.abc import Mapping
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from dipole.card import Card
from dipole.errors import InputError
from dipole.methods.joint_embedding import JointEmbedding


class Classify(JointEmbedding):
    """An encoder and a linear map predict the class of every view: fine-tuning, or a linear layer on a frozen encoder.

        L = −Σ_c q_c log softmax(W f(x) + b)_c,  q = (1 − ε) one-hot + ε / C

    Start from another run with `--init_from RUN`. Classes are those of folders, or `--labels labels.csv`.

    Args:
        num_classes: C; a run takes it from the data.
        frozen: keep the encoder as it is, batch statistics included, and train the linear map alone.
        label_smoothing: ε.
        **options: arguments of `JointEmbedding` and `Method`; its projector is the linear map.

    Raises:
        InputError: fewer than two classes, or ε outside of [0, 1).

    Example:
        >>> import torch
        >>> method = Classify(image_size=8, num_classes=3)
        >>> labels = torch.tensor([0, 1, 2, 0])
        >>> batch = {"views": torch.rand(1, 4, 3, 8, 8), "index": torch.arange(4), "label": labels}
        >>> sorted(method.loss_terms(batch))
        ['accuracy', 'loss']
    """

    card = Card(
        name="classify",
        slug="classify",
        title="How transferable are features in deep neural networks?",
        authors="Yosinski, Clune, Bengio, Lipson",
        year=2014,
        venue="NeurIPS",
        arxiv="1411.1792",
        field="recognition",
        summary="A linear classifier on an encoder, which is kept as it is or trained further.",
        equations=("transfer of all layers but the last, frozen or fine-tuned",),
        official_code="yosinski/convnet_transfer",
        differences=(
            "Cross-entropy with optional label smoothing, on any encoder. The paper's networks that are split at each "
            "layer are not repeated; there are no stored reference values.",
        ),
    )
    views_share_batch_norm = True

    def __init__(
        self, *, num_classes: int = 10, frozen: bool = False, label_smoothing: float = 0.0, **options: Any
    ) -> None:
        options |= {"projector_layers": 1, "projection_dim": num_classes}
        super().__init__(**options)
        if num_classes < 2:
            raise InputError(f"the data have {num_classes} classes: classify needs labelled data with 2 or more.")
        if not 0 <= label_smoothing < 1:
            raise InputError(f"label_smoothing is {label_smoothing}: expected a number from 0 to below 1.")
        self.num_classes, self.frozen, self.label_smoothing = num_classes, frozen, label_smoothing
        self.encoder.requires_grad_(not frozen)
        self.train(self.training)

    @property
    def num_views(self) -> int:
        """One view of every image."""
        return 1

    @property
    def begins_anew(self) -> tuple[str, ...]:
        """The linear map, which is no projector of another run."""
        return ("network.projector",)

    def train(self, mode: bool = True) -> "Classify":
        """Keep a frozen encoder in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.encoder.eval()
        return self

    def before_training(self, training_set: Any) -> None:
        """Look at the labels.

        Raises:
            InputError: there are none.
        """
        if training_set.seen_labels is None:
            raise InputError(f"{training_set.name} has no classes: use a folder for each, or give --labels labels.csv.")

    def loss_terms(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the mean cross-entropy of all views and the share whose class is found."""
        logits = self.project(batch["views"]).flatten(0, 1)
        labels = batch["label"].repeat(len(batch["views"]))
        loss = nn.functional.cross_entropy(logits, labels, label_smoothing=self.label_smoothing)
        return {"loss": loss, "accuracy": (logits.argmax(dim=1) == labels).float().mean()}

    def classify(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n c"]:
        """Return the logits (N, C) of images in [0, 1]."""
        return self.network(images).float()
