"""Protocols that say what embeddings are worth."""

from dipole.evaluation.comparison import Evaluation, evaluate_embeddings
from dipole.evaluation.embedding import embed_image_set, raw_pixels
from dipole.evaluation.knn import knn_accuracy, weighted_knn
from dipole.evaluation.linear_probe import LinearProbeResult, linear_probe
from dipole.evaluation.online_knn import OnlineKNN

__all__ = [
    "Evaluation",
    "LinearProbeResult",
    "OnlineKNN",
    "embed_image_set",
    "evaluate_embeddings",
    "knn_accuracy",
    "linear_probe",
    "raw_pixels",
    "weighted_knn",
]
