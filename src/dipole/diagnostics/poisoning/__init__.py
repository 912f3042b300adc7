"""What manipulated training images could do to an encoder, and what detectors and repairs make of it."""

from dipole.diagnostics.poisoning.decree import Decree, PenaltyControl, decree, self_similarity, stamp
from dipole.diagnostics.poisoning.metrics import AttackRates, attack_rates, poison_indices, wilson_interval
from dipole.diagnostics.poisoning.pruning import PrunedLayer, channel_lipschitz, prune_channels
from dipole.diagnostics.poisoning.trigger import TriggerGenerator, project_linf, trigger_loss
from dipole.diagnostics.poisoning.unlearning import unlearn, worst_perturbation

__all__ = [
    "AttackRates",
    "Decree",
    "PenaltyControl",
    "PrunedLayer",
    "TriggerGenerator",
    "attack_rates",
    "channel_lipschitz",
    "decree",
    "poison_indices",
    "project_linf",
    "prune_channels",
    "self_similarity",
    "stamp",
    "trigger_loss",
    "unlearn",
    "wilson_interval",
    "worst_perturbation",
]
