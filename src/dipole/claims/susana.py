"""SuSana: proto-triplet and ICNN beside cross entropy are not worse in few-shot episodes.

All arms see episodes of the same classes, 10-way 1-shot with 5 queries, and choose their learning rate from one grid.
Judged: 5-way 1-shot accuracy on new classes is not lower by more than a point. Reported: the paired difference, the
other terms, 5-shot accuracy and ICNN's score.
"""

from typing import Any

from dipole.claims.base import Arm, Claim, Comparison
from dipole.claims.recognition import RotatedEpisodes

DIGITS = RotatedEpisodes("rotated digits", 8)
RATES = (0.0003, 0.001, 0.003)


def _arm(name: str, *terms: str) -> Arm:
    """One choice of terms; all else is alike."""
    options: dict[str, Any] = {
        "encoder": "mlp-128-128-64",
        "ways": 10,
        "shots": 1,
        "queries": 5,
        "episodes": 100,
        "optimizer": "adam",
        "weight_decay": 0.0,
        "terms": list(terms),
    }
    return Arm(name, "susana", DIGITS, 4, 60, RATES, options)


CROSS, ALL, TRIPLET = "cross entropy (ProtoNet)", "cross entropy, proto-triplet, ICNN", "proto-triplet"

CLAIM = Claim(
    slug="susana",
    title="SuSana Distancia is all you need",
    statement=(
        "Training of few-shot episodes with proto-triplet and ICNN losses beside cross entropy is at least as good as "
        "cross entropy alone on new classes."
    ),
    paper="miniImageNet: about 2 % above other metric-based methods (abstract).",
    arms=(_arm(ALL, "cross", "prototriplet", "fullicnn"), _arm(CROSS, "cross"), _arm(TRIPLET, "prototriplet")),
    comparisons=(
        Comparison(
            "1-shot accuracy, all terms − cross entropy, at most a point lower",
            ALL,
            CROSS,
            "one_shot",
            expected="not lower",
            margin=0.01,
        ),
        Comparison("1-shot accuracy, all terms − cross entropy, higher", ALL, CROSS, "one_shot", judged=False),
        Comparison("1-shot accuracy, proto-triplet − cross entropy", TRIPLET, CROSS, "one_shot", judged=False),
        Comparison("5-shot accuracy, all terms − cross entropy", ALL, CROSS, "five_shot", judged=False),
        Comparison("ICNN score of new classes, all terms − cross entropy", ALL, CROSS, "icnn", judged=False),
    ),
    notes=(
        "A class is a digit in one of four rotations: 24 of the digits 0 to 5 for training, 16 of 6 to 9 for testing.",
        "400 episodes a seed; all arms of a seed are measured on the same ones.",
    ),
)
