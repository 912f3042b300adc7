"""Handwritten digits that ship with scikit-learn."""

import numpy as np
import torch

from dipole.data.splits import stratified_split
from dipole.data.tensor_image_set import TensorImageSet


def load_digits() -> tuple[TensorImageSet, TensorImageSet]:
    """The 1797 digits of 8x8 pixels of scikit-learn, 0..16 scaled to 0..255; views are made at 16x16 by default.

    Returns:
        1347 training and 450 test images: a fixed, stratified split.

    Source: E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, UCI, 1998 (its test part).

    Example:
        >>> train, test = load_digits()
        >>> len(train), len(test), train.num_classes, train.input_shape
        (1347, 450, 10, (3, 8, 8))
    """
    from sklearn.datasets import load_digits as load_bunch

    bunch = load_bunch()
    pixels = np.round(bunch.images * (255 / 16)).astype(np.uint8)
    images = torch.from_numpy(pixels).unsqueeze(1)
    whole = TensorImageSet("digits", images, {"label": torch.from_numpy(bunch.target)}, default_size=16)
    train, test = stratified_split(whole.labels["label"], test_fraction=0.25)
    return whole.select(train), whole.select(test)
