"""Which of several captions an image is trained with."""

from collections.abc import Sequence
from typing import NamedTuple

import torch

from dipole.errors import InputError


class Caption(NamedTuple):
    """A chosen version of a caption."""

    version: int  # 0 is the original
    text: str


def choose_caption(
    versions: Sequence[str],
    *,
    draw: int | None = None,
    generator: torch.Generator | None = None,
    min_words: int = 2,
) -> Caption:
    """Draw one of the versions of a caption, the original among them, with equal probability.

    A version of fewer than `min_words` words, as failed rewrites are, gives way to the original. Words are what lies
    between single spaces: "" is one word.

    Fan, Krishnan, Isola, Katabi, Tian: *Improving CLIP Training with Language Rewrites* (NeurIPS 2023), sec. 3.3.

    Args:
        versions: the original and its rewrites.
        draw: index in place of a draw.
        generator: source of the draw. For runs that can be resumed, seed it by (seed, epoch, index of the image).
        min_words: fewest words of a version that is used.

    Returns:
        Number and text of the version used.

    Raises:
        InputError: there is no version, or `draw` names none.

    Example:
        >>> choose_caption(["two dogs run", "dogs", "a pair of dogs sprinting"], draw=2)
        Caption(version=2, text='a pair of dogs sprinting')
        >>> choose_caption(["two dogs run", "dogs", "a pair of dogs sprinting"], draw=1)
        Caption(version=0, text='two dogs run')
    """
    if not versions:
        raise InputError("no version of the caption came: give the original and its rewrites, if there are any.")
    index = int(torch.randint(len(versions), (), generator=generator)) if draw is None else draw
    if not 0 <= index < len(versions):
        raise InputError(f"draw is {index}: expected 0 to {len(versions) - 1}, one of the versions.")
    if len(versions[index].split(" ")) < min_words:
        index = 0
    return Caption(index, versions[index])
