"""Small real scenes: handwritten digits on photographs, with captions that name them and boxes in a file of COCO's."""

import csv
import json
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits, load_sample_images

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
SIDE = 32


def write_scenes(folder: Path, count: int, *, seed: int = 0, most: int = 2, test: bool = False) -> Path:
    """Write `scenes.csv` of pictures and captions, and `boxes.json`; digits of test scenes are never those of others.

    Returns:
        The folder.
    """
    draw = np.random.default_rng([seed, test])
    digits = load_digits()
    # One writer in four wrote the digits of test scenes.
    pool = np.flatnonzero((np.arange(len(digits.target)) % 4 == 0) == test)
    photographs = [np.asarray(Image.fromarray(photo).reduce(2)) for photo in load_sample_images().images]
    folder.mkdir(parents=True)
    rows, images, boxes = [], [], []
    for number in range(count):
        photo = photographs[draw.integers(len(photographs))]
        top, left = (int(draw.integers(side - SIDE)) for side in photo.shape[:2])
        scene = photo[top : top + SIDE, left : left + SIDE] // 2
        wanted = draw.choice(pool, int(draw.integers(1, most + 1)), replace=False)
        halves = draw.permutation(2)
        for half, which in zip(halves, wanted, strict=False):
            side = int(draw.integers(14, 17))
            ink = Image.fromarray((digits.images[which] * 255 / 16).astype(np.uint8)).resize((side, side))
            x, y = int(half) * 16 + int(draw.integers(17 - side)), int(draw.integers(SIDE - side + 1))
            scene = scene.copy()
            part = scene[y : y + side, x : x + side]
            part[:] = np.maximum(part, np.asarray(ink)[..., None])
            boxes.append({"image_id": number, "category_id": int(digits.target[which]), "bbox": [x, y, side, side]})
        Image.fromarray(scene.astype(np.uint8)).save(folder / f"{number}.png")
        rows.append([f"{number}.png", " and ".join(NAMES[digits.target[which]] for which in wanted)])
        images.append({"id": number, "file_name": f"{number}.png"})
    with (folder / "scenes.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["image", "caption"], *rows])
    categories = [{"id": number, "name": name} for number, name in enumerate(NAMES)]
    content = {"images": images, "categories": categories, "annotations": boxes}
    (folder / "boxes.json").write_text(json.dumps(content))
    return folder
