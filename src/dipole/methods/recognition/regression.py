"""Plain regression, beside which methods for ordered labels stand."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from dipole.card import Card
from dipole.errors import InputError
from dipole.methods.joint_embedding import JointEmbedding
from dipole.ops.checks import check_choice


class Regression(JointEmbedding):
    """An encoder and a linear map predict the target of every view: the baseline of methods for regression.

    Targets are numbers: `--labels labels.csv --label-column age`. They are scaled by the training targets.

    Args:
        loss: `"l1"` or `"l2"` of the scaled targets.
        **options: arguments of `JointEmbedding` and `Method`; its projector is not used.

    Example:
        >>> import torch
        >>> method = Regression(image_size=8)
        >>> batch = {"views": torch.rand(2, 4, 3, 8, 8), "index": torch.arange(4), "target": torch.arange(4.0)}
        >>> sorted(method.loss_terms(batch))
        ['loss']
    """

    card = Card(
        name="regression",
        slug="regression",
        title="Delving into Deep Imbalanced Regression",
        authors="Yang, Zha, Chen, Wang, Katabi",
        year=2021,
        venue="ICML",
        arxiv="2102.09554",
        field="recognition",
        summary="Plain regression of a number, the baseline of methods for ordered labels.",
        equations=("the vanilla baseline, mean absolute or squared error",),
        official_code="YyzHarry/imbalanced-regression",
        differences=(
            "Of the paper only its vanilla baseline; neither label nor feature smoothing.",
            "Targets are scaled by their deviation; there are no stored reference values.",
        ),
    )
    views_share_batch_norm = True
    label_role: ClassVar[Literal["classes", "numbers"]] = "numbers"
    centre: Tensor
    scale: Tensor

    def __init__(self, *, loss: Literal["l1", "l2"] = "l1", **options: Any) -> None:
        options |= {"projector_layers": 1, "projection_dim": 1}
        super().__init__(**options)
        check_choice(loss, ("l1", "l2"), "loss")
        self.loss = loss
        self.register_buffer("centre", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))

    def before_training(self, training_set: Any) -> None:
        """Take centre and deviation of the targets.

        Raises:
            InputError: there are no targets.
        """
        targets = getattr(training_set, "numbers", {}).get("target")
        if targets is None:
            raise InputError(f"{training_set.name} has no targets: give --labels labels.csv --label-column NAME.")
        self.centre.copy_(targets.mean())
        self.scale.copy_(targets.std())

    def loss_terms(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the mean error of all views, in deviations of the targets."""
        predicted = self.project(batch["views"])[..., 0]
        target = ((batch["target"] - self.centre) / self.scale).expand_as(predicted)
        error = nn.functional.l1_loss if self.loss == "l1" else nn.functional.mse_loss
        return {"loss": error(predicted, target)}
