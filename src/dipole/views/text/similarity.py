"""How alike two texts look, whatever they mean."""

from collections.abc import Sequence
from typing import Literal, get_args

from dipole.errors import InputError
from dipole.ops.checks import check_choice

Level = Literal["word", "character"]
SurfaceMeasure = Literal["levenshtein", "jaccard"]


def surface_similarity(
    a: str,
    b: str,
    *,
    measure: SurfaceMeasure = "levenshtein",
    level: Level = "word",
    length_penalty: bool = False,
) -> float:
    """Compute how alike two texts are written, from 0 to 1:

        levenshtein   1 − edits(a, b) / max(|a|, |b|)
        jaccard       |A ∩ B| / |A ∪ B| of the sets

    of words (what stands between white space) or of characters. Two empty texts are alike.

    Args:
        a: a text.
        b: another one.
        measure: see above.
        level: what is compared.
        length_penalty: times `length_ratio(a, b)`.

    Raises:
        InputError: an unknown measure or level, or something other than a text.

    Example:
        >>> surface_similarity("a man plays a guitar", "a man plays the flute")
        0.6
        >>> surface_similarity("a man plays", "a man sings", measure="jaccard")
        0.5
    """
    check_choice(measure, get_args(SurfaceMeasure), "measure")
    first, second = _units(a, level), _units(b, level)
    if measure == "levenshtein":
        from rapidfuzz.distance import Levenshtein

        similarity = Levenshtein.normalized_similarity(first, second)
    else:
        union = set(first) | set(second)
        similarity = len(set(first) & set(second)) / len(union) if union else 1.0
    return float(similarity * length_ratio(a, b, level=level) if length_penalty else similarity)


def edit_distance(a: str, b: str, *, level: Level = "word") -> int:
    """Count the insertions, deletions and exchanges of words or characters that make one text of another.

    Raises:
        InputError: an unknown level, or something other than a text.

    Example:
        >>> edit_distance("the cat sat", "the mat sat"), edit_distance("cat", "mat", level="character")
        (1, 1)
    """
    from rapidfuzz.distance import Levenshtein

    return int(Levenshtein.distance(_units(a, level), _units(b, level)))


def length_ratio(a: str, b: str, *, level: Level = "word") -> float:
    """Compute the length of the shorter text as a share of the longer one's; 1 for two empty ones.

    Raises:
        InputError: an unknown level, or something other than a text.

    Example:
        >>> length_ratio("two words", "here are four words")
        0.5
    """
    lengths = sorted((len(_units(a, level)), len(_units(b, level))))
    return lengths[0] / lengths[1] if lengths[1] else 1.0


def _units(text: str, level: str) -> Sequence[str]:
    """The words or the characters of a text."""
    check_choice(level, get_args(Level), "level")
    if not isinstance(text, str):
        raise InputError(f"a {type(text).__name__} has no wording to compare: expected a text.")
    return text.split() if level == "word" else text
