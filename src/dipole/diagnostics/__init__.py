"""What the learned geometry looks like: pure functions of embeddings and similarities, and a monitor for training."""

from dipole.diagnostics.ajne import ajne_statistic
from dipole.diagnostics.classes import tolerance
from dipole.diagnostics.compactness import encoder_compactness
from dipole.diagnostics.covariance import covariance_eigenvalues, effective_eigenvalues
from dipole.diagnostics.geometry import Geometry, geometry
from dipole.diagnostics.hypersphere import alignment, uniformity
from dipole.diagnostics.isotropy import isotropy
from dipole.diagnostics.monitor import (
    GeometryMonitor,
    GraphGeometryMonitor,
    MetaPathGeometryMonitor,
    TextGeometryMonitor,
)
from dipole.diagnostics.overlap_graph import labelling_error, laplacian_spectrum, overlap_graph
from dipole.diagnostics.proxy_task import false_negative_share, proxy_accuracy
from dipole.diagnostics.rank import effective_rank, spread
from dipole.diagnostics.repetition import coherence, diversity, rep_n
from dipole.diagnostics.score_recorder import (
    ScoreCurves,
    ScoreRecorder,
    gradient_landscape,
    score_curves,
    score_gradients,
    score_statistics,
)
from dipole.diagnostics.scores import ScoreDistributions, Scores, score_distributions
from dipole.diagnostics.separation import LocalSeparation, local_separation
from dipole.diagnostics.sweep import TemperatureRow, temperature_sweep
from dipole.diagnostics.temperature import (
    PenaltyProfile,
    loss_at_infinite_temperature,
    loss_at_zero_temperature,
    loss_gradients,
    penalties,
    penalty_entropy,
    penalty_of,
    relative_penalty,
)

__all__ = [
    "Geometry",
    "GeometryMonitor",
    "GraphGeometryMonitor",
    "LocalSeparation",
    "MetaPathGeometryMonitor",
    "PenaltyProfile",
    "ScoreCurves",
    "ScoreDistributions",
    "ScoreRecorder",
    "Scores",
    "TemperatureRow",
    "TextGeometryMonitor",
    "ajne_statistic",
    "alignment",
    "coherence",
    "covariance_eigenvalues",
    "diversity",
    "effective_eigenvalues",
    "effective_rank",
    "encoder_compactness",
    "false_negative_share",
    "geometry",
    "gradient_landscape",
    "isotropy",
    "labelling_error",
    "laplacian_spectrum",
    "local_separation",
    "loss_at_infinite_temperature",
    "loss_at_zero_temperature",
    "loss_gradients",
    "overlap_graph",
    "penalties",
    "penalty_entropy",
    "penalty_of",
    "proxy_accuracy",
    "relative_penalty",
    "rep_n",
    "score_curves",
    "score_distributions",
    "score_gradients",
    "score_statistics",
    "spread",
    "temperature_sweep",
    "tolerance",
    "uniformity",
]
