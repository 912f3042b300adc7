"""Emoji drawn in two art styles."""

from pathlib import Path

import numpy as np
import torch

from dipole.data.npz_files import read_npz
from dipole.data.splits import stratified_split
from dipole.data.tensor_image_set import TensorImageSet
from dipole.errors import InputError

STYLES = ("twitter", "google")


def load_emoji(path: str | Path) -> tuple[TensorImageSet, TensorImageSet]:
    """Read emoji with their category as label; both drawings of an emoji are in the same part.

    Args:
        path: an .npz file with `image_twitter`, `image_google` uint8 (N, S, S, 3), `category` and `codepoint` (N,).

    Returns:
        The training and the test set (80/20 of the emoji, stratified by category, always alike). `labels` holds
        `label` (category) and `style`; ids are `codepoint/style`.

    Raises:
        InputError: the file is unreadable or lacks a key.
    """
    arrays = read_npz(Path(path))
    missing = {*(f"image_{style}" for style in STYLES), "category", "codepoint"} - arrays.keys()
    if missing:
        raise InputError(f"{path} lacks {', '.join(sorted(missing))}: it is not the emoji data set.")
    images = np.concatenate([arrays[f"image_{style}"] for style in STYLES]).transpose(0, 3, 1, 2)
    categories, category = np.unique(arrays["category"], return_inverse=True)
    count = len(category)
    whole = TensorImageSet(
        "emoji",
        torch.from_numpy(np.ascontiguousarray(images)),
        {"label": torch.from_numpy(np.tile(category, 2)), "style": torch.arange(2).repeat_interleave(count)},
        {"label": [str(name) for name in categories], "style": STYLES},
        [f"{codepoint}/{style}" for style in STYLES for codepoint in arrays["codepoint"]],
    )
    train, test = stratified_split(torch.from_numpy(category))
    return whole.select(torch.cat([train, train + count])), whole.select(torch.cat([test, test + count]))
