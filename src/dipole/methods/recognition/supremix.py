"""SupReMix."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from dipole.card import Card
from dipole.errors import InputError
from dipole.losses.supremix import WEIGHTS, supremix_loss
from dipole.methods.joint_embedding import JointEmbedding
from dipole.ops.checks import check_at_least, check_choice, check_temperature

AUTOMATIC_QUANTILE = 0.05  # of the gaps between targets
MOST_TARGETS = 2000  # whose gaps are looked at


class SupReMix(JointEmbedding):
    """Supervised contrast for regression: mixtures of embeddings are hard negatives and hard positives.

        1. draw two views of every image          2. z = projector(encoder(view))
        3. mix every anchor with every row of another target: hard negatives
        4. mix rows below and above an anchor's target so that the mixture has it: hard positives
        5. minimise the supervised contrast, in which farther targets repel more

    Targets are numbers: `--labels labels.csv --label-column age`.

    Args:
        temperature: τ.
        window: within which rows are mixed to positives, in units of the targets; chosen from their gaps if None.
        mix_neg: whether mixtures of anchor and negative are candidates.
        mix_pos: whether mixtures with the anchor's target are.
        beta: of the distribution from which the anchor's share in a negative is drawn.
        weight: of candidates by the distance of targets, see `label_distance_weight`.
        stabilizer: `"joint"`, or `"per_block"` as in the authors' code.
        max_mix_pos: positive mixtures of an anchor; all if None.
        label_tolerance: targets this close are equal.
        **options: arguments of `JointEmbedding` and `Method`.

    Example:
        >>> import torch
        >>> method = SupReMix(image_size=8)
        >>> target = torch.tensor([20.0, 22.0, 22.0, 25.0])
        >>> batch = {"views": torch.rand(2, 4, 3, 8, 8), "index": torch.arange(4), "target": target}
        >>> sorted(method.loss_terms(batch))
        ['loss']
    """

    card = Card(
        name="supremix",
        slug="supremix",
        title="Mixup Your Own Pairs: Supervised Contrastive Learning for Regression with Mixup",
        authors="Wu, Dong, Chen, Zhou, Zhou",
        year=2023,
        venue="arXiv",
        arxiv="2309.16633",
        field="recognition",
        summary="Supervised contrast for regression with mixed negatives and positives, weighted by label distance.",
        equations=("the loss with mix-neg, mix-pos and distance magnifying, and its variants",),
        official_code="yilei-wu/SupReMix, Dingyijiang1/Mixup-Your-Own-Pairs",
        differences=(
            "Rows and mixtures share one normalisation; the authors' code takes off another maximum of each, which "
            'changes the loss (`stabilizer="per_block"`).',
            "The authors' code packs mixtures and their labels in different orders, so that weights belong to other "
            "mixtures; that is not reproduced.",
            "The weight for squared distances is Δ² + 1; the authors' code squares Δ + 1 for mixtures.",
            "An anchor without positives is left out of the mean; the variant for texts divides by one more.",
            "The recipe trains a small ConvNet; the authors train a ResNet-50.",
            "In several processes each contrasts within its own batch.",
        ),
    )
    views_share_batch_norm = True
    label_role: ClassVar[Literal["classes", "numbers"]] = "numbers"

    def __init__(
        self,
        *,
        temperature: float = 0.5,
        window: float | None = 5.0,
        mix_neg: bool = True,
        mix_pos: bool = True,
        beta: tuple[float, float] = (2.0, 8.0),
        weight: Literal["l1_inverse", "l2_inverse", "l1", "l2", "none"] = "l1_inverse",
        stabilizer: Literal["joint", "per_block"] = "joint",
        max_mix_pos: int | None = None,
        label_tolerance: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        check_temperature(temperature)
        if window is not None and not window > 0:
            raise InputError(f"window is {window}: expected a number above 0, in units of the targets.")
        check_at_least(label_tolerance, 0, "label_tolerance")
        check_choice(weight, WEIGHTS, "weight")
        check_choice(stabilizer, ("joint", "per_block"), "stabilizer")
        if len(beta) != 2 or not min(beta) > 0:
            raise InputError(f"beta is {beta}: expected two numbers above 0.")
        self.temperature, self.window = temperature, window
        self.mix_neg, self.mix_pos, self.max_mix_pos = mix_neg, mix_pos, max_mix_pos
        self.beta, self.weight, self.label_tolerance = (beta[0], beta[1]), weight, label_tolerance
        self.stabilizer: Literal["joint", "per_block"] = stabilizer

    def before_training(self, training_set: Any) -> None:
        """Choose the window, if it is to be chosen, as a small quantile of the gaps between targets.

        Raises:
            InputError: there are no targets.
        """
        targets = getattr(training_set, "numbers", {}).get("target")
        if targets is None:
            raise InputError(f"{training_set.name} has no targets: give --labels labels.csv --label-column NAME.")
        if self.window is None:
            some = targets[torch.linspace(0, len(targets) - 1, min(len(targets), MOST_TARGETS)).long()].double()
            gaps = torch.nn.functional.pdist(some[:, None])
            gaps = gaps[gaps > self.label_tolerance].sort().values
            self.window = float(gaps[int(AUTOMATIC_QUANTILE * (len(gaps) - 1))])

    def loss_terms(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the contrast of the views, whose mixtures are drawn anew."""
        assert self.window is not None, "before_training() sets it"
        views = self.project(batch["views"])
        loss = supremix_loss(
            views,
            batch["target"],
            temperature=self.temperature,
            window=self.window,
            beta=self.beta,
            mix_neg=self.mix_neg,
            mix_pos=self.mix_pos,
            weight=self.weight,
            stabilizer=self.stabilizer,
            max_mix_pos=self.max_mix_pos,
            label_tolerance=self.label_tolerance,
        )
        return {"loss": loss}
