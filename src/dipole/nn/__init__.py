"""Parts of networks: encoders, projection heads, momentum encoders."""

from dipole.nn.encoders import ConvNet4, ImageEncoder, SmallAlexNet, build_encoder
from dipole.nn.hopfield import hopfield_retrieve
from dipole.nn.logit_scale import LogitScale
from dipole.nn.missing_modality import MissingModalityProjector
from dipole.nn.modes import undisturbed
from dipole.nn.momentum import MomentumEncoder, cosine_momentum
from dipole.nn.pair_gate import PairGate, gate_statistics
from dipole.nn.partial_classifier import PartialClassifier
from dipole.nn.projector import mlp

__all__ = [
    "ConvNet4",
    "ImageEncoder",
    "LogitScale",
    "MissingModalityProjector",
    "MomentumEncoder",
    "PairGate",
    "PartialClassifier",
    "SmallAlexNet",
    "build_encoder",
    "cosine_momentum",
    "gate_statistics",
    "hopfield_retrieve",
    "mlp",
    "undisturbed",
]
