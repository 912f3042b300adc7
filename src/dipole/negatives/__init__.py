"""Where negatives come from: queues, memory banks, support sets, mixtures of hard ones."""

from dipole.negatives.mixing import (
    MixedNegatives,
    MixingDraws,
    draw_mixing,
    hardest_of_bank,
    mix_hard_negatives,
)
from dipole.negatives.queue import InstanceMemoryBank, Queue, nearest

__all__ = [
    "InstanceMemoryBank",
    "MixedNegatives",
    "MixingDraws",
    "Queue",
    "draw_mixing",
    "hardest_of_bank",
    "mix_hard_negatives",
    "nearest",
]
