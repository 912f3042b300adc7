"""CUT: tokens that a judgment blames become improbable, and the others do not.

A small model has learned from scratch to copy letters, two of them wrongly in three of four demonstrations. It is then
trained on judged copies by CUT (λ = 1.2 and α = 0.5, the authors' offline values) or by a baseline, in the same steps,
each with its own learning rate from the same grid. Judged, after the instruction alone: the log likelihood of wrong
letters falls below that of the model before training and of fine-tuning on satisfactory copies (margin 1 nat each); the
two letters are copied correctly more often than by training on judgments without the contrast (margin 0.05); the other
tokens of the judged responses stay more likely than with unlikelihood of whole responses (margin 0.1 nats).
"""

from typing import Any

from dipole.claims.base import Arm, Claim, Comparison
from dipole.claims.judged_copies import JudgedCopies

COPIES = JudgedCopies("toy-judgments")
RATES = (1e-3, 3e-3, 1e-2)
EPOCHS = 3


def _arm(name: str, objective: str, epochs: int = EPOCHS) -> Arm:
    """One way of training."""
    options: dict[str, Any] = {"objective": objective, "threshold": 1.2, "alpha": 0.5}
    return Arm(name, "cut", COPIES, epochs, 32, RATES if epochs else RATES[:1], options)


CLAIM = Claim(
    slug="cut",
    title="Reasons to Reject? Aligning Language Models with Judgments",
    statement=(
        "Judgments tell which tokens of a response are wrong: training against these alone makes them improbable, "
        "where likelihood does not, and leaves the other tokens, which unlikelihood of whole responses does not."
    ),
    paper=(
        "LLaMA2-13b and 1317 judgments: win rate on AlpacaEval 50.84 points above the best baseline (v4), and above "
        "DaVinci003 of 175B; LLaMA2-chat-13b online: 81.09 → 91.68 (abstract)."
    ),
    arms=(
        _arm("before", "cut", epochs=0),
        _arm("fine-tuning", "fine_tuning"),
        _arm("hindsight", "hindsight"),
        _arm("unlikelihood", "unlikelihood"),
        _arm("CUT", "cut"),
    ),
    comparisons=(
        Comparison("wrong letters, CUT − before", "CUT", "before", "criticised", "lower", margin=1.0),
        Comparison("wrong letters, CUT − fine-tuning", "CUT", "fine-tuning", "criticised", "lower", margin=1.0),
        Comparison("two letters correct, CUT − hindsight", "CUT", "hindsight", "confused letters correct", margin=0.05),
        Comparison("other tokens, CUT − unlikelihood", "CUT", "unlikelihood", "others", margin=0.1),
        Comparison("other tokens, CUT − before", "CUT", "before", "others", judged=False),
        Comparison("wrong letters, CUT − hindsight", "CUT", "hindsight", "criticised", "lower", judged=False),
        Comparison(
            "two letters correct, CUT − unlikelihood",
            "CUT",
            "unlikelihood",
            "confused letters correct",
            judged=False,
        ),
    ),
    seeds=(0, 1, 2),
    notes=(
        "A generated task and a model of 0.1 million parameters; seeds differ in model, records and order.",
        "Fine-tuning: satisfactory copies alone. Hindsight: CUT without L1. Unlikelihood: every token of the others.",
        "Learning rates are chosen by letters copied correctly, with a model and records that do not judge.",
        "Win rates need a judge that is itself a large language model.",
    ),
)
