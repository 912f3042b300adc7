"""DITO: a detector's neck and head that captions have trained name boxes that nobody has drawn.

Canvases of 32 by 32 pixels hold two handwritten digits at random places and noise; the caption is two number words.
Stage 1 trains a small convolutional encoder and word vectors by CLIP's loss, once for each seed. Stage 2, which some
arms leave out, trains pyramid and head on boxes at random with the caption of the whole canvas. Stage 3 trains them to
name the boxes of digits 0 to 6, on canvases that hold no other. Judged: the accuracy with which the head names boxes of
test canvases, those of the digits 7 to 9, of which no box was ever shown, and those of 0 to 6, pretrained with the
maximum over boxes against heads that begin with stage 3 (margins five points). Those are also given the epochs of stage
2 on top of their own, as a fair share of time.

Read in the stored result, after the runs: inconclusive; three seeds differ widely. Boxes of base classes alone make the
head forget the novel ones: heads trained longer from scratch are the best on base classes and name no novel one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from dipole.claims.base import Arm, Claim, Comparison, Data, Metrics
from dipole.data.digits import load_digits
from dipole.evaluation.detection import region_text_logits
from dipole.losses import region_classification_loss
from dipole.methods.multimodal.dito import DITO

SIDE, DIGIT, BASE = 32, 12, 7
EPOCHS, IMAGE_EPOCHS, BATCH = 5, 16, 50
IMAGE_ROWS, REGION_ROWS = 1000, 500
RATE, IMAGE_RATE = 1e-3, 3e-3
FACTS: dict[str, Any] = {"image": {"kind": "image", "size": SIDE}, "caption": {"kind": "text", "vocabulary": 10}}


class Canvases(NamedTuple):
    """Attributes:

    images: (N, 3, 32, 32) in [0, 1].
    digits: (N, 2).
    boxes: (N, 2, 4).
    """

    images: Tensor
    digits: Tensor
    boxes: Tensor


def draw_canvases(count: int, *, test: bool, base_only: bool = False, seed: int = 0) -> Canvases:
    """Draw canvases with two digits each, one in the left half and one in the right.

    Args:
        count: N.
        test: with digits that are not among those of training.
        base_only: without the digits from 7 on.
        seed: of everything drawn.

    Example:
        >>> canvases = draw_canvases(3, test=True, base_only=True)
        >>> canvases.images.shape, bool((canvases.digits < 7).all())
        (torch.Size([3, 3, 32, 32]), True)
    """
    generator = torch.Generator().manual_seed(seed)
    digits = load_digits()[int(test)]
    labels = digits.labels["label"]
    known = (labels < BASE).nonzero().flatten() if base_only else torch.arange(len(labels))
    which = known[torch.randint(len(known), (count, 2), generator=generator)]
    pictures = nn.functional.interpolate(digits.images[which.flatten()].float() / 255, DIGIT, mode="bilinear")
    pictures = pictures.mean(dim=1).view(count, 2, DIGIT, DIGIT)
    y = torch.randint(SIDE - DIGIT, (count, 2), generator=generator)
    x = torch.randint(SIDE // 2 - DIGIT, (count, 2), generator=generator) + torch.tensor([0, SIDE // 2])
    images = 0.2 * torch.rand(count, 1, SIDE, SIDE, generator=generator)
    for row in range(count):
        for side in range(2):
            top, left = int(y[row, side]), int(x[row, side])
            images[row, 0, top : top + DIGIT, left : left + DIGIT] += 0.8 * pictures[row, side]
    boxes = torch.stack([y, x, y + DIGIT, x + DIGIT], dim=-1).float()
    return Canvases(images.expand(-1, 3, -1, -1), labels[which], boxes)


class SmallMap(nn.Sequential):
    """Convolutions to a map of a quarter of the side; as an encoder, the mean over the map.

    Example:
        >>> SmallMap()(torch.zeros(2, 3, 32, 32)).shape
        torch.Size([2, 64])
    """

    width = 64

    def __init__(self) -> None:
        layers: list[nn.Module] = []
        for channels, out, stride in ((3, 32, 2), (32, 64, 2), (64, 64, 1)):
            layers += [nn.Conv2d(channels, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out), nn.ReLU()]
        super().__init__(*layers)

    def feature_map(self, images: Tensor) -> Tensor:
        """Return a map (B, 64, 8, 8)."""
        found: Tensor = super().forward(images)
        return found

    def forward(self, images: Tensor) -> Tensor:
        """Return features (B, 64)."""
        return self.feature_map(images).mean(dim=(2, 3))


def build(objective: Any, pool: Any = "max") -> DITO:
    """Return a model with an objective."""
    return DITO(
        modalities=FACTS,
        encoders={"image": SmallMap()},
        objective=objective,
        region_pool=pool,
        boxes=8,
        text_encoder="bag-64",
        embedding_dim=64,
        pyramid_channels=32,
        head_hidden=128,
        crop_size=5,
    )


def batch_of(canvases: Canvases, rows: Tensor) -> dict[str, Any]:
    """Return canvases and captions as a method takes them."""
    words = torch.stack([canvases.digits[rows], torch.ones_like(canvases.digits[rows])], dim=1)
    present = {name: torch.ones(len(rows), dtype=torch.bool) for name in FACTS}
    return {"views": {"inputs": {"image": canvases.images[rows], "caption": words}, "present": present}}


def epochs_of(method: DITO, rows: int, epochs: int, rate: float) -> Iterator[Tensor]:
    """Yield the rows of each batch, and step the optimiser on the gradients that are there then."""
    trained = [p for p in method.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(trained, rate, weight_decay=0.01)
    method.train()
    for _ in range(epochs):
        for part in torch.randperm(rows).split(BATCH):
            optimizer.zero_grad()
            yield part
            optimizer.step()
            method.logit_scale.clamp_()
    method.eval()


@lru_cache(maxsize=8)
def whole_images(seed: int) -> DITO:
    """Return the model of stage 1."""
    torch.manual_seed(seed)
    method, canvases = build("image"), draw_canvases(IMAGE_ROWS, test=False, seed=seed)
    for rows in epochs_of(method, len(canvases.images), IMAGE_EPOCHS, IMAGE_RATE):
        method.loss_terms(batch_of(canvases, rows))["loss"].backward()
    return method


def name_logits(method: DITO, canvases: Canvases, rows: Tensor, names: int) -> Tensor:
    """Return what the head says of the boxes of canvases, (N, 2, names)."""
    words = torch.stack([torch.arange(names), torch.ones(names, dtype=torch.long)], dim=1)[..., None]
    text = method.embed({"caption": words}).expand(len(rows), -1, -1)
    embedded, _ = method.region_embeddings(canvases.images[rows], canvases.boxes[rows])
    return region_text_logits(embedded, text, temperature=method.temperature.detach())


@dataclass(frozen=True)
class NamedBoxes(Data):
    """Canvases of two digits, and boxes of those from 0 to 6.

    Args:
        pool: of the boxes in stage 2; empty to leave it out.
        epochs: of stage 3.
        name: of the digits.
    """

    pool: str
    epochs: int = 2
    name: str = "digits"

    tuning_metric = "base"
    tuning = "one learning rate for all, set beforehand"

    @property
    def label(self) -> str:
        """The canvases."""
        return "canvases of two digits"

    def load(self, data_root: str | Path | None = None) -> Canvases:
        """Return canvases to be judged by."""
        return draw_canvases(500, test=True, seed=10_000)

    def size(self, loaded: Canvases) -> int:
        """Number of training canvases of stages 2 and 3."""
        return REGION_ROWS

    def once(self, claim: Claim, arm: Arm, rate: float, seed: int, loaded: Canvases, *, tune: bool) -> Metrics:
        """Train the stages, and name the boxes of test canvases."""
        first = whole_images(seed)
        torch.manual_seed(seed)
        method = build("regions", self.pool or "max")
        method.encoders.load_state_dict(first.encoders.state_dict())
        method.projections.load_state_dict(first.projections.state_dict())
        method.logit_scale.load_state_dict(first.logit_scale.state_dict())
        if self.pool:
            canvases = draw_canvases(REGION_ROWS, test=False, seed=seed)
            for rows in epochs_of(method, len(canvases.images), EPOCHS, rate):
                method.loss_terms(batch_of(canvases, rows))["loss"].backward()
        canvases = draw_canvases(REGION_ROWS, test=False, base_only=True, seed=seed + 5000)
        for rows in epochs_of(method, len(canvases.images), self.epochs, rate):
            logits = name_logits(method, canvases, rows, BASE)
            region_classification_loss(logits, canvases.digits[rows], background_weight=1.0).backward()
        with torch.inference_mode():
            found = name_logits(method, loaded, torch.arange(len(loaded.images)), 10).argmax(dim=-1)
        right, novel = found == loaded.digits, loaded.digits >= BASE
        return {"novel": float(right[novel].float().mean()), "base": float(right[~novel].float().mean())}


def _arm(name: str, pool: str, epochs: int = 2) -> Arm:
    """One way of preparing the head."""
    return Arm(name, "dito", NamedBoxes(pool, epochs), epochs + (EPOCHS if pool else 0), BATCH, (RATE,))


CLAIM = Claim(
    slug="dito",
    title="Region-centric Image-Language Pretraining for Open-Vocabulary Detection",
    statement="Heads pretrained by captions on boxes at random name boxes better, of base and of novel classes.",
    paper="LVIS, mask AP of rare classes 40.5 with DataComp-1B, +3.7 over the best before (abstract, second version).",
    arms=(
        _arm("from scratch", ""),
        _arm("from scratch, longer", "", 2 + EPOCHS),
        _arm("pretrained, max", "max"),
        _arm("pretrained, mean", "mean"),
    ),
    comparisons=(
        Comparison("novel, pretrained − from scratch", "pretrained, max", "from scratch", "novel", margin=0.05),
        Comparison("novel, pretrained − longer", "pretrained, max", "from scratch, longer", "novel", margin=0.05),
        Comparison("base, pretrained − from scratch", "pretrained, max", "from scratch", "base", margin=0.05),
        Comparison(
            "base, pretrained − longer", "pretrained, max", "from scratch, longer", "base", margin=0.05, judged=False
        ),
        Comparison("novel, max − mean", "pretrained, max", "pretrained, mean", "novel", margin=0.05, judged=False),
    ),
    seeds=(0, 1, 2),
    notes=(
        "True boxes are named; proposals play no part.",
        "Stage 1 sees 1,000 canvases, stages 2 and 3 see 500 each.",
        "The image encoder is convolutional and frozen after stage 1; all arms of a seed share it.",
        "No arm's learning rate is tuned: 0.001 in stages 2 and 3, 0.003 in stage 1.",
    ),
)
