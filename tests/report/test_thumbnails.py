import base64
import io

import numpy as np
import pytest
import torch
from PIL import Image

from dipole.report.thumbnails import make_sprite


def opened(uri: str) -> np.ndarray:
    picture = Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))
    return np.asarray(picture.convert("RGB"))


def test_small_images_are_kept_exactly_at_their_place() -> None:
    images = torch.randint(0, 256, (60, 3, 8, 8), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    sprite = make_sprite(images, torch.arange(50))
    sheet = opened(sprite.uri)
    assert sprite.uri.startswith("data:image/png;base64,")
    assert sheet.shape == (sprite.rows * 8, sprite.columns * 8, 3)
    for index, place in sprite.cell.items():
        top, left = place // sprite.columns * 8, place % sprite.columns * 8
        assert np.array_equal(sheet[top : top + 8, left : left + 8], images[index].permute(1, 2, 0).numpy())


@pytest.mark.parametrize("shape", [(96, 96), (40, 120)])
def test_large_images_become_squares_of_48_pixels(shape: tuple[int, int]) -> None:
    images = torch.zeros(2, 3, *shape, dtype=torch.uint8)
    images[1] = 200
    sprite = make_sprite(images, torch.tensor([0, 1]))
    sheet = opened(sprite.uri)
    assert sprite.uri.startswith("data:image/jpeg;base64,")
    assert not sprite.pixelated
    assert sheet.shape == (48, 96, 3)
    assert sheet[:, 8:40].max() < 12
    assert sheet[:, 56:88].min() > 188
