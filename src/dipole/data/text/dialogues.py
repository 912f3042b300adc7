"""Dialogues, and the pairs of turns that are learned from them."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from dipole.data.randomness import keyed_generator
from dipole.data.text.text_set import Record, TextSet
from dipole.errors import InputError
from dipole.views.text.turns import OTHER_SPEAKER, after_text, before_text, curved_pairs

_SPEAKER = re.compile(r"^\s*[\w .'-]{1,24}:\s+")


def turns_of(record: Record, column: str = "dialogue") -> list[str]:
    """Return the turns of a dialogue: a list of texts or of `{"text": …}`, or a text with a turn a line.

    A name and a colon at the beginning of every line of a text are its speaker and left out; so are empty turns.

    Raises:
        InputError: the column is missing, or holds something else.

    Example:
        >>> turns_of({"dialogue": "Ann: Hello.\\nBob: Hi!"})
        ['Hello.', 'Hi!']
    """
    if column not in record:
        raise InputError(f"a record has no column {column!r}: it has {', '.join(map(repr, record))}.")
    given = record[column]
    if isinstance(given, str):
        lines = [line for line in given.splitlines() if line.strip()]
        named = all(_SPEAKER.match(line) for line in lines)
        given = [_SPEAKER.sub("", line) if named else line for line in lines]
    texts = (
        [turn.get("text") if isinstance(turn, dict) else turn for turn in given] if isinstance(given, list) else None
    )
    if texts is None or not all(isinstance(text, str) for text in texts):
        raise InputError(
            f"column {column!r} holds no dialogue: expected a list of texts or of {{'text': …}}, or a text with a turn "
            "a line."
        )
    return [str(text).strip() for text in texts if str(text).strip()]


class TurnPairs(TextSet):
    """The training pairs of dialogues, see `curved_pairs`: `{"before", "after", "label"}`.

    Random pairs are drawn anew in every epoch, from seed and epoch alone.

    Args:
        dialogues: turns of each.
        name: of the set.
        window: turns of a window.
        speaker_tokens: say which speaker.
        directional: with pairs against the direction of time.
        marked: with the tokens of before and after; without them a pair has no direction.
        official_windows: leave the last window of each dialogue out.
        seed: 0 or more.

    Raises:
        InputError: no dialogue is as long as a window.

    Example:
        >>> pairs = TurnPairs([["a", "b", "c"]], window=3)
        >>> len(pairs), pairs[0]["before"], pairs[0]["after"], round(pairs[0]["label"], 3)
        (6, '[O] [BEFORE] a', '[AFTER] b', 0.667)
    """

    def __init__(
        self,
        dialogues: Sequence[Sequence[str]],
        name: str = "dialogues",
        *,
        window: int = 5,
        speaker_tokens: bool = True,
        directional: bool = True,
        marked: bool = True,
        official_windows: bool = False,
        seed: int = 0,
    ) -> None:
        self.turns = [turn for dialogue in dialogues for turn in dialogue]
        self.lengths = [len(dialogue) for dialogue in dialogues]
        self.options = {
            "window": window,
            "speaker_tokens": speaker_tokens,
            "directional": directional,
            "official_windows": official_windows,
        }
        self.marked, self.seed, self.epoch = marked, seed, -1
        self.set_epoch(0)
        count = len(self.pairs.label)
        if not count:
            longest = max(self.lengths, default=0)
            raise InputError(
                f"{name}: no dialogue has {window} turns (the longest {longest}): choose a shorter window."
            )
        super().__init__(name, ("before", "after", "label"), np.arange(count))

    def set_epoch(self, epoch: int) -> None:
        """Draw the random pairs of an epoch."""
        if epoch == self.epoch:
            return
        self.epoch = epoch
        self.pairs = curved_pairs(self.lengths, generator=keyed_generator(self.seed, epoch), **self.options)  # type: ignore[arg-type]

    def _read(self, row: int) -> Record:
        before, after, speaker = (int(values[row]) for values in self.pairs[:3])
        texts: list[Any] = [self.turns[before], self.turns[after]]
        if self.marked:
            odd = speaker == OTHER_SPEAKER if speaker else None
            texts = [before_text(texts[0], odd), after_text(texts[1])]
        return {"before": texts[0], "after": texts[1], "label": float(self.pairs.label[row])}


def toy_dialogues(count: int = 500, seed: int = 0) -> list[dict[str, Any]]:
    """Generate dialogues that follow one script, from a greeting to a farewell, each about one of six things.

    A turn is a word for what it does, one for how, a few that say nothing and, where it is about the thing, that; in
    any order.

    Args:
        count: number of dialogues.
        seed: 0 or more; same seed, same dialogues.

    Example:
        >>> len(toy_dialogues(1)[0]["dialogue"]) >= 8
        True
    """
    rng = np.random.default_rng((seed, 4))
    things, fillers = (
        ("flight", "hotel", "taxi", "table", "ticket", "tour"),
        ("well", "so", "then", "just", "really", "oh"),
    )
    about = {"ask_topic", "state_need", "ask_detail", "give_detail", "offer", "ask_price"}
    dialogues = []
    for _ in range(count):
        thing = things[int(rng.integers(len(things)))]
        script = ["greet", "ask_topic", "state_need"]
        for _ in range(int(rng.integers(1, 3))):
            script += ["ask_detail", "give_detail"]
        script += ["offer", *(["ask_price", "give_price"] if rng.random() < 0.5 else []), "accept", "thank", "bye"]
        turns = []
        for act in script:
            words = [act.replace("_", ""), f"{act.replace('_', '')}{'xyz'[int(rng.integers(3))]}"]
            words += [fillers[int(rng.integers(len(fillers)))] for _ in range(int(rng.integers(1, 4)))]
            words += [thing] if act in about else []
            turns.append(" ".join(words[place] for place in rng.permutation(len(words))))
        dialogues.append({"dialogue": turns, "thing": thing})
    return dialogues


def turns_of_all(texts: TextSet, column: str) -> list[list[str]]:
    """Return the turns of every dialogue of a set."""
    texts.require(column)
    return [turns_of(record, column) for record in texts.fetch(torch.arange(len(texts)))]
