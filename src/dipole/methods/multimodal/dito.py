"""DITO."""

import math
from collections.abc import Mapping
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dipole.card import Card
from dipole.errors import InputError
from dipole.evaluation.detection import Detections, fuse_scores, region_text_logits, select_detections
from dipole.losses import clip_loss, region_contrastive_loss
from dipole.methods.multimodal.base import ModalityEmbedding, rows
from dipole.nn.feature_pyramid import RegionHead, SimpleFeaturePyramid
from dipole.nn.windowed_vit import WindowedImageEncoder
from dipole.ops import grid_boxes, random_boxes, rescale_boxes
from dipole.ops.boxes import crop_from_level, roi_align_multilevel
from dipole.ops.checks import check_at_least, check_choice

CANONICAL_TOKENS = 14  # a box of 224 pixels belongs to the level of patches of 16 pixels
FROZEN_CROP, FROZEN_SCALE = 14, 0.7


class DITO(ModalityEmbedding):
    """The neck and the head of a detector learn from captions alone: regions at random, one caption for all of them.

        first stage:      CLIP's loss of the mean of a vision transformer's map and the caption
        second stage:     1. pyramid of the map           2. K boxes at random on every level
                          3. e = head(crop of the box)    4. z_l = max over the boxes
                          5. CLIP's loss of every z_l and the caption, averaged over the levels

    The second stage starts from the first one, whose encoders it leaves as they are. `detect` then finds what has a
    name: scores of the head and of the image-text model together, of boxes all over the image.

    Args:
        objective: that of the first stage, `"image"`, or of the second, `"regions"`.
        freeze_encoders: in the second stage.
        boxes: K.
        region_pool: `"max"`, or the weaker `"mean"`.
        level_reduction: `"mean"` or `"sum"` over the levels.
        vit_width: of the vision transformer, a multiple of 4 and of its heads.
        vit_heads: of its attention.
        vit_blocks: their number; every second one attends everywhere, the others within 2 × 2 windows.
        patch_size: pixels of a patch, a power of two.
        shift: tokens by which a second pass is shifted; 0 for one pass.
        pyramid_channels: of every level.
        head_convolutions: of the head.
        head_hidden: width of the head's hidden layer.
        crop_size: cells of a crop a side.
        temperature: τ at the start.
        modalities: facts of an image and a text by name; the data give them.
        encoders: of the text, in place of `text_encoder`; of the image, a module with `width` and `feature_map`, whose
            stride is `patch_size`, in place of the transformer above.
        **options: arguments of `ModalityEmbedding` and `Method`.

    Raises:
        InputError: the modalities are not an image and a text, or an argument is out of range.

    Example:
        >>> facts = {"image": {"kind": "image", "size": 16}, "caption": {"kind": "text", "vocabulary": 9}}
        >>> method = DITO(modalities=facts, vit_width=8, vit_heads=2, pyramid_channels=4, head_hidden=8)
        >>> present = {name: torch.ones(4, dtype=torch.bool) for name in facts}
        >>> inputs = {"image": torch.rand(4, 3, 16, 16), "caption": torch.ones(4, 2, 5, dtype=torch.long)}
        >>> sorted(method.loss_terms({"views": {"inputs": inputs, "present": present}, "index": torch.arange(4)}))
        ['logit_scale', 'loss']
    """

    card = Card(
        name="dito",
        slug="dito",
        title="Region-centric Image-Language Pretraining for Open-Vocabulary Detection",
        authors="Kim, Angelova, Kuo",
        year=2024,
        venue="ECCV",
        arxiv="2310.00161",
        field="multimodal",
        summary="A detector's pyramid and head are trained by captions, through boxes at random.",
        equations=(
            "the loss of pretraining, and its parts",
            "shifted-window learning",
            "scores of a detector and a frozen model, put together",
            "losses of proposals and of regions",
        ),
        official_code="google-research/google-research, fvlm/dito",
        differences=(
            "The authors published no code of the pretraining: boxes are uniform; the mean over the levels is taken.",
            "There is no network for proposals and no fine-tuning with boxes: candidates are boxes all over the image, "
            "whose objectness is what the background does not take.",
            "The trained and the frozen backbone are one, since the second stage leaves the encoders as they are.",
            "Images are small and square; the level of a box is relative to the patches: 14 tokens a side, as at 1024 "
            "pixels, belong to the map's own level.",
            "Classes of a detection are compared at the learned temperature, not at 0.01.",
        ),
    )

    def __init__(
        self,
        *,
        objective: Literal["image", "regions"] = "regions",
        freeze_encoders: bool = True,
        boxes: int = 16,
        region_pool: Literal["max", "mean"] = "max",
        level_reduction: Literal["mean", "sum"] = "mean",
        vit_width: int = 64,
        vit_heads: int = 4,
        vit_blocks: int = 4,
        patch_size: int = 4,
        shift: int = 0,
        pyramid_channels: int = 64,
        head_convolutions: int = 1,
        head_hidden: int = 256,
        crop_size: int = 7,
        temperature: float = 0.07,
        modalities: dict[str, Any] | None = None,
        encoders: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        check_choice(objective, ("image", "regions"), "objective")
        for name, value in (("boxes", boxes), ("vit_blocks", vit_blocks), ("crop_size", crop_size)):
            check_at_least(value, 1, name)
        self_image = self._image_of(modalities or {})
        level = round(math.log2(patch_size)) if patch_size > 0 else 0
        size = (modalities or {})[self_image]["size"]
        if 2**level != patch_size or level < 2 or size % (2 * patch_size):
            raise InputError(
                f"patch_size is {patch_size} for images of {size} pixels: expected a power of two from 4 on, of which "
                "an even number fits into a side."
            )
        given = (encoders or {}).get(self_image)
        if given is not None and not hasattr(given, "feature_map"):
            raise InputError("the image encoder has no feature_map: leave it out for the vision transformer.")
        vit = given or WindowedImageEncoder(
            vit_width,
            vit_heads,
            windows=[None if block % 2 else 2 for block in range(vit_blocks)],
            patch_size=patch_size,
            grid=size // patch_size,
            shift=shift,
        )
        super().__init__(
            modalities=modalities, encoders={**(encoders or {}), self_image: vit}, temperature=temperature, **options
        )
        self.image, self.text = self_image, next(name for name in self.modalities if name != self_image)
        self.objective, self.freeze_encoders = objective, freeze_encoders
        self.boxes, self.crop_size, self.level = boxes, crop_size, level
        self.region_pool, self.level_reduction = region_pool, level_reduction
        self.pyramid = SimpleFeaturePyramid(
            int(vit.width), pyramid_channels, input_level=level, levels=tuple(range(level - 2, level + 2))
        )
        self.head = RegionHead(
            pyramid_channels,
            self.embedding_dim,
            size=crop_size,
            convolutions=head_convolutions,
            convolution_channels=pyramid_channels,
            hidden=head_hidden,
        )
        self.head.codes.requires_grad_(False)  # boxes are not corrected before a detector is trained with boxes
        if objective == "image":
            self.pyramid.requires_grad_(False)
            self.head.requires_grad_(False)
        elif freeze_encoders:
            self.encoders.requires_grad_(False)
            self.projections.requires_grad_(False)

    @staticmethod
    def _image_of(modalities: Mapping[str, Any]) -> str:
        """The name of the image, of an image and a text."""
        kinds = {name: facts["kind"] for name, facts in modalities.items()}
        if sorted(kinds.values()) != ["image", "text"]:
            raise InputError(f"the modalities are {kinds}: expected an image and a text (loading.modalities).")
        return next(name for name, kind in kinds.items() if kind == "image")

    def train(self, mode: bool = True) -> "DITO":
        """Set the mode of all but frozen encoders."""
        super().train(mode)
        if self.objective == "regions" and self.freeze_encoders:
            self.encoders.eval()
        return self

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return CLIP's loss of images or of regions."""
        views = batch["views"]
        both = views["present"][self.image] & views["present"][self.text]
        text = self._encode(self.text, views["inputs"][self.text], both)[1]
        if self.objective == "image":
            parts = [self._encode(self.image, views["inputs"][self.image], both)[1], text]
        else:
            regions = self.random_regions(views["inputs"][self.image])
            parts = [regions.transpose(0, 1), text]
        (image, text), gather = self.joined(parts, both)
        if rows(text, gather) < 2:
            loss = self.nothing(image, text)
        elif self.objective == "image":
            loss = clip_loss(image, text, temperature=self.temperature, gather=gather)
        else:
            loss = region_contrastive_loss(
                image.transpose(0, 1),
                text,
                temperature=self.temperature,
                pool=self.region_pool,
                levels=self.level_reduction,
                gather=gather,
            )
        return {"loss": loss, "logit_scale": self.logit_scale().detach()}

    def random_regions(
        self, images: Float[Tensor, "b 3 s s"], generator: torch.Generator | None = None
    ) -> Float[Tensor, "l b k d"]:
        """Return embeddings of boxes at random, on every level."""
        size = images.shape[2:]
        found = []
        for level, feature in self.pyramid(self.vit.feature_map(images)).items():
            boxes = random_boxes(len(images), self.boxes, (size[0], size[1]), generator=generator).to(images.device)
            found.append(self.head(crop_from_level(feature, boxes, 2**level, self.crop_size))[0])
        return torch.stack(found)

    @property
    def vit(self) -> Any:
        """The image encoder, which also gives a map."""
        return self.encoders[self.image]

    def region_embeddings(
        self, images: Float[Tensor, "b 3 s s"], boxes: Float[Tensor, "b k 4"]
    ) -> tuple[Float[Tensor, "b k d"], Float[Tensor, "b k d"]]:
        """Return embeddings of boxes by the head, and by the image-text model.

        Args:
            images: (B, 3, S, S) in [0, 1].
            boxes: (B, K, 4), [y1, x1, y2, x2] in pixels.
        """
        feature = self.vit.feature_map(images)
        side = float(CANONICAL_TOKENS * 2**self.level)
        crops = roi_align_multilevel(self.pyramid(feature), boxes, self.crop_size, side=side, level=self.level)
        size = images.shape[2:]
        smaller = rescale_boxes(boxes, FROZEN_SCALE, (size[0], size[1]))
        frozen = crop_from_level(feature, smaller, 2**self.level, FROZEN_CROP).mean(dim=(3, 4))
        return self.head(crops)[0], self.projections[self.image](frozen)

    @torch.no_grad()
    def detect(
        self,
        images: Float[Tensor, "b 3 s s"],
        names: Float[Tensor, "c d"],
        base: Bool[Tensor, "c"] | None = None,
        *,
        base_weight: float = 0.35,
        novel_weight: float = 0.65,
        objectness_power: float = 1.0,
        nms_threshold: float = 0.5,
        score_threshold: float = 0.05,
        maximum: int = 100,
    ) -> list[Detections]:
        """Find what has a name.

        Args:
            images: (B, 3, S, S) in [0, 1].
            names: (C, D) text embeddings, see `embed`; the first is that of the background.
            base: (C,) True where boxes of a class were trained on.
            base_weight: see `fuse_scores`; so are the next two.
            novel_weight: of the image-text model for novel classes.
            objectness_power: of 1 − the detector's probability of the background.
            nms_threshold: see `select_detections`; so are the next two.
            score_threshold: scores at or below it are left out.
            maximum: boxes of an image.

        Returns:
            Detections of each image, classes counted from 1 as in `names`.
        """
        size = images.shape[2:]
        grid = grid_boxes((size[0], size[1])).to(images.device)
        found = []
        for image in images:
            embedded = self.region_embeddings(image[None], grid[None])
            detector, frozen = (region_text_logits(e, names[None], temperature=self.temperature) for e in embedded)
            objectness = (1 - detector.softmax(dim=-1)[..., 0]).clamp(0, 1)
            scores = fuse_scores(
                detector,
                frozen,
                objectness,
                None if base is None else base[None],
                base_weight=base_weight,
                novel_weight=novel_weight,
                objectness_power=objectness_power,
            )
            options: dict[str, Any] = {"nms_threshold": nms_threshold, "score_threshold": score_threshold}
            found.append(select_detections(grid, scores[0], maximum=maximum, **options))
        return found
