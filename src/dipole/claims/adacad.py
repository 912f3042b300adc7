"""AdaCAD: a context counts the more, the more it contradicts what the model remembers.

SmolLM2-135M-Instruct answers questions whose context was rewritten to give another answer, after two demonstrations, by
at most ten tokens; the first line is the answer. A seed is 24 questions of its own. Judged: the mean log probability of
the context's answer (margin 0.05 nats a token) and exact match (margin 0.02), over greedy decoding with the context.
CAD with the authors' weight for questions (1.0) is reported only: where every context conflicts, a fixed weight should
do as well, and the paper's gain over it comes from sets where most contexts do not.

The demonstrations were added after a first run with the authors' prompts, which this model answers with an empty line
(exact match of greedy decoding 2.5 %, verdict inconclusive). They were chosen by greedy decoding alone, on 24 questions
that do not judge; nothing else was changed.
"""

from typing import Any

from dipole.claims.base import Arm, Claim, Comparison
from dipole.claims.language import NOTHING_TUNED, Questions

QUESTIONS = Questions("nq-synth", "smollm2")


def _arm(name: str, method: str, **options: Any) -> Arm:
    """One decoder."""
    return Arm(name, method, QUESTIONS, 0, 8, NOTHING_TUNED, options)


CLAIM = Claim(
    slug="adacad",
    title="AdaCAD: Adaptively Decoding to Balance Conflicts between Contextual and Parametric Knowledge",
    statement=(
        "Where the context contradicts what the model remembers, AdaCAD gives the context's answer more often than "
        "greedy decoding with the same context, and finds it more probable."
    ),
    paper=(
        "Mean over 6 question answering sets and 4 language models: accuracy 14.21 points above a fixed weight; "
        "3 summarisation sets: AlignScore 6.19 above it (abstract)."
    ),
    arms=(
        _arm("greedy", "greedy"),
        _arm("CAD", "cad", context_weight=1.0),
        _arm("AdaCAD", "adacad"),
    ),
    comparisons=(
        Comparison("log likelihood, over greedy", "AdaCAD", "greedy", "log likelihood", margin=0.05),
        Comparison("exact match, over greedy", "AdaCAD", "greedy", "exact match", margin=0.02),
        Comparison("log likelihood, over CAD", "AdaCAD", "CAD", "log likelihood", judged=False),
        Comparison("exact match, over CAD", "AdaCAD", "CAD", "exact match", judged=False),
        Comparison("answer contained, over greedy", "AdaCAD", "greedy", "answer contained", judged=False),
    ),
    seeds=(0, 1, 2, 3, 4),
    notes=(
        "Seeds are disjoint sets of 24 questions with a prompt of at most 110 tokens: about a quarter of the 1000.",
        "The log likelihood is the mean over an answer's tokens, under the distribution that the decoder chooses from.",
        "The model is a hundred times smaller than those of the paper, and knows few of the answers.",
        "A first run with the authors' prompts, without demonstrations, was inconclusive: exact match of greedy "
        "decoding was 2.5 %, as the model answers with an empty line. Demonstrations were chosen on other questions.",
        "Questions whose context agrees with memory, where AdaCAD should equal greedy decoding, are not tested.",
    ),
)
