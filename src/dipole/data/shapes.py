"""Coloured shapes on textured backgrounds, rendered when they are needed: every factor of every image is known."""

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from dipole.data.tensor_image_set import TensorImageSet
from dipole.errors import InputError

FACTORS = {
    "label": ("circle", "square", "triangle", "star", "cross", "ring"),
    "colour": ("red", "orange", "yellow", "green", "cyan", "blue", "purple", "pink"),
    "size": ("small", "medium", "large"),
    "position": tuple(
        f"{row} {column}" for row in ("top", "middle", "bottom") for column in ("left", "centre", "right")
    ),
    "texture": ("plain", "gradient", "stripes", "checks", "dots"),
}
SIDE = 32
_PALETTE = np.array(
    [(220, 40, 40), (240, 140, 30), (235, 215, 50), (60, 170, 70), (50, 190, 200), (50, 80, 215), (130, 60, 180),
     (240, 120, 190)],
    dtype=np.float32,
)  # fmt: skip
_RADII = np.array([5.5, 8.0, 10.5], dtype=np.float32)
_Grid = Float32[np.ndarray, "n side side"]


def load_shapes(train: int = 2000, test: int = 500, seed: int = 0) -> tuple[TensorImageSet, TensorImageSet]:
    """Images of 32x32 pixels in which shape, colour, size, position and background texture are independent.

    The main label is the shape; `labels` also holds `colour`, `size`, `position` (cell of a 3x3 grid) and `texture`,
    so one can ask which factors an embedding keeps. Rotation, the exact place, size and shade, and the two greyish
    colours of the background vary without a label. Edges are antialiased through signed distances.

    Args:
        train: number of training images, above 0.
        test: number of test images, above 0.
        seed: 0 or more; same seed, same bits. The two parts have their own random streams.

    Returns:
        The training and the test set.

    Raises:
        InputError: a number of images below 1 or a negative seed.

    Example:
        >>> train, test = load_shapes(train=20, test=10)
        >>> train, sorted(train.labels)
        (TensorImageSet('shapes', 20 images, 6 classes), ['colour', 'label', 'position', 'size', 'texture'])
    """
    if min(train, test) < 1 or seed < 0:
        raise InputError(f"train={train}, test={test}, seed={seed}: expected 1 image or more each and a seed >= 0.")
    return _image_set(train, seed, 0), _image_set(test, seed, 1)


def _image_set(count: int, seed: int, part: int) -> TensorImageSet:
    """Draw the factors of `count` images and render them."""
    rng = np.random.default_rng((seed, part))
    factors = {kind: rng.integers(len(names), size=count) for kind, names in FACTORS.items()}
    images = torch.from_numpy(_render(factors, rng))
    labels = {kind: torch.from_numpy(values) for kind, values in factors.items()}
    return TensorImageSet("shapes", images, labels, FACTORS)


