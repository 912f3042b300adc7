"""Triplets (sentence, one that follows from it, one that contradicts it) and how scores curate them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from dipole.errors import InputError

# One digit, or three characters that begin with 0 to 5, hold a point and end in a digit, as the authors accept them.
_SCORE = re.compile(r"[0-5]|[0-5]\.[0-9]")
PRESETS: dict[int, tuple[float, float, bool]] = {
    2: (4, 3, False),
    3: (4, 2, False),
    4: (5, 3, False),
    5: (5, 2, False),
    6: (4, 1, False),
    7: (4, 0, False),
    8: (5, 1, False),
    9: (5, 0, False),
    10: (3, 0, False),
    11: (3, 1, False),
    12: (3, 2, False),
    13: (4, 4, True),
    14: (5, 4, False),
    15: (3, 3, True),
    16: (2, 0, False),
    17: (2, 1, False),
    18: (2, 2, True),
}


@dataclass(frozen=True)
class Triplet:
    """A sentence with a positive and a hard negative.

    Args:
        text: the sentence.
        positive: follows from it, or says the same.
        negative: contradicts it.
        positive_score: similarity of the first two, from 0 to 5; None if nobody has scored them.
        negative_score: similarity of the sentence and the negative.
    """

    text: str
    positive: str
    negative: str
    positive_score: float | None = None
    negative_score: float | None = None

    def record(self) -> dict[str, Any]:
        """Return the triplet as a record of a table."""
        return {name: value for name, value in vars(self).items() if value is not None}


class Curation(NamedTuple):
    """What became of pairs of scores; arrays (N,)."""

    swapped: np.ndarray  # positive and negative changed places
    positive: np.ndarray  # the larger score
    negative: np.ndarray  # the smaller one
    keep: np.ndarray


def parse_similarity_score(answer: str) -> float | None:
    """Read a similarity from 0 to 5 out of a language model's answer: `"3"` or `"3.5"`, and nothing else.

    As in the authors' code, `"5.9"` passes, `"4."`, `"3.55"` and `"3,5"` do not; nor does white space.

    Returns:
        The score; None if the answer is none.

    Example:
        >>> parse_similarity_score("4.5"), parse_similarity_score("about 4")
        (4.5, None)
    """
    return float(answer) if _SCORE.fullmatch(answer) else None


def curate_scores(
    positive: Sequence[float] | np.ndarray,
    negative: Sequence[float] | np.ndarray,
    *,
    at_least: float = 3.0,
    at_most: float = 3.0,
    gap: float = 1.0,
    official_gap: bool = False,
    swap: bool = True,
) -> Curation:
    """Decide which triplets are kept: `a ≥ α, b ≤ β and a ≥ b + γ`, after a ≤ b have changed places.

    Wang, Li, Cheng, Soh, Bing: *MultiCSR* (NAACL 2024), stage 2; authors' figure.

    Args:
        positive: (N,) a, similarity of sentence and positive.
        negative: (N,) b, similarity of sentence and negative.
        at_least: α.
        at_most: β.
        gap: γ; 0 asks for no gap.
        official_gap: ask for a ≠ b in place of a gap, as the authors' code does.
        swap: let positive and negative change places where a ≤ b.

    Raises:
        InputError: there are not as many of both, or a score is no number.

    Example:
        >>> curate_scores([5, 1, 4], [1, 4, 3.5]).keep
        array([ True,  True, False])
    """
    a, b = np.asarray(positive, dtype=float), np.asarray(negative, dtype=float)
    if a.shape != b.shape or a.ndim != 1 or not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError(f"{a.shape} and {b.shape} scores: expected as many finite numbers of both.")
    swapped = a <= b if swap else np.zeros(len(a), dtype=bool)
    high, low = np.where(swapped, b, a), np.where(swapped, a, b)
    keep = (high >= at_least) & (low <= at_most) & (high != low if official_gap else high >= low + gap)
    return Curation(swapped, high, low, keep)


def curate_triplets(
    triplets: Iterable[Triplet],
    *,
    at_least: float = 3.0,
    at_most: float = 3.0,
    gap: float = 1.0,
    swap: bool = True,
    copies: bool = False,
) -> tuple[list[Triplet], dict[str, int]]:
    """Keep the triplets whose scores say that positive and negative are what they are called.

    Args:
        triplets: with their scores.
        at_least: α, least score of a positive.
        at_most: β, largest score of a negative.
        gap: γ, by which the positive must score higher.
        swap: let positive and negative change places where their scores say so.
        copies: keep triplets whose positive or negative is the sentence itself.

    Returns:
        The triplets that are kept, and how many were left out, by reason.

    Example:
        >>> good, bad = Triplet("a cat", "a pet", "a dog", 4, 1), Triplet("a cat", "a pet", "a kitten", 4, 4)
        >>> curate_triplets([good, bad])[1]
        {'scores': 1}
    """
    kept: list[Triplet] = []
    left_out: dict[str, int] = {}
    for triplet in triplets:
        reason = _fault(triplet, copies)
        if not reason:
            assert triplet.positive_score is not None
            assert triplet.negative_score is not None
            found = curate_scores(
                [triplet.positive_score],
                [triplet.negative_score],
                at_least=at_least,
                at_most=at_most,
                gap=gap,
                swap=swap,
            )
            reason = "" if found.keep[0] else "scores"
            if not reason:
                kept.append(_exchanged(triplet) if found.swapped[0] else triplet)
        if reason:
            left_out[reason] = left_out.get(reason, 0) + 1
    return kept, left_out


def _fault(triplet: Triplet, copies: bool) -> str:
    """Why a triplet cannot be kept, whatever its scores; nothing if it can."""
    if not all(text.strip() for text in (triplet.text, triplet.positive, triplet.negative)):
        return "empty"
    if triplet.positive_score is None or triplet.negative_score is None:
        return "no score"
    if not copies and triplet.text.strip() in (triplet.positive.strip(), triplet.negative.strip()):
        return "copy"
    return ""


def _exchanged(triplet: Triplet) -> Triplet:
    """The triplet with positive and negative in each other's place."""
    return replace(
        triplet,
        positive=triplet.negative,
        negative=triplet.positive,
        positive_score=triplet.negative_score,
        negative_score=triplet.positive_score,
    )
