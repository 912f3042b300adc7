"""COCONUT: small weights of its two losses help rehearsal; large ones hurt.

Recorded spoken digits in five tasks of two, eight exemplars of each digit. All arms have the same memory, epochs and
grid of learning rates. Judged: last accuracy (margin one point) and forgetting (down to one point more) of the paper's
weights against plain rehearsal.
"""

from dipole.claims.base import Arm, Claim, Comparison
from dipole.claims.sounds import DigitTasks

RATES = (1e-3, 3e-3)


def _arm(name: str, multimodal: float, distillation: float) -> Arm:
    """Rehearsal with some weights."""
    options = {"memory": 80, "multimodal_weight": multimodal, "distillation_weight": distillation}
    return Arm(name, "coconut", DigitTasks(), 20, 32, RATES, options)


CLAIM = Claim(
    slug="coconut",
    title="Continual Contrastive Spoken Language Understanding",
    statement="Distillation and contrast with transcripts, with small weights, make rehearsal forget less.",
    paper="Better than the baselines with a memory of 1 % almost everywhere (public reviews).",
    arms=(_arm("rehearsal", 0.0, 0.0), _arm("COCONUT", 0.1, 0.05), _arm("COCONUT, weights of 1", 1.0, 1.0)),
    comparisons=(
        Comparison("last accuracy, COCONUT − rehearsal", "COCONUT", "rehearsal", "last accuracy", margin=0.01),
        Comparison("forgetting, COCONUT − rehearsal", "COCONUT", "rehearsal", "forgetting", "lower", margin=0.01),
        Comparison(
            "last accuracy, weights of 1 − small weights",
            "COCONUT, weights of 1",
            "COCONUT",
            "last accuracy",
            "lower",
            judged=False,
        ),
    ),
    notes=(
        "Recorded speech of six speakers, who are heard in training and test alike.",
        "40 recordings of each digit, 20 epochs a task; exemplars by herding; the order of the digits differs by seed.",
        "Three exemplars and 10 epochs were tried first, with the same arms: inconclusive, 0 of 2 comparisons.",
        "A linear classifier over the digits so far stands in for the decoder.",
    ),
)
