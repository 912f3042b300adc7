"""Contrastive search: less repetition than likelihood, more coherence than sampling, without training.

SmolLM2-135M-Instruct continues the first 32 tokens of passages of Wikipedia by 96 tokens. k = 4 and α = 0.6 are from
the authors' README. A seed is eight passages of its own. Judged: diversity over greedy and beam search (margin 0.05),
coherence over nucleus sampling (margin 0.1 nats). The rest is reported only.
"""

from typing import Any

from dipole.claims.base import Arm, Claim, Comparison
from dipole.claims.language import NOTHING_TUNED, Passages

PASSAGES = Passages("nq-synth", "smollm2")


def _arm(name: str, method: str, **options: Any) -> Arm:
    """One decoder."""
    return Arm(name, method, PASSAGES, 0, PASSAGES.part, NOTHING_TUNED, options)


CLAIM = Claim(
    slug="contrastive-search",
    title="Contrastive Search Is What You Need For Neural Text Generation",
    statement=(
        "With a language model as it is, contrastive search repeats itself less than greedy and beam search, and stays "
        "more coherent than nucleus sampling."
    ),
    paper=(
        "People rate contrastive search as high as human text in 12 of 16 languages (abstract). Isotropy of GPT-2 "
        "small / medium / large / XL: 0.10 / 0.25 / 0.70 / 0.72, of OPT 125M to 30B 0.66 to 0.75 (authors' code)."
    ),
    arms=(
        _arm("greedy", "greedy"),
        _arm("beam", "beam", num_beams=4),
        _arm("nucleus", "nucleus", top_p=0.95),
        _arm("contrastive search", "contrastive-search", top_k=4, degeneration_penalty=0.6),
    ),
    comparisons=(
        Comparison("diversity, over greedy", "contrastive search", "greedy", "diversity", margin=0.05),
        Comparison("diversity, over beam", "contrastive search", "beam", "diversity", margin=0.05),
        Comparison("coherence, over nucleus", "contrastive search", "nucleus", "coherence", margin=0.1),
        Comparison("diversity, over nucleus", "contrastive search", "nucleus", "diversity", judged=False),
        Comparison("coherence, over greedy", "contrastive search", "greedy", "coherence", judged=False),
    ),
    seeds=(0, 1, 2, 3, 4),
    notes=(
        "Seeds are disjoint sets of eight passages; nucleus sampling also draws from the seed.",
        "Coherence is by SmolLM2 itself, where the paper uses OPT: it favours what the model finds likely anyway.",
        "The model may not end a text before 96 tokens, so that all texts are of one length. The paper's have 200.",
        "Diversity counts tokens, not words. There is no MAUVE, which needs many texts, and no human judgement.",
    ),
)
