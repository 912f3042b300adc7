"""Interactions of users with items, the files they are read from, and the rows that recommenders are trained on."""

from dipole.data.recommendation.data_module import InteractionDataModule
from dipole.data.recommendation.interactions import Interactions, interactions_of, k_core, keep_last
from dipole.data.recommendation.registry import available_interactions, load_interactions
from dipole.data.recommendation.sequence_set import Sequences, SequenceSet, split_sequences, whole_histories
from dipole.data.recommendation.splits import Prefixes, Split, expand_prefixes, leave_one_out
from dipole.data.recommendation.toy import toy_interactions

__all__ = [
    "InteractionDataModule",
    "Interactions",
    "Prefixes",
    "SequenceSet",
    "Sequences",
    "Split",
    "available_interactions",
    "expand_prefixes",
    "interactions_of",
    "k_core",
    "keep_last",
    "leave_one_out",
    "load_interactions",
    "split_sequences",
    "toy_interactions",
    "whole_histories",
]
