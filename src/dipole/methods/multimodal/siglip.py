"""SigLIP."""

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from dipole.card import Card
from dipole.errors import InputError
from dipole.losses import siglip_loss
from dipole.losses.common import accumulate
from dipole.methods.multimodal.base import ModalityEmbedding


class SigLIP(ModalityEmbedding):
    """For every image and every text of the batch it is decided whether they belong together.

        1. x = encoder and projection of the one, y = of the other, of unit length
        2. s_ij = t ⟨x_i, y_j⟩ + b
        3. minimise −1/N Σ_ij log σ(±s_ij), + where i = j

    t and b are learned. b begins far below zero, since nearly all pairs do not belong together. With three modalities
    or more, the losses of all pairs are added.

    Args:
        temperature: 1 / t at the start.
        bias: b at the start.
        **options: arguments of `ModalityEmbedding` and `Method`.

    Example:
        >>> vector = {"kind": "vector", "mean": [0.0], "std": [1.0], "width": 1}
        >>> method = SigLIP(modalities={"a": vector, "b": vector})
        >>> present = torch.ones(4, dtype=torch.bool)
        >>> views = {"inputs": {name: torch.rand(4, 1) for name in "ab"}, "present": {"a": present, "b": present}}
        >>> sorted(method.loss_terms({"views": views, "index": torch.arange(4)}))
        ['logit_bias', 'logit_scale', 'loss']
    """

    card = Card(
        name="siglip",
        slug="siglip",
        title="Sigmoid Loss for Language Image Pre-Training",
        authors="Zhai, Mustafa, Kolesnikov, Beyer",
        year=2023,
        venue="ICCV",
        arxiv="2303.15343",
        field="multimodal",
        summary="Every image and every text of the batch is a decision of its own, with no softmax over the others.",
        equations=("the sigmoid loss of section 3.2", "learned t and b, which begin at 10 and −10"),
        official_code="google-research/big_vision",
        differences=(
            "The loss is compared with its formula in float64 and with open_clip's, not with the authors' code.",
            "Texts are gathered by all processes at once, not passed on from one to the next; the result is the same.",
            "Encoders are named in the settings and small by default, not a ViT with attention pooling.",
        ),
    )
    logit_scale_bounds: ClassVar[tuple[float | None, float | None]] = (None, None)

    def __init__(self, *, temperature: float = 0.1, bias: float = -10.0, **options: Any) -> None:
        super().__init__(temperature=temperature, **options)
        if not math.isfinite(bias):
            raise InputError(f"bias is {bias}: expected a finite number.")
        self.logit_bias = nn.Parameter(torch.tensor(float(bias)))

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the sigmoid loss of every pair of modalities, added up."""
        bias = accumulate(self.logit_bias)
        loss = self.over_pairs(
            self.encode(batch["views"]),
            lambda x, y, gather: siglip_loss(x, y, temperature=self.temperature, bias=bias, gather=gather),
        )
        scale = self.logit_scale().detach()
        return {"loss": loss + 0 * bias, "logit_scale": scale, "logit_bias": bias.detach()}
