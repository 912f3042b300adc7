"""Scores of pairs of captions and sounds that hold the same events in another arrangement (Winoground, CompA)."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from dipole.losses.common import unit_rows
from dipole.ops.checks import check_same_rows
from dipole.ops.door import public


class WinogroundScores(NamedTuple):
    """Shares of the instances that are right; chance is 1/4, 1/4 and 1/6.

    Attributes:
        text: each sound finds its caption.
        audio: each caption finds its sound.
        group: both.
    """

    text: float
    audio: float
    group: float


@public
def winoground_correct(
    caption0: Float[Tensor, "n d"],
    caption1: Float[Tensor, "n d"],
    audio0: Float[Tensor, "n d"],
    audio1: Float[Tensor, "n d"],
) -> Float[Tensor, "k n"]:
    """Say of every instance, two captions c and their sounds u, whether it is right, with s the cosine:

        text:   s(c0, u0) > s(c1, u0)  and  s(c1, u1) > s(c0, u1)
        audio:  s(c0, u0) > s(c0, u1)  and  s(c1, u1) > s(c1, u0)
        group:  both

    A tie counts as wrong.

    Thrush et al.: *Winoground* (CVPR 2022); Ghosh et al.: *CompA* (ICLR 2024).

    Args:
        caption0: (N, D) embeddings of the first captions.
        caption1: of the second ones.
        audio0: of what the first captions tell.
        audio1: of what the second ones tell.

    Returns:
        (3, N): text, audio and group, 1 where right and 0 where wrong.

    Raises:
        InputError: shapes differ, or a value is not finite.

    Example:
        >>> right, wrong = torch.eye(2)[:1], torch.eye(2)[1:]
        >>> winoground_correct(right, wrong, right, wrong).tolist()
        [[1.0], [1.0], [1.0]]
    """
    check_same_rows(caption0=caption0, caption1=caption1, audio0=audio0, audio1=audio1)
    c0, c1, u0, u1 = (unit_rows(rows.detach()) for rows in (caption0, caption1, audio0, audio1))
    s00, s01, s10, s11 = ((c * u).sum(dim=1) for c in (c0, c1) for u in (u0, u1))
    text = (s00 > s10) & (s11 > s01)
    audio = (s00 > s01) & (s11 > s10)
    return torch.stack([text, audio, text & audio]).to(s00.dtype)


@public
def winoground_scores(
    caption0: Float[Tensor, "n d"],
    caption1: Float[Tensor, "n d"],
    audio0: Float[Tensor, "n d"],
    audio1: Float[Tensor, "n d"],
) -> WinogroundScores:
    """Return the shares of instances that are right, see `winoground_correct`.

    Args:
        caption0: (N, D) embeddings of the first captions.
        caption1: of the second ones.
        audio0: of what the first captions tell.
        audio1: of what the second ones tell.

    Raises:
        InputError: shapes differ, or a value is not finite.

    Example:
        >>> a, b = torch.eye(2)[:1], torch.eye(2)[1:]
        >>> winoground_scores(a, b, a, a)
        WinogroundScores(text=0.0, audio=0.0, group=0.0)
    """
    text, audio, group = winoground_correct(caption0, caption1, audio0, audio1).mean(dim=1).tolist()
    return WinogroundScores(text, audio, group)
