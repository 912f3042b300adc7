"""Networks of recommenders."""

from dipole.nn.recommendation.augmenters import AttentionAugmenter, ModelAugmenter
from dipole.nn.recommendation.sasrec import SASRecEncoder

__all__ = ["AttentionAugmenter", "ModelAugmenter", "SASRecEncoder"]
