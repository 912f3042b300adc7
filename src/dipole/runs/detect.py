"""Find in pictures what has a name, with a run of a method that detects."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dipole.data.coco import BoxedPicture
from dipole.data.decode import UnreadableImageError, decode_crops
from dipole.errors import InputError
from dipole.evaluation.average_precision import PrecisionOfBoxes, boxes_precision
from dipole.evaluation.zero_shot import class_embeddings
from dipole.methods.multimodal.dito import DITO
from dipole.runs.loading import load

BACKGROUND = "background"


@dataclass(frozen=True)
class Found:
    """Something in a picture.

    Args:
        name: what.
        score: 0 to 1.
        box: [x1, y1, x2, y2] in pixels of the picture.
    """

    name: str
    score: float
    box: tuple[float, float, float, float]


class Detector:
    """Finds names in pictures.

    Args:
        run: a run or a model folder of a method that detects, DITO; or the method itself.
        names: what to look for.
        templates: prompts with {} where the name goes, whose embeddings are averaged.
        background: what nothing is called.
        base: of the names, those that were trained on.

    Raises:
        InputError: the method detects nothing, or names are missing, doubled, or not among them.
    """

    def __init__(
        self,
        run: str | Path | DITO,
        names: Sequence[str],
        *,
        templates: Sequence[str] = ("{}",),
        background: str = BACKGROUND,
        base: Collection[str] = (),
    ) -> None:
        method = run if isinstance(run, DITO) else load(run)
        if not isinstance(method, DITO):
            raise InputError(f"{run} is a run of {method.card.name}, which finds no boxes: train dito.")
        if not names or len(set(names)) < len(names) or not all(name.strip() for name in names):
            raise InputError(f"names are {', '.join(map(repr, names)) or 'none'}: expected each once, none empty.")
        unknown = [name for name in base if name not in names]
        if unknown:
            raise InputError(f"base names {unknown[0]!r}, which is not looked for: expected some of the names.")
        self.method, self.names = method, list(names)
        self.base = torch.tensor([False, *(name in base for name in names)]) if base else None
        self.size = int(method.modalities[method.image]["size"])
        self.classes = self._embedded([background, *names], templates)

    @torch.inference_mode()
    def _embedded(self, names: Sequence[str], templates: Sequence[str]) -> Tensor:
        """Text embeddings of the names (C, D), averaged over the prompts."""
        text = self.method.text
        rows: list[dict[str, Any]] = [{text: [prompt.replace("{}", name)]} for name in names for prompt in templates]
        inputs = self.method.build_views().only(text)(rows, self.method.tokenizers)["inputs"]
        embedded = self.method.embed({text: inputs[text].to(self.method.device)})
        return class_embeddings(embedded.unflatten(0, (len(names), len(templates))))

    def __call__(self, path: str | Path, **options: Any) -> list[Found]:
        """Find names in a picture, the best first.

        Args:
            path: of the picture.
            **options: of `DITO.detect`.

        Raises:
            InputError: the file is no picture.
        """
        shape: list[int] = []

        def whole(height: int, width: int) -> Tensor:
            shape.extend((height, width))
            return torch.tensor([[0.0, 0.0, height, width]])

        if not Path(path).is_file():
            raise InputError(f"there is no file {path}: expected a picture.")
        try:
            pixels = decode_crops(Path(path), self.size, whole)
        except UnreadableImageError as error:
            raise InputError(f"{path} cannot be read as a picture: {error}.") from error
        image = torch.from_numpy(pixels).to(self.method.device) / 255
        (found,) = self.method.detect(image, self.classes, self.base, **options)
        scale = torch.tensor([*shape, *shape]) / self.size
        return [
            Found(self.names[kind - 1], score, (box[1], box[0], box[3], box[2]))
            for box, score, kind in zip(
                (found.boxes.cpu() * scale).tolist(), found.scores.tolist(), found.classes.tolist(), strict=True
            )
        ]


def measure_boxes(
    detector: Detector, pictures: Sequence[BoxedPicture], base: Collection[str] = (), **options: Any
) -> PrecisionOfBoxes:
    """Measure a detector on pictures with boxes; every detection counts, whatever its score.

    Args:
        detector: of the names of the boxes.
        pictures: see `read_coco`.
        base: names that were trained on.
        **options: of `DITO.detect`.
    """
    places = {name: place for place, name in enumerate(detector.names)}
    predictions, targets = [], []
    for picture in pictures:
        found = detector(picture.path, **{"score_threshold": 0.0, **options})
        predictions.append(
            {
                "boxes": torch.tensor([one.box for one in found]).view(-1, 4),
                "scores": torch.tensor([one.score for one in found]),
                "labels": torch.tensor([places[one.name] for one in found], dtype=torch.long),
            }
        )
        corners = torch.tensor(picture.boxes).view(-1, 4)
        targets.append(
            {
                "boxes": torch.cat([corners[:, :2], corners[:, :2] + corners[:, 2:]], dim=1),
                "labels": torch.tensor([places[name] for name in picture.names], dtype=torch.long),
                "iscrowd": torch.tensor(picture.crowd, dtype=torch.long),
            }
        )
    return boxes_precision(predictions, targets, detector.names, base)


def draw_boxes(path: str | Path, found: Sequence[Found], out: str | Path) -> None:
    """Write a picture with boxes and names in it, as PNG.

    Args:
        path: of the picture.
        found: what is in it.
        out: file to write.
    """
    from PIL import Image, ImageDraw, ImageOps

    from dipole.files import atomic_write

    with Image.open(path) as opened:
        picture = ImageOps.exif_transpose(opened).convert("RGB")
    names = sorted({one.name for one in found})
    pen, width = ImageDraw.Draw(picture), max(1, round(min(picture.size) / 150))
    for one in reversed(found):  # the best on top
        hue = 360 * names.index(one.name) // len(names)
        pen.rectangle(one.box, outline=f"hsl({hue}, 90%, 45%)", width=width)
        pen.text((one.box[0] + width, one.box[1] + width), f"{one.name} {one.score:.2f}", fill=f"hsl({hue}, 90%, 45%)")
    with atomic_write(out) as temporary:
        picture.save(temporary, format="PNG")
