"""Tiled pairwise statistics with exact gradients, embeddings gathered across processes, encoding in chunks."""

from dipole.ops.distributed import gather, gather_mean, rank, world_size
from dipole.ops.grad_cache import GradCache
from dipole.ops.pairwise import pairwise_logsumexp, pairwise_softmax_mean

__all__ = ["GradCache", "gather", "gather_mean", "pairwise_logsumexp", "pairwise_softmax_mean", "rank", "world_size"]
