"""Views of texts: the same text under dropout, masked spans, crops of documents, questions and passages."""

from dipole.views.text.crops import RandomCrops
from dipole.views.text.domains import DomainPairs
from dipole.views.text.passages import TrainingPassages, hard_negative_counts
from dipole.views.text.propensity import PropensityPairs
from dipole.views.text.records import TextViews
from dipole.views.text.similarity import edit_distance, length_ratio, surface_similarity
from dipole.views.text.strings import normalize_text, span_mask
from dipole.views.text.tokens import (
    add_ends,
    delete_tokens,
    mask_tokens,
    pad_tokens,
    random_crop,
    replace_tokens,
    shuffle_tokens,
)
from dipole.views.text.turns import (
    TURN_TOKENS,
    CurvedPairs,
    TurnViews,
    after_text,
    before_text,
    context_is_odd,
    curved_pairs,
    is_odd,
)
from dipole.views.text.twins import DropoutTwins, SpanMaskedTwins, pair_of

__all__ = [
    "TURN_TOKENS",
    "CurvedPairs",
    "DomainPairs",
    "DropoutTwins",
    "PropensityPairs",
    "RandomCrops",
    "SpanMaskedTwins",
    "TextViews",
    "TrainingPassages",
    "TurnViews",
    "add_ends",
    "after_text",
    "before_text",
    "context_is_odd",
    "curved_pairs",
    "delete_tokens",
    "edit_distance",
    "hard_negative_counts",
    "is_odd",
    "length_ratio",
    "mask_tokens",
    "normalize_text",
    "pad_tokens",
    "pair_of",
    "random_crop",
    "replace_tokens",
    "shuffle_tokens",
    "span_mask",
    "surface_similarity",
]
