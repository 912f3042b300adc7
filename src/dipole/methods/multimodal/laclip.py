"""LaCLIP."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor

from dipole.card import Card
from dipole.errors import InputError
from dipole.losses import clip_loss, multi_text_clip_loss
from dipole.methods.multimodal.base import ModalityEmbedding, rows
from dipole.ops.checks import check_choice
from dipole.views.modalities import CaptionRewriteViews, ModalityViews


class LaCLIP(ModalityEmbedding):
    """CLIP, with one of several wordings of an image's caption, drawn anew each time.

        1. beforehand, a language model has rewritten every caption M times (`dipole rewrite`)
        2. in each step, the caption of an image is one of the M + 1, each as likely
        3. minimise CLIP's loss

    With `multi_text` all of them are read in each step, and the loss is averaged over them (LaCLIP-MT).

    Args:
        multi_text: read all captions of an image in each step.
        text_to_image: of `multi_text`: whether every caption looks for its image, or the first one only.
        temperature: τ at the start.
        adam_beta2: β₂ of AdamW.
        **options: arguments of `ModalityEmbedding` and `Method`.

    Example:
        >>> import torch
        >>> vector = {"kind": "vector", "mean": [0.0], "std": [1.0], "width": 1}
        >>> method = LaCLIP(modalities={"image": vector, "caption": {"kind": "text", "vocabulary": 9}})
        >>> method.build_views().captions
        'random'
    """

    card = Card(
        name="laclip",
        slug="laclip",
        title="Improving CLIP Training with Language Rewrites",
        authors="Fan, Krishnan, Isola, Katabi, Tian",
        year=2023,
        venue="NeurIPS",
        arxiv="2305.20088",
        field="multimodal",
        summary="CLIP with captions that a language model has rewritten, one of which is drawn in each step.",
        equations=("the choice of a caption", "CLIP's loss", "the loss of several texts (LaCLIP-MT)"),
        official_code="LijieFan/LaCLIP",
        differences=(
            "LaCLIP-MT [from memory of the paper; the authors published no code of it] takes the mean over the M + 1 "
            "texts, where the paper's prefactor may be 1 / M, in both directions: `--method.text_to_image first` has "
            "the original caption alone look for its image.",
            "What a rewrite says is read behind the prompt; the authors' reader returns a piece of a caption that "
            'contains "=>".',
            "Encoders are named in the settings and small by default, not a ViT with normalised queries and keys.",
            "1 / τ is also kept above 1.",
        ),
    )
    views_class: ClassVar[type[ModalityViews]] = CaptionRewriteViews

    def __init__(
        self,
        *,
        multi_text: bool = False,
        text_to_image: Literal["all", "first"] = "all",
        temperature: float = 0.07,
        adam_beta2: float = 0.98,
        **options: Any,
    ) -> None:
        super().__init__(temperature=temperature, adam_beta2=adam_beta2, **options)
        check_choice(text_to_image, ("all", "first"), "text_to_image")
        kinds = {name: facts["kind"] for name, facts in self.modalities.items()}
        if len(kinds) != 2 or list(kinds.values()).count("text") != 1:
            raise InputError(f"the modalities are {kinds}: expected a text and one other (loading.modalities).")
        self.text = next(name for name, kind in kinds.items() if kind == "text")
        self.other = next(name for name in kinds if name != self.text)
        self.multi_text, self.text_to_image = multi_text, text_to_image

    def build_views(self, **options: Any) -> ModalityViews:
        """Return the views that the method trains on."""
        return super().build_views(**({**options, "captions": "all"} if self.multi_text else options))

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return CLIP's loss, with one caption or averaged over all of them."""
        z = self.encode(batch["views"])
        # Versions go behind the rows, so that rows can be chosen and gathered.
        texts = z.embeddings[self.text].transpose(0, 1) if self.multi_text else z.embeddings[self.text]
        both = z.present[self.text] & z.present[self.other]
        (image, text), gather = self.joined([z.embeddings[self.other], texts], both)
        if rows(image, gather) < 2:
            loss = self.nothing(image, text)
        elif self.multi_text:
            loss = multi_text_clip_loss(
                image,
                text.transpose(0, 1),
                temperature=self.temperature,
                text_to_image=self.text_to_image,
                gather=gather,
            )
        else:
            loss = clip_loss(image, text, temperature=self.temperature, gather=gather)
        return {"loss": loss, "logit_scale": self.logit_scale().detach()}
