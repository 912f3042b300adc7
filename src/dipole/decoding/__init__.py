"""Contrastive decoding for the language models of transformers, and the baselines beside it.

    model.generate(**inputs, custom_generate=ContrastiveSearch(top_k=4, degeneration_penalty=0.6))

`complete` does the same from text to text; `load_language_model` opens a model without pickles or foreign code.
"""

from dipole.decoding.base import BeamSearch, Decoder, Greedy, NucleusSampling
from dipole.decoding.context_aware import (
    AdaCAD,
    ContextAwareDecoding,
    context_aware_logits,
    jensen_shannon,
    nucleus_mask,
)
from dipole.decoding.contrastive_search import ContrastiveScores, ContrastiveSearch, contrastive_scores
from dipole.decoding.loop import Choice, StreamDecoder
from dipole.decoding.models import LanguageModel, convert_gguf, load_language_model
from dipole.decoding.opposing import OpposingInstructions, opposing_logits
from dipole.decoding.registry import decoders, get_decoder
from dipole.decoding.text import Completion, complete, last_hidden_states

__all__ = [
    "AdaCAD",
    "BeamSearch",
    "Choice",
    "Completion",
    "ContextAwareDecoding",
    "ContrastiveScores",
    "ContrastiveSearch",
    "Decoder",
    "Greedy",
    "LanguageModel",
    "NucleusSampling",
    "OpposingInstructions",
    "StreamDecoder",
    "complete",
    "context_aware_logits",
    "contrastive_scores",
    "convert_gguf",
    "decoders",
    "get_decoder",
    "jensen_shannon",
    "last_hidden_states",
    "load_language_model",
    "nucleus_mask",
    "opposing_logits",
]
