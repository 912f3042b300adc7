"""TeminAL."""

from collections.abc import Mapping
from typing import Any, Literal

from torch import Tensor

from dipole.card import Card
from dipole.losses import clip_loss, tnce_loss
from dipole.methods.audio.base import SoundText
from dipole.ops.checks import check_at_least, check_choice
from dipole.views.sound.arranged import BLOCKS, ArrangedViews, Arrangements, Phase


class TeminAL(SoundText):
    """A model of sounds and texts learns which of two sounds came first, after it has learned that there are two.

        1. draw pairs of sounds with different captions
        2. phase "several": CLIP's loss of single sounds, "x", and pairs, "x and y"
           phase "time":    the pair in order, inverted and overlaid, "x before y", "y before x", "x while y";
                            each finds its text among all, the other arrangements of the same pair included (TNCE)

    The recipe runs both phases, one after the other. Start from a trained run: `--init_from RUN`.

    Args:
        phase: see above.
        arrangements: of the phase "time": `"forward"` alone, `"inverted"` beside it, `"overlaid"` beside both.
        alpha_same: weight of the same pair in another arrangement, see `tnce_loss`.
        alpha_cross: weight of the other pairs' arrangements.
        beta: weight of all blocks but the forward one.
        blocks: how blocks are added up, `"sum"` or `"weighted_mean"`.
        temperature: τ at the start.
        **options: arguments of `ModalityEmbedding` and `Method`.

    Example:
        >>> import torch
        >>> sound = {"kind": "sound", "rate": 8000, "samples": 4000}
        >>> facts = {"clip": sound, "caption": {"kind": "text", "vocabulary": 9}}
        >>> method = TeminAL(modalities=facts, text_encoder="bag", arrangements="forward")
        >>> inputs = {"clip": torch.rand(2, 4000), "caption": torch.ones(2, 2, 3, dtype=torch.long)}
        >>> present = {name: torch.ones(2, dtype=torch.bool) for name in facts}
        >>> sorted(method.loss_terms({"views": {"inputs": inputs, "present": present}, "index": torch.arange(2)}))
        ['logit_scale', 'loss']
    """

    card = Card(
        name="teminal",
        slug="teminal",
        title="Enhancing Audio-Language Models through Self-Supervised Post-Training with Text-Audio Pairs",
        authors="Sinha, Migozzi, Rey, Zhang",
        year=2024,
        venue="arXiv",
        arxiv="2408.09269",
        field="audio",
        summary="Pairs of sounds in order, inverted and overlaid are negatives of each other.",
        equations=("stage A: CLAP's loss of single and of two sounds", "stage B: TNCE over three blocks"),
        official_code="",
        differences=(
            "No code was found and the paper's body was not available: the coupling of the overlaid block, the weights "
            "and the tasks of the evaluation are inferred from its parent, TACT, and from public reviews.",
            "TACT's code begins the weights of the inverted block in the middle of the forward one: not reproduced.",
            "The parts of a composed sound are cut so that it is as long as a single one.",
            "No layers are frozen; TACT freezes the first five of a tower. `--method.locked` freezes a whole encoder.",
            "Pairs of captions that repeat within a batch are left out.",
        ),
    )
    composes = True
    views_class = ArrangedViews

    def __init__(
        self,
        *,
        phase: Phase = "time",
        arrangements: Arrangements = "overlaid",
        alpha_same: float = 1.0,
        alpha_cross: float = 1.0,
        beta: float = 1.0,
        blocks: Literal["sum", "weighted_mean"] = "sum",
        temperature: float = 0.07,
        **options: Any,
    ) -> None:
        super().__init__(temperature=temperature, **options)
        check_choice(phase, ("several", "time"), "phase")
        check_choice(arrangements, tuple(BLOCKS), "arrangements")
        check_choice(blocks, ("sum", "weighted_mean"), "blocks")
        for name, value in (("alpha_same", alpha_same), ("alpha_cross", alpha_cross), ("beta", beta)):
            check_at_least(value, 0, name)
        self.phase, self.arrangements, self.blocks = phase, arrangements, blocks
        self.alpha_same, self.alpha_cross, self.beta = alpha_same, alpha_cross, beta

    def build_views(self, **options: Any) -> ArrangedViews:
        """Return the views that the method trains on."""
        views = super().build_views(phase=self.phase, arrangements=self.arrangements, **options)
        assert isinstance(views, ArrangedViews)
        return views

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the loss of the phase."""
        number = 2 if self.phase == "several" else BLOCKS[self.arrangements]
        encoded = self.encode(batch["views"])
        pairs = [
            encoded.embeddings[name].unflatten(0, (number, -1)).transpose(0, 1) for name in (self.sound, self.text)
        ]
        kept = encoded.present[self.sound].unflatten(0, (number, -1))[0]
        (audio, text), gather = self.joined(pairs, kept)
        if self.phase == "several":
            loss = clip_loss(audio.flatten(0, 1), text.flatten(0, 1), temperature=self.temperature, gather=gather)
        else:
            loss = tnce_loss(
                audio.transpose(0, 1),
                text.transpose(0, 1),
                temperature=self.temperature,
                alpha_same=self.alpha_same,
                alpha_cross=self.alpha_cross,
                beta=self.beta,
                reduction=self.blocks,
                gather=gather,
            )
        return {"loss": loss, "logit_scale": self.logit_scale().detach()}
