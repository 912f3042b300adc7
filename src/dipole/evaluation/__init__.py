"""Protocols that say what embeddings are worth."""

from dipole.evaluation.bm25 import bm25_run
from dipole.evaluation.comparison import Evaluation, evaluate_embeddings
from dipole.evaluation.continual import ContinualScores, continual_scores
from dipole.evaluation.cross_modal import recall_at, related, retrieval_ranks
from dipole.evaluation.detection import (
    Detections,
    ensemble_probabilities,
    fuse_scores,
    region_text_logits,
    select_detections,
)
from dipole.evaluation.dialogue import (
    OrderScores,
    PlanningRanks,
    goal_curvature,
    goal_order_scores,
    planning_ranks,
    rank_of,
    reply_scores,
    sequence_scores,
)
from dipole.evaluation.embedding import embed_image_set, raw_pixels
from dipole.evaluation.forecasting import Forecast, ridge_forecast
from dipole.evaluation.knn import knn_accuracy, weighted_knn, weighted_knn_log_scores
from dipole.evaluation.linear_probe import LinearProbeResult, linear_probe
from dipole.evaluation.multiple_choice import multiple_choice_scores
from dipole.evaluation.nodes import (
    NodeScores,
    NodeSplit,
    cluster_agreement,
    few_labels_split,
    link_scores,
    node_accuracies,
    node_accuracy,
    node_scores,
    random_node_split,
    sample_non_edges,
)
from dipole.evaluation.online_knn import OnlineKNN
from dipole.evaluation.pair_classification import F1Max, f1_max, roc_auc, similarity_ratio
from dipole.evaluation.retrieval import RetrievalScores, dense_search, evaluate_retrieval, retrieval_metrics
from dipole.evaluation.sts import Correlation, STSScores, evaluate_sts, sts_scores
from dipole.evaluation.svm import SVMResult, svm_classification
from dipole.evaluation.temporal import both_sounds_accuracy, relation_accuracy, single_sound_accuracy
from dipole.evaluation.winoground import WinogroundScores, winoground_correct, winoground_scores
from dipole.evaluation.zero_shot import (
    class_embeddings,
    matching_accuracy,
    mixed_scores,
    multilinear_scores,
    pairwise_scores,
    top_k_accuracy,
    zero_shot_scores,
)

__all__ = [
    "ContinualScores",
    "Correlation",
    "Detections",
    "Evaluation",
    "F1Max",
    "Forecast",
    "LinearProbeResult",
    "NodeScores",
    "NodeSplit",
    "OnlineKNN",
    "OrderScores",
    "PlanningRanks",
    "RetrievalScores",
    "STSScores",
    "SVMResult",
    "WinogroundScores",
    "bm25_run",
    "both_sounds_accuracy",
    "class_embeddings",
    "cluster_agreement",
    "continual_scores",
    "dense_search",
    "embed_image_set",
    "ensemble_probabilities",
    "evaluate_embeddings",
    "evaluate_retrieval",
    "evaluate_sts",
    "f1_max",
    "few_labels_split",
    "fuse_scores",
    "goal_curvature",
    "goal_order_scores",
    "knn_accuracy",
    "linear_probe",
    "link_scores",
    "matching_accuracy",
    "mixed_scores",
    "multilinear_scores",
    "multiple_choice_scores",
    "node_accuracies",
    "node_accuracy",
    "node_scores",
    "pairwise_scores",
    "planning_ranks",
    "random_node_split",
    "rank_of",
    "raw_pixels",
    "recall_at",
    "region_text_logits",
    "related",
    "relation_accuracy",
    "reply_scores",
    "retrieval_metrics",
    "retrieval_ranks",
    "ridge_forecast",
    "roc_auc",
    "sample_non_edges",
    "select_detections",
    "sequence_scores",
    "similarity_ratio",
    "single_sound_accuracy",
    "sts_scores",
    "svm_classification",
    "top_k_accuracy",
    "weighted_knn",
    "weighted_knn_log_scores",
    "winoground_correct",
    "winoground_scores",
    "zero_shot_scores",
]
