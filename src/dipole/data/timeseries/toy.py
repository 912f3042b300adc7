"""Generated series: small, and in need of no files. They serve to try things out and to test them."""

import numpy as np

from dipole.data.timeseries.arrays import make_sets
from dipole.data.timeseries.csv_files import TimeTable
from dipole.data.timeseries.series_set import SeriesSet

TOY_PATTERNS, TOY_LOAD = "toy-patterns", "toy-load"
_STEPS, _PATTERN = 64, 24
_SHAPES = (
    lambda t: np.sin(2 * np.pi * t),
    lambda t: np.sin(4 * np.pi * t),
    lambda t: np.sign(np.sin(2 * np.pi * t)),
)


def toy_patterns(train: int = 120, test: int = 120) -> tuple[SeriesSet, SeriesSet]:
    """Make series of noise with the pattern of a class, a slow wave, a fast one or a step, somewhere within.

    Args:
        train: number of series to train on.
        test: number of series to test with.

    Example:
        >>> toy_patterns()[0]
        SeriesSet('toy-patterns', 120 series, 64 steps, columns 0)
    """
    rng = np.random.default_rng(0)

    def part(count: int) -> tuple[np.ndarray, np.ndarray]:
        classes = np.arange(count) % len(_SHAPES)
        x = 0.3 * rng.standard_normal((count, _STEPS, 1))
        for row, which, start in zip(x, classes, rng.integers(_STEPS - _PATTERN, size=count), strict=True):
            row[start : start + _PATTERN, 0] += _SHAPES[which](np.linspace(0, 1, _PATTERN))
        return x, np.array(["slow wave", "fast wave", "step"])[classes]

    train_set, test_set = make_sets(TOY_PATTERNS, part(train), part(test))
    return train_set, test_set


def toy_load(steps: int = 1500) -> TimeTable:
    """Make hourly values of two columns: days, weeks, a slow drift and noise; the second follows the first.

    Args:
        steps: number of hours.

    Example:
        >>> table = toy_load()
        >>> table.values.shape, table.columns
        ((1500, 2), ('load', 'temperature'))
    """
    rng = np.random.default_rng(0)
    hours = np.arange(steps)
    drift = np.cumsum(0.02 * rng.standard_normal(steps))
    load = np.sin(2 * np.pi * hours / 24) + 0.5 * np.sin(2 * np.pi * hours / 168) + drift
    noise = 0.1 * rng.standard_normal((steps, 2))
    values = np.stack([load, np.roll(load, 3)], axis=1) + noise
    times = np.datetime64("2020-01-01T00", "s") + hours * np.timedelta64(1, "h")
    return TimeTable(values, ("load", "temperature"), times)
