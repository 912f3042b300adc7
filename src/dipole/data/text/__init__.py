"""Texts, the files they are read from, and batches for training."""

from dipole.data.text.arrow_text_set import ArrowTextSet
from dipole.data.text.co_citation import CoCitations, co_citation_pairs
from dipole.data.text.corpus import ChunkedCorpus, CorpusMixture, mixture_probabilities, tokenize_corpus
from dipole.data.text.dialogues import TurnPairs, toy_dialogues, turns_of
from dipole.data.text.line_text_set import JsonLinesTextSet, LineTextSet
from dipole.data.text.memory_text_set import MemoryTextSet
from dipole.data.text.passages import PassageTextSet, passage_text
from dipole.data.text.registry import available_texts, load_texts
from dipole.data.text.retrieval_set import RetrievalSet, load_retrieval
from dipole.data.text.sts_files import STS_TASKS, SentencePairs, STSTask, load_sts
from dipole.data.text.text_data_module import TextDataModule
from dipole.data.text.text_set import LineNote, TextSet
from dipole.data.text.toy import toy_pairs, toy_sentences, toy_stories, toy_triplets
from dipole.data.text.triplets import (
    Curation,
    Triplet,
    curate_scores,
    curate_triplets,
    parse_similarity_score,
)

__all__ = [
    "STS_TASKS",
    "ArrowTextSet",
    "ChunkedCorpus",
    "CoCitations",
    "CorpusMixture",
    "Curation",
    "JsonLinesTextSet",
    "LineNote",
    "LineTextSet",
    "MemoryTextSet",
    "PassageTextSet",
    "RetrievalSet",
    "STSTask",
    "SentencePairs",
    "TextDataModule",
    "TextSet",
    "Triplet",
    "TurnPairs",
    "available_texts",
    "co_citation_pairs",
    "curate_scores",
    "curate_triplets",
    "load_retrieval",
    "load_sts",
    "load_texts",
    "mixture_probabilities",
    "parse_similarity_score",
    "passage_text",
    "tokenize_corpus",
    "toy_dialogues",
    "toy_pairs",
    "toy_sentences",
    "toy_stories",
    "toy_triplets",
    "turns_of",
]
