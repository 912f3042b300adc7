"""CompA-CLAP."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from dipole.card import Card
from dipole.losses import modular_clap_loss
from dipole.methods.audio.base import SoundText
from dipole.views.sound.composed import ComposedViews


class CompA(SoundText):
    """A model of sounds and texts learns composition, from false texts that hold the same events otherwise.

        1. compose sounds of those of the batch by an expression, such as (A + B) * C: + is after, * is over
        2. texts: the caption, parts that are true of the sound, and false ones: operators exchanged, order exchanged
        3. a sound finds its true texts among its own texts and the captions of the others; a true text its sound

    `--views.pattern order` is the second stage of the paper with one hard negative, `pairs` with more, `modular` the
    third stage. The recipe runs `order` and then `modular`. Start from a trained run: `--init_from RUN`.

    Args:
        temperature: τ at the start.
        **options: arguments of `ModalityEmbedding` and `Method`.

    Example:
        >>> import torch
        >>> sound = {"kind": "sound", "rate": 8000, "samples": 4000}
        >>> facts = {"clip": sound, "caption": {"kind": "text", "vocabulary": 9}}
        >>> method = CompA(modalities=facts, text_encoder="bag")
        >>> inputs = {"clip": torch.rand(2, 4000), "caption": torch.ones(3, 2, 3, dtype=torch.long)}
        >>> present = {name: torch.ones(len(x), dtype=torch.bool) for name, x in inputs.items()}
        >>> counts = {"positives": torch.tensor([0, 0]), "negatives": torch.tensor([1, 0])}
        >>> views = {"inputs": inputs, "present": present, "counts": counts}
        >>> sorted(method.loss_terms({"views": views, "index": torch.arange(2)}))
        ['logit_scale', 'loss']
    """

    card = Card(
        name="compa",
        slug="compa",
        title="CompA: Addressing the Gap in Compositional Reasoning in Audio-Language Models",
        authors="Ghosh, Seth, Kumar, Tyagi, Evuru, Ramaneswaran, Sakshi, Nieto, Duraiswami, Manocha",
        year=2024,
        venue="ICLR",
        arxiv="2310.08753",
        field="audio",
        summary="False texts of the same events, and true parts, teach order and overlap.",
        equations=("hard negatives of the sound's own (stage 2)", "modular contrastive loss (stage 3)"),
        official_code="Sreyan88/CompA",
        differences=(
            "Texts that a sound must not see are left out of its softmax; the code multiplies their logits by −10⁵, "
            "which makes those of negative cosine the largest.",
            "Expressions are fixed, of 2 to 4 events; the authors had 50 written by a language model over AudioSet.",
            "Sounds are composed of those of the batch, in every step anew; batches hold no acoustic neighbours.",
            "Candidates of other processes carry gradients, in the third stage too.",
            "Encoders are named in the settings and small by default; a CLAP of transformers can be opened from disk.",
        ),
    )
    composes = True
    views_class = ComposedViews

    def __init__(self, *, temperature: float = 0.07, **options: Any) -> None:
        super().__init__(temperature=temperature, **options)

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the modular contrastive loss."""
        views = batch["views"]
        audio, texts = (
            self._encode(name, views["inputs"][name], views["present"][name])[1] for name in (self.sound, self.text)
        )
        loss = modular_clap_loss(
            audio,
            texts,
            views["counts"]["positives"],
            views["counts"]["negatives"],
            temperature=self.temperature,
            gather=self.gather,
        )
        return {"loss": loss, "logit_scale": self.logit_scale().detach()}
