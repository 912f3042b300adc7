"""Utterances seen from before and from after, and the pairs that curved contrastive learning makes of dialogues."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.checks import check_at_least
from dipole.views.text.records import TextViews, encode_batch, text_of

BEFORE, AFTER, OTHER, SAME = "[BEFORE]", "[AFTER]", "[O]", "[E]"
TURN_TOKENS = (BEFORE, AFTER, OTHER, SAME)
NO_SPEAKER, OTHER_SPEAKER, SAME_SPEAKER = 0, 1, 2


def is_odd(distance: Int[Tensor, "*shape"] | int) -> Tensor | bool:
    """Return whether a turn so far away is the other speaker's, where two take turns.

    Example:
        >>> is_odd(torch.tensor([1, 2, 3]))
        tensor([ True, False,  True])
    """
    return distance % 2 == 1


def context_is_odd(length: int, *, ahead: int = 1) -> list[bool]:
    """Return for each utterance of a context, from the first to the last, whether its distance to a later turn is odd.

    Args:
        length: utterances of the context.
        ahead: distance of the later turn from the last utterance of the context: 1 for the next one, 2 while the
            partner is still speaking.

    Example:
        >>> context_is_odd(3), context_is_odd(3, ahead=2)
        ([True, False, True], [False, True, False])
    """
    return [bool(is_odd(place + ahead)) for place in reversed(range(length))]


def before_text(text: str, odd: bool | None = None) -> str:
    """Return an utterance as it is seen from before what follows.

    Args:
        text: the utterance.
        odd: whether what follows is an odd number of turns away; None says nothing of speakers.

    Example:
        >>> before_text("Hello", odd=True), before_text("Hello")
        ('[O] [BEFORE] Hello', '[BEFORE] Hello')
    """
    speaker = "" if odd is None else f"{OTHER if odd else SAME} "
    return f"{speaker}{BEFORE} {text}"


def after_text(text: str) -> str:
    """Return an utterance as it is seen from after what precedes.

    Example:
        >>> after_text("Hello")
        '[AFTER] Hello'
    """
    return f"{AFTER} {text}"


class CurvedPairs(NamedTuple):
    """Pairs of utterances; all of shape (P,).

    Attributes:
        before: number of the utterance seen from before, all utterances counted in reading order.
        after: number of the one seen from after.
        speaker: 0 none, 1 another (`[O]`), 2 the same (`[E]`).
        label: cosine that is wanted.
    """

    before: Tensor
    after: Tensor
    speaker: Tensor
    label: Tensor


def curved_pairs(
    lengths: Sequence[int],
    *,
    window: int = 5,
    speaker_tokens: bool = True,
    official_windows: bool = False,
    directional: bool = True,
    draws: Int[Tensor, "m 3"] | None = None,
    generator: torch.Generator | None = None,
) -> CurvedPairs:
    """Make training pairs of all windows w_0 … w_{l−1} of consecutive utterances of each dialogue:

        positives      (w_0 before, w_d after, (l − d) / l)      d = 1 … l − 1
        directional    (w_d before, w_0 after, 0)                against the direction of time
        random         (w_d before, r after, 0) or (r before, w_d after, 0), r any utterance of any dialogue

    The speaker is another one where d is odd. For a random pair a number c of 0 … 3 is drawn and two utterances r₁, r₂:
    `[O]` w_d → r₁, `[E]` w_d → r₂, `[O]` r₁ → w_d or `[E]` r₂ → w_d. In each window the positives come first, then for
    each d the directional and the random pair. Dialogues shorter than a window give no pairs.

    Erker, Schaffer, Spanakis: *Imagination is All You Need!* (Findings of ACL 2023).

    Args:
        lengths: utterances of each dialogue.
        window: l.
        speaker_tokens: say which speaker; 0 for none everywhere if not.
        official_windows: leave the last window of each dialogue out, as the authors' code does.
        directional: make directional and random pairs; without them only random ones.
        draws: (c, r₁, r₂), one a random pair, in place of a draw.
        generator: source of the draws; torch's global one if None.

    Returns:
        The pairs, 3 (l − 1) a window.

    Raises:
        InputError: the window is shorter than 2, a dialogue has no length, or there are too few draws.

    Example:
        >>> pairs = curved_pairs([5], generator=torch.Generator().manual_seed(0))
        >>> len(pairs.label), pairs.label[:4]
        (12, tensor([0.8000, 0.6000, 0.4000, 0.2000]))
    """
    check_at_least(window, 2, "window")
    if any(length < 0 for length in lengths):
        raise InputError("a dialogue has a negative length: expected numbers of utterances.")
    starts = _starts(lengths, window, official_windows)
    steps = torch.arange(1, window)
    count, turns = len(starts) * len(steps), (len(starts), len(steps))
    if draws is None:
        total = max(1, sum(lengths))
        choice = torch.randint(4, (count,), generator=generator)
        draws = torch.stack([choice, *(torch.randint(total, (count,), generator=generator) for _ in range(2))], dim=1)
    if len(draws) < count:
        raise InputError(f"there are {len(draws)} draws for {count} random pairs: expected one each.")
    here = starts[:, None].expand(turns)
    there = here + steps
    parity = torch.where(torch.as_tensor(is_odd(steps)), OTHER_SPEAKER, SAME_SPEAKER).expand(turns)
    label = ((window - steps) / window).expand(turns)
    positive = torch.stack([here, there, parity], dim=2)
    negative = [_random_pairs(there, draws[:count].view(*turns, 3))]
    if directional:
        negative.insert(0, torch.stack([there, here, parity], dim=2))
    negatives = torch.stack(negative, dim=2).flatten(1, 2)
    rows = torch.cat([positive, negatives], dim=1).flatten(0, 1)
    labels = torch.cat([label, torch.zeros(len(starts), negatives.shape[1])], dim=1).flatten()
    speaker = rows[:, 2] if speaker_tokens else torch.full_like(rows[:, 2], NO_SPEAKER)
    return CurvedPairs(rows[:, 0], rows[:, 1], speaker, labels)


def _starts(lengths: Sequence[int], window: int, official: bool) -> Int[Tensor, "w"]:
    """The number of the first utterance of each window."""
    first, found = 0, []
    for length in lengths:
        found.append(first + torch.arange(max(0, length - window + (0 if official else 1))))
        first += length
    return torch.cat(found) if found else torch.empty(0, dtype=torch.int64)


def _random_pairs(there: Tensor, draws: Tensor) -> Tensor:
    """Pairs (before, after, speaker) of an utterance of the window and a drawn one, (W, l − 1, 3)."""
    choice, r1, r2 = draws.unbind(dim=2)
    even, backwards = choice % 2 == 1, choice >= 2
    other = torch.where(even, r2, r1)
    before, after = torch.where(backwards, other, there), torch.where(backwards, there, other)
    return torch.stack([before, after, torch.where(even, SAME_SPEAKER, OTHER_SPEAKER)], dim=2)


class TurnViews(TextViews):
    """A turn seen from before and one seen from after, as token ids, and the cosine that is wanted.

    The records are those of `dipole.data.text.TurnPairs`.

    Args:
        max_length: tokens of a turn, special tokens included.

    Example:
        >>> TurnViews().columns
        ('before', 'after', 'label')
    """

    columns = ("before", "after", "label")

    def __init__(self, *, max_length: int = 64) -> None:
        super().__init__(num_views=2, max_length=max_length)

    def __call__(
        self, records: list[dict[str, Any]], tokenizer: Any, *, generator: torch.Generator | None = None
    ) -> dict[str, Tensor]:
        """Return `input_ids` and `attention_mask` (2, N, T), and `label` (N,)."""
        texts = [text_of(record, side) for side in ("before", "after") for record in records]
        encoded = encode_batch(texts, tokenizer, max_length=self.max_length)
        views = {name: values.unflatten(0, (2, -1)) for name, values in encoded.items()}
        return {**views, "label": torch.tensor([float(record["label"]) for record in records])}
