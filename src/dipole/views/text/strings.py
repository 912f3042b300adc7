"""Changes of a text as a string of characters."""

import torch

from dipole.errors import InputError
from dipole.ops.checks import check_at_least

REPLACED = {
    "'": "‘’‚‛′‵ʼ`´",
    '"': "“”„‟″‶«»",
    "-": "‐‑‒–—―−﹣-",
    " ": "\u00a0\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000\t\n\r\v\f",
}
NORMALISATION = str.maketrans({old: new for new, olds in REPLACED.items() for old in olds})


def span_mask(
    text: str,
    *,
    span_chars: int = 5,
    min_chars: int = 30,
    mask_token: str = "[MASK]",
    start: int | None = None,
    official_first_occurrence: bool = False,
    generator: torch.Generator | None = None,
) -> str:
    """Replace a random span of k characters by the mask token, with a space on either side.

        x̄ = x[:i] + " [MASK] " + x[i + k:],    i ~ U{0, …, len(x) − k − 1}

    Texts of fewer than `min_chars` characters, or at most k, stay as they are.

    Liu, Vulić, Korhonen, Collier: *Mirror-BERT* (EMNLP 2021).

    Args:
        text: x.
        span_chars: k; 0 masks nothing.
        min_chars: shortest text that is changed.
        mask_token: what stands for the span.
        start: i, in place of a draw.
        official_first_occurrence: as in the authors' code, mask the first place at which the drawn characters stand,
            which may be earlier than i.
        generator: source of the draw.

    Returns:
        x̄.

    Raises:
        InputError: `start` lies outside the text, or a number is negative.

    Example:
        >>> span_mask("A plane is taking off from the runway", start=2)
        'A  [MASK]  is taking off from the runway'
    """
    check_at_least(span_chars, 0, "span_chars")
    if span_chars == 0 or len(text) <= span_chars or len(text) < min_chars:
        return text
    if start is None:
        start = int(torch.randint(len(text) - span_chars, (), generator=generator))
    if not 0 <= start <= len(text) - span_chars:
        raise InputError(f"start is {start}: expected 0 to {len(text) - span_chars} in a text of {len(text)}.")
    if official_first_occurrence:
        start = text.index(text[start : start + span_chars])
    return f"{text[:start]} {mask_token} {text[start + span_chars :]}"


def normalize_text(text: str) -> str:
    """Write quotes, hyphens and spaces of every kind as ASCII, and leave out control characters.

    Example:
        >>> normalize_text("“x” – it’s")
        '"x" - it\\'s'
    """
    return "".join(character for character in text.translate(NORMALISATION) if character.isprintable())
