"""Settings for images of one's own, chosen by how many there are and how large they are. All rules stand here.

The published settings of a method are for a million photographs, a hundred epochs and accelerators. A few thousand
images on a processor need others. `docs/defaults.md` says what these were measured with.
"""

import math
from dataclasses import dataclass
from statistics import median
from typing import Any

import torch
from torch import Tensor

from dipole.data.image_set import ImageSet
from dipole.ops.checks import check_choice

PRESETS = ("quick", "standard", "paper")
METHODS = ("simclr",)  # for which the rules were measured
LOOKED_AT = 64  # images whose size and colours are looked at
SIZES = ((16, 16), (128, 32))  # images up to so many pixels: views of so many
LARGEST = 64  # views of larger images
BATCH = 256
FEWEST_STEPS = 8  # in an epoch; fewer images than for this make smaller batches
# Pixels that pass through training: images times epochs, in images of 32x32. Epochs are what is left of them.
BUDGET = {"quick": 150_000, "standard": 300_000}
EPOCHS = {"quick": (5, 100), "standard": (20, 200)}  # fewest and most
ENCODER = {"quick": "convnet4-16", "standard": "convnet4"}
# Of an encoder that a package brings, trained on photographs: it is large, and is only fitted to the images.
STARTED_SIZE, STARTED_RATE = 96, 0.0001
STARTED_BUDGET = {"quick": 5_000, "standard": 20_000}  # images times epochs
STARTED_EPOCHS = (1, 10)
OPTIMIZATION = {"optimizer": "adamw", "learning_rate": 0.001, "weight_decay": 0.0001}


def check_preset(name: str) -> None:
    """Require the name of a preset.

    Raises:
        InputError: it is none.
    """
    check_choice(name, PRESETS, "preset")


@dataclass(frozen=True)
class Measured:
    """What the rules look at: the number of training images, their typical shorter side, and whether all are grey."""

    number: int
    side: int
    grey: bool


def measure(images: ImageSet) -> Measured:
    """Count images, and look at some of them.

    Args:
        images: a training set.

    Example:
        >>> from dipole.data import load_image_sets
        >>> measure(load_image_sets("digits")[0])
        Measured(number=1347, side=16, grey=True)
    """
    chosen = torch.linspace(0, len(images) - 1, min(LOOKED_AT, len(images))).long()
    sides: list[int] = []

    def whole(_: int, height: int, width: int) -> Tensor:
        sides.append(min(height, width))
        return torch.tensor([[0, 0, height, width]])

    if hasattr(images, "fetch_crops"):  # photos of any size
        pixels = images.fetch_crops(chosen, whole, LARGEST)[0]
    else:
        pixels = images.fetch(chosen)
        sides.append(images.default_size)
    reach = (pixels.amax(dim=1).int() - pixels.amin(dim=1).int()).max()
    return Measured(len(images), int(median(sides)), bool(reach <= 2))  # JPEG may move a grey by one


def fitting(measured: Measured, preset: str, *, image_size: int | None = None, started: bool = False) -> dict[str, Any]:
    """Return the settings of a run on such images.

    - **Size**: 16 pixels for images up to 16, 32 for those up to 128, 64 for larger ones.
    - **Batch**: 256, or the largest power of two of which an epoch has eight.
    - **Epochs**: so many that as many pixels pass through training whatever the number and size of images, within
      bounds.
    - **Encoder**: `convnet4`, half as wide for `quick`.
    - **Optimiser**: AdamW at 0.001, temperature 0.2.
    - **Views**: crops of 0.3 of the image and more, no flip (a mirrored hand, digit or letter is another one), no blur,
      milder colours than the paper's; of grey images only brightness and contrast.
    - **From a trained encoder**: its own name, 96 pixels, a rate of 0.0001, 10 epochs and fewer of many images.

    Args:
        measured: the images.
        preset: `"quick"` or `"standard"`; `"paper"` chooses nothing.
        image_size: of the views, where the caller has chosen it; the epochs follow it.
        started: from the weights of a large encoder that is trained already.

    Raises:
        InputError: another preset.

    Example:
        >>> settings = fitting(Measured(1650, 100, False), "standard")
        >>> settings["image_size"], settings["batch_size"], settings["epochs"]
        (32, 128, 182)
        >>> fitting(Measured(8000, 32, False), "standard")["epochs"]
        38
    """
    check_preset(preset)
    if preset == "paper":
        return {}
    size = image_size or next((size for most, size in SIZES if measured.side <= most), LARGEST)
    batch = 2 ** int(math.log2(max(measured.number / FEWEST_STEPS, 2)))
    fewest, most = EPOCHS[preset]
    epochs = round(BUDGET[preset] / (measured.number * (size / 32) ** 2))
    colour = 0.0 if measured.grey else 1.0
    method = {"encoder": ENCODER[preset], "temperature": 0.2, **OPTIMIZATION}
    if started:
        size, (fewest, most) = image_size or STARTED_SIZE, STARTED_EPOCHS
        epochs = round(STARTED_BUDGET[preset] / measured.number)
        del method["encoder"]
        method["learning_rate"] = STARTED_RATE
    return {
        "image_size": size,
        "batch_size": min(BATCH, batch),
        "epochs": min(most, max(fewest, epochs)),
        "method": method,
        "views": {
            "crop_scale": [0.3, 1.0],
            "flip": 0.0,
            "brightness": 0.4,
            "contrast": 0.4,
            "saturation": 0.2 * colour,
            "hue": 0.05 * colour,
            "grayscale": 0.1 * colour,
            "blur": 0.0,
        },
    }


def in_a_line(measured: Measured, preset: str, settings: dict[str, Any]) -> str:
    """Say what a run on such images is set to.

    Args:
        measured: the images.
        preset: its name.
        settings: the resolved ones, as of `RunConfig`.

    Example:
        >>> images = Measured(1650, 100, False)
        >>> print(in_a_line(images, "standard", fitting(images, "standard")).partition(":")[0])
        preset standard for 1650 training images of 100 pixels, in colour
    """
    method, views = settings["method"], settings["views"]
    chosen = (
        f"image_size {settings['image_size']}",
        f"encoder {method['encoder']}",
        f"batch_size {settings['batch_size']}",
        f"{method['optimizer']} at {method['learning_rate']:g}",
        f"{settings['epochs']} epochs",
        f"crops from {views['crop_scale'][0]:g}",
        f"flip {views['flip']:g}",
    )
    kind = "grey" if measured.grey else "in colour"
    images = f"{measured.number} training images of {measured.side} pixels, {kind}"
    return (
        f"preset {preset} for {images}: {', '.join(chosen)}. Each has its flag; --preset paper leaves all as published."
    )
