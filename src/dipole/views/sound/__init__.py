"""Sounds made of sounds, and the texts that tell of them."""

from dipole.views.sound.composition import concatenated, level, loudness, overlaid, peak_normalised
from dipole.views.sound.expressions import (
    Expression,
    ExpressionTexts,
    compose,
    expression_texts,
    parse_expression,
    verbalise,
)

__all__ = [
    "Expression",
    "ExpressionTexts",
    "compose",
    "concatenated",
    "expression_texts",
    "level",
    "loudness",
    "overlaid",
    "parse_expression",
    "peak_normalised",
    "verbalise",
]
