"""Tiled pairwise statistics with exact gradients, embeddings gathered across processes, encoding in chunks."""

from dipole.ops.boxes import (
    clip_boxes,
    decode_boxes,
    decode_distances,
    encode_boxes,
    grid_boxes,
    pyramid_level,
    random_boxes,
    rescale_boxes,
)
from dipole.ops.distributed import gather, gather_mean, rank, world_size
from dipole.ops.door import check_values
from dipole.ops.fused import use_fused
from dipole.ops.grad_cache import GradCache
from dipole.ops.pairwise import pairwise_logsumexp, pairwise_softmax_mean
from dipole.ops.pairwise_both import pairwise_logsumexp_both
from dipole.ops.pairwise_softplus import pairwise_softplus_sum
from dipole.ops.retrieval import softmax_retrieval

__all__ = [
    "GradCache",
    "check_values",
    "clip_boxes",
    "decode_boxes",
    "decode_distances",
    "encode_boxes",
    "gather",
    "gather_mean",
    "grid_boxes",
    "pairwise_logsumexp",
    "pairwise_logsumexp_both",
    "pairwise_softmax_mean",
    "pairwise_softplus_sum",
    "pyramid_level",
    "random_boxes",
    "rank",
    "rescale_boxes",
    "softmax_retrieval",
    "use_fused",
    "world_size",
]
