"""Where negatives come from: queues, memory banks, support sets, mixtures of hard ones, mining, draws."""

from dipole.negatives.mining import mine_positive_aware, positive_limit
from dipole.negatives.mixing import (
    MixedNegatives,
    MixingDraws,
    draw_mixing,
    hardest_of_bank,
    mix_hard_negatives,
)
from dipole.negatives.propensity import gumbel_top_k, propensity_weights
from dipole.negatives.queue import InstanceMemoryBank, Queue, nearest

__all__ = [
    "InstanceMemoryBank",
    "MixedNegatives",
    "MixingDraws",
    "Queue",
    "draw_mixing",
    "gumbel_top_k",
    "hardest_of_bank",
    "mine_positive_aware",
    "mix_hard_negatives",
    "nearest",
    "positive_limit",
    "propensity_weights",
]
