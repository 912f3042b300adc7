"""CLIP, between two modalities or every two of several."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from dipole.card import Card
from dipole.losses import clip_loss
from dipole.methods.multimodal.base import ModalityEmbedding


class CLIP(ModalityEmbedding):
    """The two modalities of a sample find each other among those of the batch.

        1. x = encoder and projection of the one, y = of the other          2. s_ij = cos(x_i, y_j) / τ
        3. minimise the cross entropy of finding j = i along the rows of s, and along its columns

    With three modalities or more, the losses of all pairs are added, as in the baseline of Symile. 1 / τ is learned and
    kept at 100 or less.

    Args:
        temperature: τ at the start.
        **options: arguments of `ModalityEmbedding` and `Method`.

    Example:
        >>> import torch
        >>> vector = {"kind": "vector", "mean": [0.0], "std": [1.0], "width": 1}
        >>> method = CLIP(modalities={"a": vector, "b": vector})
        >>> present = torch.ones(4, dtype=torch.bool)
        >>> views = {"inputs": {name: torch.rand(4, 1) for name in "ab"}, "present": {"a": present, "b": present}}
        >>> sorted(method.loss_terms({"views": views, "index": torch.arange(4)}))
        ['logit_scale', 'loss']
    """

    card = Card(
        name="clip",
        slug="laclip",
        title="Learning Transferable Visual Models From Natural Language Supervision",
        authors="Radford, Kim, Hallacy, Ramesh, Goh, Agarwal, Sastry, Askell, Mishkin, Clark, Krueger, Sutskever",
        year=2021,
        venue="ICML",
        arxiv="2103.00020",
        field="multimodal",
        summary="Image and text of a pair find each other among those of the batch.",
        equations=("the symmetric cross entropy of figure 3", "learned temperature, 1 / τ ≤ 100"),
        official_code="openai/CLIP",
        differences=(
            "The authors published no training code; the loss is that of the code of LaCLIP, with whose values it is "
            "compared.",
            "Encoders are named in the settings and small by default, not a ResNet-50 with attention pooling and a "
            "transformer of 12 layers.",
            "Candidates of other processes carry gradients, so that two processes compute what one does.",
            "1 / τ is also kept above 1.",
            "With several captions of an image, the first one is read: `--views.captions random` draws one.",
        ),
    )

    def __init__(self, *, temperature: float = 0.07, **options: Any) -> None:
        super().__init__(temperature=temperature, **options)

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return CLIP's loss of every pair of modalities, added up."""
        loss = self.over_pairs(
            self.encode(batch["views"]),
            lambda x, y, gather: clip_loss(x, y, temperature=self.temperature, gather=gather),
        )
        return {"loss": loss, "logit_scale": self.logit_scale().detach()}
