import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dipole.claims.statistics import INCONCLUSIVE, NOT_REPRODUCED, REPRODUCED, Effect, overall, paired_effect, verdict
from dipole.errors import InputError

numbers = st.floats(-1e3, 1e3)


def test_interval_of_known_numbers():
    # Differences 1, 2, 3, 4, 5: mean 3, deviation √2.5, t(0.975, 4) = 2.776445.
    effect = paired_effect([2.0, 4.0, 6.0, 8.0, 10.0], [1.0, 2.0, 3.0, 4.0, 5.0])
    half = 2.776445105 * math.sqrt(2.5 / 5)
    assert effect.mean == 3.0
    assert effect.interval == pytest.approx((3 - half, 3 + half), rel=1e-8)


def test_pairs_cancel_what_seeds_share():
    effect = paired_effect([0.1 + 0.5, 0.9 + 0.5, 0.4 + 0.5], [0.1, 0.9, 0.4])
    assert effect.interval == pytest.approx((0.5, 0.5))


@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=8))
def test_swapping_the_arms_mirrors_the_interval(pairs):
    one, other = zip(*pairs, strict=True)
    effect, mirrored = paired_effect(one, other), paired_effect(other, one)
    assert effect.mean == pytest.approx(-mirrored.mean)
    assert effect.interval == pytest.approx((-mirrored.interval[1], -mirrored.interval[0]))


@pytest.mark.parametrize(
    ("interval", "margin", "expected"),
    [
        ((0.001, 0.019), 0.005, REPRODUCED),  # beyond 0, and its middle reaches the margin
        ((0.001, 0.008), 0.005, INCONCLUSIVE),  # beyond 0, but perhaps too small to matter
        ((0.001, 0.004), 0.005, NOT_REPRODUCED),  # beyond 0, and certainly too small to matter
        ((0.001, 0.004), 0.0, REPRODUCED),
        ((-0.002, 0.004), 0.005, NOT_REPRODUCED),  # too small to matter
        ((-0.03, -0.01), 0.005, NOT_REPRODUCED),
        ((-0.002, 0.006), 0.005, INCONCLUSIVE),
        ((0.0, 0.1), 0.005, INCONCLUSIVE),
        ((-0.1, 0.0), 0.0, NOT_REPRODUCED),
        ((-0.1, 0.1), 0.0, INCONCLUSIVE),
    ],
)
def test_verdicts(interval, margin, expected):
    assert verdict(Effect(sum(interval) / 2, interval), "higher", margin) == expected
    mirrored = (-interval[1], -interval[0])
    assert verdict(Effect(sum(mirrored) / 2, mirrored), "lower", margin) == expected


def test_one_failure_decides_and_one_doubt_leaves_open():
    assert overall([REPRODUCED, REPRODUCED]) == REPRODUCED
    assert overall([REPRODUCED, INCONCLUSIVE]) == INCONCLUSIVE
    assert overall([REPRODUCED, INCONCLUSIVE, NOT_REPRODUCED]) == NOT_REPRODUCED
    assert overall([]) == INCONCLUSIVE


def test_refuses_what_has_no_interval():
    with pytest.raises(InputError, match="two or more seeds"):
        paired_effect([1.0], [0.0])
    with pytest.raises(InputError, match="same two or more"):
        paired_effect([1.0, 2.0], [0.0])
    with pytest.raises(InputError, match="diverged"):
        paired_effect([1.0, math.nan], [0.0, 0.0])
    with pytest.raises(InputError, match="'higher', 'lower' or 'not lower'"):
        verdict(Effect(0.0, (0.0, 0.0)), "better", 0.0)


def test_a_difference_that_is_as_good_as_none():
    assert verdict(Effect(-0.002, (-0.009, 0.005)), "not lower", 0.01) == "reproduced"
    assert verdict(Effect(-0.03, (-0.04, -0.02)), "not lower", 0.01) == "not reproduced"
    assert verdict(Effect(-0.01, (-0.03, 0.01)), "not lower", 0.01) == "inconclusive"