def _render(factors: dict[str, np.ndarray], rng: np.random.Generator) -> UInt8[np.ndarray, "n 3 side side"]:
    """Blend shapes over backgrounds by the share of every pixel that the shape covers."""
    count = len(factors["label"])
    radius = _RADII[factors["size"]] + _uniform(rng, count, 0.6)
    cell = np.stack([factors["position"] % 3, factors["position"] // 3]).astype(np.float32)
    centre = SIDE / 2 + 5 * (cell - 1) + _uniform(rng, (2, count), 1.2)
    x, y = _local_coordinates(centre, radius, _uniform(rng, count, np.pi / 8))
    coverage = np.clip(0.5 - _by_class(_DISTANCES, factors["label"], x, y) * radius[:, None, None], 0, 1)

    middle, unit = np.full((2, count), SIDE / 2, np.float32), np.ones(count, np.float32)
    u, v = _local_coordinates(middle, unit, _uniform(rng, count, np.pi))
    field = _by_class(_TEXTURES, factors["texture"], u, v)[:, None]
    first, second = _background_colours(rng, count)
    background = first + field * (second - first)
    colour = (_PALETTE[factors["colour"]] * (1 + _uniform(rng, (count, 1), 0.12)))[:, :, None, None]
    images = background + coverage[:, None] * (colour - background)
    return np.clip(np.round(images), 0, 255).astype(np.uint8)


def _background_colours(rng: np.random.Generator, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Two greyish colours an image, far enough apart that its texture shows."""
    dark = rng.uniform(40, 120, (count, 1, 1, 1)).astype(np.float32)
    bright = dark + rng.uniform(45, 95, dark.shape).astype(np.float32)
    swapped = rng.random(dark.shape) < 0.5
    tints = _uniform(rng, (2, count, 3, 1, 1), 18)
    return np.where(swapped, bright, dark) + tints[0], np.where(swapped, dark, bright) + tints[1]


def _uniform(rng: np.random.Generator, shape: int | tuple[int, ...], bound: float) -> np.ndarray:
    """Uniform numbers between -bound and bound."""
    return rng.uniform(-bound, bound, shape).astype(np.float32)


def _local_coordinates(centre: np.ndarray, radius: np.ndarray, angle: np.ndarray) -> tuple[_Grid, _Grid]:
    """Coordinates of the pixels' centres seen from a turned object: its centre is 0, its radius 1, y points down."""
    axis = np.arange(SIDE, dtype=np.float32) + 0.5
    dx, dy = axis[None, None, :] - centre[0][:, None, None], axis[None, :, None] - centre[1][:, None, None]
    cosine, sine, radius = np.cos(angle)[:, None, None], np.sin(angle)[:, None, None], radius[:, None, None]
    return (cosine * dx + sine * dy) / radius, (cosine * dy - sine * dx) / radius


def _by_class(functions: tuple, classes: np.ndarray, x: _Grid, y: _Grid) -> _Grid:
    """Apply to every image the function of its class."""
    result = np.empty_like(x)
    for index, function in enumerate(functions):
        chosen = classes == index
        result[chosen] = function(x[chosen], y[chosen])
    return result


def _circle(x: _Grid, y: _Grid) -> _Grid:
    """Signed distance to a disc; below zero inside, as in all that follow."""
    return np.hypot(x, y) - 0.95


def _square(x: _Grid, y: _Grid) -> _Grid:
    """Distance to an axis-parallel square."""
    return np.maximum(np.abs(x), np.abs(y)) - 0.8


def _triangle(x: _Grid, y: _Grid) -> _Grid:
    """Distance to an equilateral triangle that points up."""
    return np.maximum(y, np.abs(x) * np.float32(3**0.5 / 2) - y / 2) - 0.56


def _star(x: _Grid, y: _Grid) -> _Grid:
    """Distance to a star of five points: fold the plane to half a point, measure to the one edge left."""
    sector = np.float32(2 * np.pi / 5)
    angle = np.abs((np.arctan2(x, -y) + sector / 2) % sector - sector / 2)
    distance = np.hypot(x, y)
    tip, valley = 1.15, 0.5
    edge = np.array([valley * np.cos(np.pi / 5) - tip, valley * np.sin(np.pi / 5)], dtype=np.float32)
    normal = np.array([edge[1], -edge[0]], dtype=np.float32) / np.hypot(*edge)
    return (distance * np.cos(angle) - tip) * normal[0] + distance * np.sin(angle) * normal[1]


def _cross(x: _Grid, y: _Grid) -> _Grid:
    """Distance to two crossed bars."""
    x, y = np.abs(x), np.abs(y)
    return np.minimum(np.maximum(x - 1, y - 0.34), np.maximum(y - 1, x - 0.34))


def _ring(x: _Grid, y: _Grid) -> _Grid:
    """Distance to a ring."""
    return np.abs(np.hypot(x, y) - 0.74) - 0.24


def _soft(wave: _Grid) -> _Grid:
    """Turn a wave between -1 and 1 into two tones with a soft edge."""
    return np.clip(0.5 + 2 * wave, 0, 1)


_DISTANCES = (_circle, _square, _triangle, _star, _cross, _ring)
_TEXTURES = (
    lambda u, v: np.zeros_like(u),
    lambda u, v: np.clip(0.5 + u / SIDE, 0, 1),
    lambda u, v: _soft(np.sin(u)),
    lambda u, v: _soft(np.sin(u * 0.8) * np.sin(v * 0.8)),
    lambda u, v: _soft(np.cos(u) * np.cos(v) * 1.5 - 0.75),
)
