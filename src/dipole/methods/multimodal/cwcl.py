"""CWCL."""

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from dipole.card import Card
from dipole.errors import InputError
from dipole.losses import cwcl_loss
from dipole.methods.multimodal.base import ModalityEmbedding, rows
from dipole.ops.checks import check_choice


class CWCL(ModalityEmbedding):
    """A trainable tower aligns with a frozen one, whose own similarities say how negative a negative is.

        1. p = trainable tower, q = frozen tower, v = the frozen tower's features, without gradient
        2. w_ij = ½ (1 + cos(v_i, v_j)), divided by its sum over j
        3. minimise the cross entropy of q_i finding p_j in proportion to w_ij, plus that of p_i finding q_i alone

    Exactly one modality is `locked`; each of the others is aligned with it.

    Args:
        locked: the frozen modality.
        weighted: which direction is weighted.
        directions: `"sum"` of the two directions or their `"mean"`.
        temperature: τ at the start.
        **options: arguments of `ModalityEmbedding` and `Method`.

    Example:
        >>> import torch
        >>> vector = {"kind": "vector", "mean": [0.0], "std": [1.0], "width": 1}
        >>> method = CWCL(modalities={"text": vector, "speech": vector}, locked="text")
        >>> any(parameter.requires_grad for parameter in method.encoders["text"].parameters())
        False
    """

    card = Card(
        name="cwcl",
        slug="cwcl",
        title="CWCL: Cross-Modal Transfer with Continuously Weighted Contrastive Loss",
        authors="Srinivasa, Cho, Yang, Saidutta, Lee, Shen, Jin",
        year=2023,
        venue="NeurIPS",
        arxiv="2309.14580",
        field="multimodal",
        summary="A tower aligns with a frozen one; the frozen tower's similarities weigh the positives.",
        equations=("weights of the frozen modality", "weighted direction plus plain direction"),
        official_code="",
        differences=(
            "The authors published no code; the formulas are those that a later paper restates, and an independent "
            "implementation gives the same numbers.",
            "The frozen tower's features are the weights' embeddings also if a trainable projection follows them.",
            "Optimiser, schedule and bounds of the temperature follow CLIP [guess]; the paper's are not known.",
        ),
    )

    def __init__(
        self,
        *,
        locked: str = "",
        weighted: Literal["frozen_to_trainable", "trainable_to_frozen", "both"] = "frozen_to_trainable",
        directions: Literal["sum", "mean"] = "sum",
        temperature: float = 0.07,
        **options: Any,
    ) -> None:
        super().__init__(locked=locked, temperature=temperature, **options)
        check_choice(weighted, ("frozen_to_trainable", "trainable_to_frozen", "both"), "weighted")
        check_choice(directions, ("sum", "mean"), "directions")
        if len(self.locked) != 1:
            raise InputError(
                f"locked is {locked!r}: expected the one modality whose encoder is frozen, out of "
                f"{', '.join(self.modalities)}."
            )
        self.weighted, self.directions = weighted, directions

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return CWCL's loss of each trainable modality with the frozen one, added up."""
        encoded = self.encode(batch["views"])
        (frozen,) = self.locked
        loss = self.nothing(encoded.embeddings[frozen])
        for name in encoded.embeddings:
            if name == frozen:
                continue
            both = encoded.present[name] & encoded.present[frozen]
            (p, q, v), gather = self.joined(
                [encoded.embeddings[name], encoded.embeddings[frozen], encoded.features[frozen]], both
            )
            if rows(p, gather) < 2:
                loss = loss + self.nothing(p)
                continue
            loss = loss + cwcl_loss(
                p,
                q,
                weight_embeddings=v,
                temperature=self.temperature,
                weighted=self.weighted,
                directions=self.directions,
                gather=gather,
            )
        return {"loss": loss, "logit_scale": self.logit_scale().detach()}
