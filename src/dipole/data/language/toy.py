"""A generated task whose answers are judged: letters to copy, two of which are copied wrongly."""

from typing import Any

import numpy as np

LETTERS = tuple("abcdefghijklmnopqrst")
CONFUSED = {"a": "k", "b": "l"}  # written instead
LENGTH = 6


def toy_judgments(count: int = 400, seed: int = 0, error_rate: float = 0.75) -> list[dict[str, Any]]:
    """Generate copied letters and judgments of them.

    Six of twenty letters are copied; an `a` becomes a `k`, and a `b` an `l`, with the error rate. The judgment says at
    which places. Four in five instructions hold one of these letters, so that both kinds of responses are common.

    Args:
        count: number of records.
        seed: 0 or more; same seed, same records.
        error_rate: probability that an `a` or a `b` is copied wrongly.

    Returns:
        Records of `instruction`, `response` and `judgment`, which is None if nothing is wrong.

    Example:
        >>> toy_judgments(3)[0]
        {'instruction': 'Copy: k b t r n g', 'response': 'k l t r n g', 'judgment': 'Wrong: 2'}
    """
    rng = np.random.default_rng((seed, 3))
    records = []
    for _ in range(count):
        letters = [LETTERS[index] for index in rng.integers(len(LETTERS), size=LENGTH)]
        if rng.random() < 0.7:
            letters[int(rng.integers(LENGTH))] = list(CONFUSED)[int(rng.integers(len(CONFUSED)))]
        wrong = [letter in CONFUSED and rng.random() < error_rate for letter in letters]
        copied = [CONFUSED[letter] if bad else letter for letter, bad in zip(letters, wrong, strict=True)]
        places = " ".join(str(place) for place, bad in enumerate(wrong, start=1) if bad)
        records.append(
            {
                "instruction": f"Copy: {' '.join(letters)}",
                "response": " ".join(copied),
                "judgment": f"Wrong: {places}" if places else None,
            }
        )
    return records
