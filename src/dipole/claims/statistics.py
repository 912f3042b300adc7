"""Effect, interval and verdict of paired runs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from dipole.errors import InputError

REPRODUCED, NOT_REPRODUCED, INCONCLUSIVE = "reproduced", "not reproduced", "inconclusive"


@dataclass(frozen=True)
class Effect:
    """A mean difference and its 95 % interval.

    Args:
        mean: treatment − baseline, averaged over the seeds.
        interval: lower and upper end.
    """

    mean: float
    interval: tuple[float, float]


def paired_effect(treatment: Sequence[float], baseline: Sequence[float]) -> Effect:
    """Compute the mean of paired differences and its 95 % interval by Student's t with S − 1 degrees of freedom.

    Args:
        treatment: one value for each seed.
        baseline: the values of the same seeds, in the same order.

    Raises:
        InputError: lengths differ, there are fewer than two pairs, or a value is not finite.

    Example:
        >>> effect = paired_effect([2.0, 3.0, 4.0], [1.0, 1.0, 1.0])
        >>> round(effect.mean, 3), [round(end, 3) for end in effect.interval]
        (2.0, [-0.484, 4.484])
    """
    if len(treatment) != len(baseline) or len(treatment) < 2:
        raise InputError(
            f"{len(treatment)} values of the treatment and {len(baseline)} of the baseline: expected the same two or "
            "more seeds of both."
        )
    differences = [one - other for one, other in zip(treatment, baseline, strict=True)]
    if not all(map(math.isfinite, differences)):
        raise InputError("a metric is not finite: a run has diverged, so that no effect can be given.")
    from scipy import stats

    count = len(differences)
    mean = math.fsum(differences) / count
    variance = math.fsum((value - mean) ** 2 for value in differences) / (count - 1)
    half = float(stats.t.ppf(0.975, count - 1)) * math.sqrt(variance / count)
    return Effect(mean, (mean - half, mean + half))


def verdict(effect: Effect, expected: str, margin: float) -> str:
    """Judge a comparison.

    `reproduced`: the interval lies beyond 0 in the expected direction, and the mean reaches the margin, the smallest
    difference that would matter. `not reproduced`: the interval lies below the margin, so that the effect is absent,
    too small, or of the other sign. `inconclusive`: neither. With `"not lower"` a difference down to minus the margin
    is as good as none: `reproduced` if the interval lies above it, `not reproduced` if below.

    Args:
        effect: of the comparison.
        expected: `"higher"`, `"lower"` or `"not lower"`.
        margin: at least 0.

    Raises:
        InputError: another direction, or a negative margin.

    Example:
        >>> verdict(Effect(0.02, (0.01, 0.03)), "higher", margin=0.005)
        'reproduced'
        >>> verdict(Effect(0.004, (0.001, 0.007)), "higher", margin=0.005)  # an effect, perhaps too small to matter
        'inconclusive'
        >>> verdict(Effect(0.0, (-0.003, 0.003)), "higher", margin=0.005)
        'not reproduced'
        >>> verdict(Effect(0.0, (-0.03, 0.03)), "higher", margin=0.005)
        'inconclusive'
        >>> verdict(Effect(0.0, (-0.003, 0.003)), "not lower", margin=0.01)
        'reproduced'
    """
    if expected not in ("higher", "lower", "not lower") or margin < 0:
        raise InputError(
            f"expected is {expected!r} and margin {margin}: expected 'higher', 'lower' or 'not lower', and 0 or more."
        )
    if expected == "not lower":
        low, high = effect.interval[0] + margin, effect.interval[1] + margin
        return REPRODUCED if low > 0 else NOT_REPRODUCED if high < 0 else INCONCLUSIVE
    sign = 1 if expected == "higher" else -1
    low, high = sorted(sign * end for end in effect.interval)
    if low > 0 and high >= margin:
        return REPRODUCED if sign * effect.mean >= margin else INCONCLUSIVE
    # With a margin of 0 only an effect of the other sign is a failure.
    return NOT_REPRODUCED if high < margin or (margin == 0 and high <= 0) else INCONCLUSIVE


def overall(verdicts: Sequence[str]) -> str:
    """Join verdicts: `reproduced` if all are, `not reproduced` if one is, otherwise `inconclusive`.

    Example:
        >>> overall(["reproduced", "inconclusive"])
        'inconclusive'
    """
    if NOT_REPRODUCED in verdicts:
        return NOT_REPRODUCED
    return REPRODUCED if verdicts and all(value == REPRODUCED for value in verdicts) else INCONCLUSIVE
