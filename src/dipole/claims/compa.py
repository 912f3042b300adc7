"""CompA: a false text "b before a" beside "a before b" teaches order with few examples.

Both arms go on from the same order-blind model for as many steps, on pairs of the same recordings; each has its
learning rate from the same grid. Judged: Winoground's group score (margin 5 points), and the audio score (5 points).

Read in the stored result, after the run: 62 steps teach little of order, .52 where .5 is chance. False texts raise the
group score by 2.4 points (interval .5 to 4.4), less than the margin that was set, and the audio score by as much
(−1.3 to 5.9).
"""

from dipole.claims.base import Arm, Claim, Comparison
from dipole.claims.sounds import TOWERS, SpokenPairs

RATES = (1e-3, 2e-3)


def _arm(name: str, negatives: int) -> Arm:
    """Post-training with some false texts."""
    views = {"pattern": "order", "most_negatives": negatives}
    return Arm(name, "compa", SpokenPairs(), 2, 32, RATES, dict(TOWERS), views)


CLAIM = Claim(
    slug="compa",
    title="CompA: Addressing the Gap in Compositional Reasoning in Audio-Language Models",
    statement="With few examples, false texts of the other order teach the order of sounds better than plain CLAP.",
    paper=(
        "CompA-order, group score: 11.50 (own CLAP) to 33.85; without hard negatives or the modular stage 20.20 "
        "and 21.25 (public reviews)."
    ),
    arms=(_arm("plain CLAP", 0), _arm("hard negative", 1)),
    comparisons=(
        Comparison("group, hard negative − plain", "hard negative", "plain CLAP", "group", margin=0.05),
        Comparison("audio, hard negative − plain", "hard negative", "plain CLAP", "audio", margin=0.05),
        Comparison("text, hard negative − plain", "hard negative", "plain CLAP", "text", judged=False),
    ),
    seeds=(0, 1, 2),
    notes=(
        "62 steps of 32 pairs each. The second stage alone; the modular stage is not tested here.",
        "Ten spoken digits, all pairs of which may be drawn in training; the recordings of the test are others.",
        "Recordings of ten instruments were tried first: no arm rose above chance there, so that nothing was compared. "
        "A first run on digits had a tokenizer that could not spell 'before', and was thrown away.",
    ),
)
