"""Rows of sounds and captions -> pairs of sounds in several arrangements in time, with their captions (TeminAL)."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.checks import check_at_least, check_choice
from dipole.views.modalities import ModalityViews, heard_part
from dipole.views.sound.composition import concatenated, level, overlaid, peak_normalised
from dipole.views.sound.expressions import ORDER_PHRASES, OVERLAP_PHRASES

Phase = Literal["several", "time"]
Arrangements = Literal["forward", "inverted", "overlaid"]
BLOCKS: dict[Arrangements, int] = {"forward": 1, "inverted": 2, "overlaid": 3}
ORDER = ("{x} before {y}", "{y} after {x}")
WHILE = ("{x} while {y}", "{y} while {x}")
BOTH = ("{x} and {y}",)
SHORTEST_SHARE = 0.6  # of half a clip, to which a part is cut at most


class SoundTextViews(ModalityViews):
    """Views of rows that have a sound and a text.

    `phrases` are what they put between captions; a learned tokenizer must know these words.

    Args:
        modalities: facts of each modality: one of sounds, one of texts.
        max_lengths: see `ModalityViews`.

    Raises:
        InputError: there are other modalities.

    Example:
        >>> facts = {"sound": {"kind": "sound", "rate": 8000, "samples": 8000}, "caption": {"kind": "text"}}
        >>> SoundTextViews(facts, {"caption": 8}).names
        ('sound', 'caption')
    """

    phrases: ClassVar[tuple[str, ...]] = (*ORDER_PHRASES, *OVERLAP_PHRASES, "after", "while", "preceded by")

    def __init__(
        self, modalities: Mapping[str, Mapping[str, Any]], max_lengths: Mapping[str, int] | None = None
    ) -> None:
        super().__init__(modalities, max_lengths)
        self.names = sound_and_text(modalities)

    @property
    def rate(self) -> int:
        """Samples a second."""
        return int(self.modalities[self.names[0]]["rate"])

    @property
    def samples(self) -> int:
        """Samples of a sound."""
        return int(self.modalities[self.names[0]]["samples"])

    def whole(
        self, records: Sequence[Mapping[str, Any]], generator: torch.Generator | None = None
    ) -> tuple[list[Tensor], list[str]]:
        """Return the sounds, without the silence that fills them, and the first captions of rows that have both.

        Of recordings a part is drawn.

        Raises:
            InputError: there are no two rows with different captions.
        """
        sound, text = self.names
        rows = [row for row in records if row[sound] is not None and row[text] is not None]
        captions = [row[text][0] for row in rows]
        if len(set(captions)) < 2:
            raise InputError(
                f"a batch of {len(records)} rows holds sounds of {len(set(captions))} captions: two different ones are "
                "needed to compose a sound. Use larger batches."
            )
        return [without_filling(heard_part(row[sound], generator)) for row in rows], captions

    def filled(self, sounds: Sequence[Tensor]) -> Tensor:
        """Return sounds (N, samples), cut at the end or filled with silence."""
        result = torch.zeros(len(sounds), self.samples)
        for row, sound in zip(result, sounds, strict=True):
            kept = sound[: self.samples]
            row[: len(kept)] = kept
        return result

    def tokens(self, texts: Sequence[str], tokenizers: Mapping[str, Any]) -> Tensor:
        """Return token ids and masks (N, 2, T)."""
        name = self.names[1]
        known = torch.ones(len(texts), dtype=torch.bool)
        return self._texts(name, [[text] for text in texts], known, tokenizers.get(name), None)


class ArrangedViews(SoundTextViews):
    """Pairs of sounds with different captions, in several arrangements.

        several   N sounds as they are with "x", then N of two sounds with "x and y"
        time      N sounds "x before y", N with the parts exchanged, N with the parts over each other, "x while y"

    Each row of a batch is paired with a random one of another caption. Both parts are cut at random to half the length
    of a sound at most, and brought to the same level, so that a composed sound is as long as a single one. Without a
    generator, or with a single modality, views are those of `ModalityViews`.

    Args:
        modalities: see `SoundTextViews`.
        max_lengths: see `ModalityViews`.
        phase: see above.
        arrangements: of the phase "time": `"forward"` alone, `"inverted"` beside it, `"overlaid"` beside both.
        fade: share of a part that fades at the joint, see `concatenated`.
        several_overlaid: share of the pairs of the phase "several" that lie over each other, from 0 to 1.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> facts = {"sound": {"kind": "sound", "rate": 8000, "samples": 8000}, "caption": {"kind": "text"}}
        >>> ArrangedViews(facts, {"caption": 8}).captions_of("a", "b", torch.Generator().manual_seed(0))
        ['a before b', 'a after b', 'b while a']
    """

    def __init__(
        self,
        modalities: Mapping[str, Mapping[str, Any]],
        max_lengths: Mapping[str, int] | None = None,
        *,
        phase: Phase = "time",
        arrangements: Arrangements = "overlaid",
        fade: float = 0.1,
        several_overlaid: float = 0.5,
    ) -> None:
        super().__init__(modalities, max_lengths)
        check_choice(phase, ("several", "time"), "phase")
        check_choice(arrangements, tuple(BLOCKS), "arrangements")
        for name, value in (("fade", fade), ("several_overlaid", several_overlaid)):
            check_at_least(value, 0, name)
            check_at_least(1 - value, 0, f"1 − {name}")
        self.phase, self.arrangements, self.fade = phase, arrangements, fade
        self.several_overlaid = several_overlaid

    def __call__(
        self,
        records: Sequence[Mapping[str, Any]],
        tokenizers: Mapping[str, Any],
        *,
        generator: torch.Generator | None = None,
    ) -> dict[str, dict[str, Tensor]]:
        """Make a batch: `inputs` of both modalities, block after block, and `present`, False where pairs repeat."""
        if generator is None or len(self.modalities) < 2:
            return super().__call__(records, tokenizers, generator=generator)
        sounds, captions = self.whole(records, generator)
        made: list[list[Tensor]] = []
        texts: list[list[str]] = []
        seen: set[frozenset[str]] = set()
        kept = []
        for row in range(len(records)):
            first = row % len(sounds)
            second = _partner(first, captions, generator)
            pair = frozenset((captions[first], captions[second]))
            kept.append(pair not in seen)
            seen.add(pair)
            one, other = (self.part(sounds[place], generator) for place in (first, second))
            made.append(self._arranged(one, other, sounds[first], generator))
            names = captions[first], captions[second]
            texts.append([names[0], _one(BOTH, generator).format(x=names[0], y=names[1])])
            if self.phase == "time":
                texts[-1] = self.captions_of(*names, generator)
        blocks = len(made[0])
        flat = [made[row][block] for block in range(blocks) for row in range(len(records))]
        words = [texts[row][block] for block in range(blocks) for row in range(len(records))]
        sound, text = self.names
        present = torch.tensor(kept).repeat(blocks)
        inputs = {sound: self.filled(flat), text: self.tokens(words, tokenizers)}
        return {"inputs": inputs, "present": {sound: present, text: present}}

    def captions_of(self, x: str, y: str, generator: torch.Generator) -> list[str]:
        """Return the captions of the arrangements of two sounds."""
        forward = _one(ORDER, generator).format(x=x, y=y)
        inverted = _one(ORDER, generator).format(x=y, y=x)
        return [forward, inverted, _one(WHILE, generator).format(x=x, y=y)][: BLOCKS[self.arrangements]]

    def part(self, sound: Tensor, generator: torch.Generator) -> Tensor:
        """Return a random part of a sound, half as long as a whole one or less, at the common level."""
        half = max(2, self.samples // 2)
        shortest = SHORTEST_SHARE + (1 - SHORTEST_SHARE) * float(torch.rand((), generator=generator))
        length = min(len(sound), max(2, int(half * shortest)))
        start = int(torch.randint(len(sound) - length + 1, (), generator=generator))
        return level(sound[start : start + length])

    def _arranged(self, x: Tensor, y: Tensor, single: Tensor, generator: torch.Generator) -> list[Tensor]:
        """The sounds of a pair, one for each block."""
        if self.phase == "several":
            over = float(torch.rand((), generator=generator)) < self.several_overlaid
            both = overlaid(x, y, self.rate) if over else concatenated(x, y, self.fade)
            return [peak_normalised(single), both]
        made = [concatenated(x, y, self.fade), concatenated(y, x, self.fade)][: BLOCKS[self.arrangements]]
        return [*made, overlaid(x, y, self.rate)] if self.arrangements == "overlaid" else made


def sound_and_text(modalities: Mapping[str, Mapping[str, Any]]) -> tuple[str, str]:
    """Return the names of the one modality of sounds and the one of texts; a view of one modality has it twice.

    Raises:
        InputError: there are others, or one is missing.

    Example:
        >>> sound_and_text({"caption": {"kind": "text"}, "clip": {"kind": "sound"}})
        ('clip', 'caption')
    """
    sounds = [name for name, facts in modalities.items() if facts["kind"] == "sound"]
    texts = [name for name, facts in modalities.items() if facts["kind"] == "text"]
    if len(sounds) != 1 or len(texts) != 1 or len(modalities) != 2:
        kinds = ", ".join(f"{name} ({facts['kind']})" for name, facts in modalities.items())
        raise InputError(
            f"modalities are {kinds}: expected one of sounds and one of texts. Name them with --loading.modalities."
        )
    return sounds[0], texts[0]


def without_filling(sound: Tensor) -> Tensor:
    """Return a sound without the zeros at its end; one of zeros alone keeps two samples.

    Example:
        >>> without_filling(torch.tensor([0.0, 0.5, 0.1, 0.0, 0.0]))
        tensor([0.0000, 0.5000, 0.1000])
    """
    heard = sound.nonzero()
    return sound[: max(2, int(heard[-1]) + 1 if len(heard) else 0)]


def _partner(first: int, captions: Sequence[str], generator: torch.Generator) -> int:
    """A random row of another caption."""
    others = [row for row, caption in enumerate(captions) if caption != captions[first]]
    return others[int(torch.randint(len(others), (), generator=generator))]


def _one(choices: Sequence[str], generator: torch.Generator) -> str:
    """A random one."""
    return choices[int(torch.randint(len(choices), (), generator=generator))]
