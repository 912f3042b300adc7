"""Encoders of time series, the learned augmentation, representations that see the past alone."""

from dipole.nn.timeseries.augmenter import LearnedAugmenter, LearnedView
from dipole.nn.timeseries.dilated import DilatedConvEncoder, causal_convolution
from dipole.nn.timeseries.gate import hard_concrete
from dipole.nn.timeseries.sliding import causal_sliding_encode

__all__ = [
    "DilatedConvEncoder",
    "LearnedAugmenter",
    "LearnedView",
    "causal_convolution",
    "causal_sliding_encode",
    "hard_concrete",
]
