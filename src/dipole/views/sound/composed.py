"""Rows of sounds and captions -> composed sounds with their captions, true parts and false texts (CompA)."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.checks import check_at_least, check_choice
from dipole.views.sound.arranged import SoundTextViews
from dipole.views.sound.composition import level
from dipole.views.sound.expressions import (
    ORDER_PHRASES,
    OVERLAP_PHRASES,
    compose,
    expression_texts,
    verbalise,
)

Pattern = Literal["order", "pairs", "modular"]
# Expressions over events A, B, … by the number of events, and how often each number is drawn.
EXPRESSIONS: dict[int, tuple[str, ...]] = {
    2: ("A+B", "A*B"),
    3: ("A+B+C", "(A+B)*C", "A*(B+C)", "A*B+C", "A+B*C"),
    4: ("A+B+C+D", "(A+B)*(C+D)", "A*(B+C+D)", "A*B+C*D"),
}
SHARES = {2: 0.3, 3: 0.6, 4: 0.1}
EVENTS = "ABCD"


class ComposedViews(SoundTextViews):
    """Sounds composed of those of a batch by expressions, see `dipole.views.sound.expressions`.

        order     "A + B"; false: "B + A"
        pairs     "A + B" or "A * B"; false: the other operator, and the other order
        modular   expressions of 2, 3 or 4 events (shares 0.3, 0.6, 0.1); true parts and false texts of each

    The events of a sound have different captions; each row of the batch is the first event of one sound. Without a
    generator, or with a single modality, views are those of `ModalityViews`.

    Args:
        modalities: see `SoundTextViews`.
        max_lengths: see `ModalityViews`.
        pattern: see above.
        most_positives: true parts of a sound at most, drawn at random.
        most_negatives: false texts of a sound at most, drawn at random.
        order_phrase: for `+`; `"random"` draws one of `ORDER_PHRASES` for each sound.
        overlap_phrase: for `*`; `"random"` draws one of `OVERLAP_PHRASES`.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> facts = {"sound": {"kind": "sound", "rate": 8000, "samples": 8000}, "caption": {"kind": "text"}}
        >>> views = ComposedViews(facts, {"caption": 8}, pattern="order")
        >>> views.texts_of("A+B", {"A": "rain", "B": "a dog"}, torch.Generator())
        (['rain before a dog'], ['a dog before rain'])
    """

    def __init__(
        self,
        modalities: Mapping[str, Mapping[str, Any]],
        max_lengths: Mapping[str, int] | None = None,
        *,
        pattern: Pattern = "order",
        most_positives: int = 5,
        most_negatives: int = 5,
        order_phrase: str = "before",
        overlap_phrase: str = "and",
    ) -> None:
        super().__init__(modalities, max_lengths)
        check_choice(pattern, ("order", "pairs", "modular"), "pattern")
        check_at_least(most_positives, 0, "most_positives")
        check_at_least(most_negatives, 0, "most_negatives")
        if not order_phrase.strip() or not overlap_phrase.strip():
            raise InputError(f"phrases are {order_phrase!r} and {overlap_phrase!r}: expected words, or 'random'.")
        self.pattern, self.most_positives, self.most_negatives = pattern, most_positives, most_negatives
        self.order_phrase, self.overlap_phrase = order_phrase, overlap_phrase

    def __call__(
        self,
        records: Sequence[Mapping[str, Any]],
        tokenizers: Mapping[str, Any],
        *,
        generator: torch.Generator | None = None,
    ) -> dict[str, Any]:
        """Make a batch: `inputs` of N sounds and all their texts, `present`, and how many `positives`, `negatives`."""
        if generator is None or len(self.modalities) < 2:
            return super().__call__(records, tokenizers, generator=generator)
        sounds, captions = self.whole(records, generator)
        made, words, counts = [], [], []
        for row in range(len(records)):
            expression, names, rows = self._drawn(row % len(sounds), captions, generator)
            events = zip(EVENTS, rows, strict=False)
            parts = {event: self._part(sounds[place], len(rows), generator) for event, place in events}
            made.append(compose(expression, parts, self.rate))
            true, false = self.texts_of(expression, names, generator)
            words += [*true, *false]
            counts.append((len(true) - 1, len(false)))
        sound, text = self.names
        tokens = self.tokens(words, tokenizers)
        inputs = {sound: self.filled(made), text: tokens}
        present = {name: torch.ones(len(values), dtype=torch.bool) for name, values in inputs.items()}
        positives, negatives = torch.tensor(counts).T
        return {"inputs": inputs, "present": present, "counts": {"positives": positives, "negatives": negatives}}

    def texts_of(
        self, expression: str, names: Mapping[str, str], generator: torch.Generator
    ) -> tuple[list[str], list[str]]:
        """Return the caption and true parts of an expression, and false texts, in words."""
        order, overlap = (
            choices[int(torch.randint(len(choices), (), generator=generator))] if phrase == "random" else phrase
            for phrase, choices in ((self.order_phrase, ORDER_PHRASES), (self.overlap_phrase, OVERLAP_PHRASES))
        )
        texts = expression_texts(expression)
        negatives = texts.negatives if self.pattern != "order" else ("B+A",)
        positives = texts.positives if self.pattern == "modular" else ()
        caption = verbalise(texts.caption, order, overlap, names)
        true = [verbalise(part, order, overlap, names) for part in _some(positives, self.most_positives, generator)]
        false = [verbalise(part, order, overlap, names) for part in _some(negatives, self.most_negatives, generator)]
        # Without parentheses different expressions may read alike.
        true = [caption, *(text for text in dict.fromkeys(true) if text != caption)]
        return true, [text for text in dict.fromkeys(false) if text not in true]

    def _drawn(
        self, first: int, captions: Sequence[str], generator: torch.Generator
    ) -> tuple[str, dict[str, str], list[int]]:
        """An expression, the captions of its events, and their rows."""
        different = len(set(captions))
        number = 2
        if self.pattern == "modular":
            weights = torch.tensor([SHARES[count] if count <= different else 0.0 for count in EXPRESSIONS])
            number = list(EXPRESSIONS)[int(torch.multinomial(weights, 1, generator=generator))]
        choices = ("A+B",) if self.pattern == "order" else EXPRESSIONS[number]
        expression = choices[int(torch.randint(len(choices), (), generator=generator))]
        rows = [first]
        for row in torch.randperm(len(captions), generator=generator).tolist():
            if len(rows) < number and all(captions[row] != captions[other] for other in rows):
                rows.append(row)
        return expression, {event: captions[row] for event, row in zip(EVENTS, rows, strict=False)}, rows

    def _part(self, sound: Tensor, events: int, generator: torch.Generator) -> Tensor:
        """A random part of a sound, so short that all events fit one after the other, at the common level."""
        length = min(len(sound), max(2, self.samples // events))
        start = int(torch.randint(len(sound) - length + 1, (), generator=generator))
        return level(sound[start : start + length])


def _some(texts: Sequence[str], most: int, generator: torch.Generator) -> list[str]:
    """At most so many, drawn at random."""
    if len(texts) <= most:
        return list(texts)
    return [texts[place] for place in torch.randperm(len(texts), generator=generator)[:most].tolist()]
