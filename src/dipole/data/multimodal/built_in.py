"""Sets of several modalities that are made of nothing, or of files in the data root."""

from pathlib import Path

import numpy as np
import torch

from dipole.data.emoji import STYLES
from dipole.data.multimodal.columns import ImageArray, SoundArray, Texts, Vectors
from dipole.data.multimodal.modality_set import ModalitySet
from dipole.data.npz_files import load_npz, read_npz
from dipole.data.shapes import load_shapes
from dipole.data.splits import stratified_split
from dipole.data.tensor_image_set import TensorImageSet
from dipole.data.xor import draw_xor
from dipole.errors import InputError

Pair = tuple[ModalitySet, ModalitySet]
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
CAPTIONS = (
    "a {size} {colour} {label} in the {position}",
    "the {position} shows a {colour} {label}, {size}",
    "{colour} {label} on {texture}",
)
SECONDS = 1.0  # of a spoken digit


def load_shape_captions(train: int = 2000, test: int = 500, seed: int = 0) -> Pair:
    """Coloured shapes, three captions of each, and the factors that no caption tells all of.

    Modalities: `image`, `caption`. The label is the shape.

    Example:
        >>> load_shape_captions(20, 10)[0][0]["caption"][:2]
        ['a medium yellow ring in the bottom centre', 'the bottom centre shows a yellow ring, medium']
    """

    def with_captions(images: TensorImageSet) -> ModalitySet:
        names = [
            {kind: images.class_names[kind][int(values[row])] for kind, values in images.labels.items()}
            for row in range(len(images))
        ]
        captions = Texts([[template.format(**factors) for template in CAPTIONS] for factors in names])
        columns = {"image": ImageArray(images.images), "caption": captions}
        return ModalitySet("shape-captions", columns, labels=[factors["label"] for factors in names])

    first, second = load_shapes(train, test, seed)
    return with_captions(first), with_captions(second)


def load_xor(probability: float = 1.0, bits: int = 3, train: int = 2000, test: int = 1000, seed: int = 0) -> Pair:
    """Symile's synthetic triples: vectors `a` and `b` of fair bits, and `c`, which is `a ⊕ b` or, in some rows, `a`.

    Args:
        probability: p̂ that a row is `a ⊕ b`.
        bits: of each modality.
        train: rows to train on.
        test: rows to test on.
        seed: of the rows.

    Example:
        >>> load_xor()[0]
        ModalitySet('xor', 2000 rows, a: vector, b: vector, c: vector)
    """
    generator = torch.Generator().manual_seed(seed)
    drawn = [draw_xor(count, bits, probability, generator) for count in (train, test)]
    first, second = (
        ModalitySet("xor", {name: Vectors(values.float()) for name, values in triples._asdict().items()})
        for triples in drawn
    )
    return first, second


def load_emoji_captions(path: str | Path) -> Pair:
    """Emoji in two art styles with their names.

    Modalities: `twitter`, `google` (images) and `caption` (the name, then the tags). The label is the category.

    Args:
        path: the .npz file, see `load_emoji`.

    Raises:
        InputError: the file is unreadable or lacks a key.
    """
    arrays = read_npz(Path(path))
    missing = {*(f"image_{style}" for style in STYLES), "caption", "tags", "category", "codepoint"} - arrays.keys()
    if missing:
        raise InputError(f"{path} lacks {', '.join(sorted(missing))}: it is not the emoji data set.")
    columns = {
        **{
            style: ImageArray(torch.from_numpy(np.ascontiguousarray(arrays[f"image_{style}"].transpose(0, 3, 1, 2))))
            for style in STYLES
        },
        "caption": Texts(
            [
                [str(text) for text in dict.fromkeys(pair) if text]
                for pair in zip(arrays["caption"], arrays["tags"], strict=True)
            ]
        ),
    }
    labels = [str(name) for name in arrays["category"]]
    whole = ModalitySet("emoji-captions", columns, [str(name) for name in arrays["codepoint"]], labels)
    train, test = stratified_split(torch.from_numpy(np.unique(labels, return_inverse=True)[1]))
    return whole.select(train), whole.select(test)


def load_digit_trios(sounds: str | Path, images: str | Path, seed: int = 0) -> Pair:
    """Spoken digits, handwritten digits and number words: one row a recording, with a random image of its digit.

    Modalities: `sound`, `image`, `word`. The label is the number word. Test rows are the recordings 0 to 4 of each
    speaker and digit, which is the official split, with MNIST's test images.

    Args:
        sounds: .npz file of the Free Spoken Digit Dataset: `audio` int16, `offsets`, `label`, `index`, `sample_rate`.
        images: .npz file of MNIST.
        seed: of the pairing.

    Raises:
        InputError: a file is unreadable or lacks a key.
    """
    arrays = read_npz(Path(sounds))
    missing = {"audio", "offsets", "label", "index", "sample_rate"} - arrays.keys()
    if missing:
        raise InputError(f"{sounds} lacks {', '.join(sorted(missing))}: it is not the set of spoken digits.")
    rate = int(arrays["sample_rate"])
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for which, digits in zip((arrays["index"] > 4, arrays["index"] <= 4), load_npz(images, "mnist"), strict=True):
        rows = np.flatnonzero(which)
        spoken = torch.from_numpy(arrays["label"][rows].astype(np.int64))
        drawn = torch.empty(len(rows), dtype=torch.long)
        for digit in range(10):
            own = (spoken == digit).nonzero().flatten()
            pool = (digits.labels["label"] == digit).nonzero().flatten()
            drawn[own] = pool[torch.randint(len(pool), (len(own),), generator=generator)]
        words = [NUMBERS[digit] for digit in spoken.tolist()]
        columns = {
            "sound": SoundArray(arrays["audio"], arrays["offsets"], rows, rate, round(SECONDS * rate)),
            "image": ImageArray(digits.images[drawn]),
            "word": Texts([[word] for word in words]),
        }
        parts.append(ModalitySet("digit-trios", columns, [str(row) for row in rows], words))
    return parts[0], parts[1]
