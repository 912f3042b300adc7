"""The hard contrastive loss."""

from collections.abc import Mapping
from typing import Any, Literal

import torch.nn.functional as F
from torch import Tensor

from dipole.card import Card
from dipole.errors import InputError
from dipole.losses import contrastive_loss_from_similarities, simple_loss_from_similarities
from dipole.losses.hardness import negative_similarities
from dipole.methods.joint_embedding import JointEmbedding
from dipole.negatives import InstanceMemoryBank
from dipole.ops import gather
from dipole.ops.checks import check_at_least, check_temperature


class HardContrastive(JointEmbedding):
    """Contrast with the hardest negatives only; or with all of them, or by a loss that ignores hardness.

        1. s⁺ = similarity of the two views of an image, s⁻ = similarities with all other images
        2. keep the K largest s⁻ of each image     3. minimise −log exp(s⁺/τ) / (exp(s⁺/τ) + Σ_kept exp(s⁻/τ)),
                                                       or, with `loss="simple"`, −s⁺ + λ Σ_kept s⁻

    The other images are those of the batch, or of the whole data set with a memory bank.

    Args:
        loss: `"contrastive"` or `"simple"`.
        temperature: τ; authors: 0.2 to 0.3 without truncation, 0.7 and more with it.
        top_k: K, negatives kept; all if neither it nor `alpha` is given.
        alpha: share of the negatives kept, in place of `top_k`.
        negative_weight: λ of the simple loss; 1 / K if it is None.
        bank_size: number of training images, to contrast with a memory bank of them all; the batch if it is None.
        bank_momentum: share of the old entry when the bank is updated.
        **options: arguments of `JointEmbedding` and `Method`.

    Example:
        >>> import torch
        >>> method = HardContrastive(image_size=8, top_k=2)
        >>> batch = {"views": torch.rand(2, 4, 3, 8, 8), "index": torch.arange(4)}
        >>> sorted(method.loss_terms(batch))
        ['loss']
    """

    card = Card(
        name="hard-contrastive",
        slug="behaviour",
        title="Understanding the Behaviour of Contrastive Loss",
        authors="Wang, Liu",
        year=2021,
        venue="CVPR",
        arxiv="2012.09740",
        field="vision",
        summary="Contrast with the hardest negatives only, which makes tolerant, high temperatures work.",
        equations=(
            "contrastive, simple, hard contrastive and hard simple loss",
            "relative penalty and its entropy, uniformity, tolerance, local separation",
        ),
        official_code=None,
        differences=(
            "The truncation keeps exactly K = ⌈α M⌉ negatives of each anchor, ties included.",
            "λ of the simple loss is not stated in the paper: 1 / (number of negatives), its high-temperature limit.",
            "Tolerance is the mean similarity of same-class pairs; the literal indicator form is an option.",
            "The default contrasts within the batch; `bank_size` gives the paper's memory bank, whose momentum 0.5 is "
            "that of instance discrimination.",
        ),
    )

    def __init__(
        self,
        *,
        loss: Literal["contrastive", "simple"] = "contrastive",
        temperature: float = 0.7,
        top_k: int | None = None,
        alpha: float | None = None,
        negative_weight: float | None = None,
        bank_size: int | None = None,
        bank_momentum: float = 0.5,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        check_temperature(temperature)
        if top_k is not None and alpha is not None:
            raise InputError(f"top_k is {top_k} and alpha is {alpha}: give at most one of them.")
        if top_k is not None:
            check_at_least(top_k, 1, "top_k")
        if alpha is not None and not 0 < alpha <= 1:
            raise InputError(f"alpha is {alpha}: expected a share of the negatives above 0 and at most 1.")
        if bank_size is not None:
            check_at_least(bank_size, 2, "bank_size")
        self.loss, self.temperature, self.negative_weight = loss, temperature, negative_weight
        self.kept: dict[str, Any] = {"top_k": top_k, "alpha": alpha}
        self.bank = None
        if bank_size is not None:
            self.bank = InstanceMemoryBank(bank_size, self.projection_dim, bank_momentum)

    def loss_terms(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the loss of view 1 against view 2, or against the memory bank."""
        queries, positives = F.normalize(self.project(batch["views"]), dim=-1)
        if self.bank is None:
            negatives = negative_similarities(queries, positives, None, gather=self.gather)
        else:
            negatives = self.bank.similarities_with_others(queries, batch["index"])
            # Every process keeps the same bank, with the embeddings of all.
            self.bank.update(gather(batch["index"]), gather(queries.detach()))
        positive = (queries * positives).sum(dim=1)
        if self.loss == "simple":
            value = simple_loss_from_similarities(
                positive, negatives, negative_weight=self.negative_weight, **self.kept
            )
        else:
            value = contrastive_loss_from_similarities(positive, negatives, temperature=self.temperature, **self.kept)
        return {"loss": value}
