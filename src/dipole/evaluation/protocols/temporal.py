"""Zero-shot tasks on the order of sounds."""

from typing import Any, ClassVar

import torch

from dipole.evaluation.materials import ModalityMaterial
from dipole.evaluation.protocol import Measured, Protocol
from dipole.evaluation.temporal import both_sounds_accuracy, relation_accuracy, single_sound_accuracy
from dipole.evaluation.winoground import winoground_scores
from dipole.ops.checks import check_at_least


class Temporal(Protocol):
    """ZSTE: which sound, which two, in which order, in which relation; and Winoground scores of order.

    Two test sounds of different classes are put one after the other, the other way round, and over each other. A prompt
    is the name of a class (`single`, `both`), or "x before y", "x after y", "x while y" (`order`, `relation`); `unseen
    words` is the order in "followed by" and "preceded by".

    Args:
        pairs: that are composed, drawn at random.
    """

    name: ClassVar[str] = "temporal"
    domains = ("multimodal",)
    measures = "temporal"
    by_default = False
    place = 20

    def __init__(self, pairs: int = 150) -> None:
        check_at_least(pairs, 1, "pairs")
        self.pairs = pairs

    @classmethod
    def suits(cls, material: Any) -> bool:
        """Whether a method has learned from composed sounds."""
        return any(getattr(one, "composes", False) for one in material.candidates.values())

    def lacks(self, material: ModalityMaterial) -> str | None:
        """A modality of sounds and one of texts."""
        return None if material.able(self.measures) else "it needs one modality of sounds and one of texts"

    def measure(self, material: ModalityMaterial) -> Measured:
        """Return the tasks and the scores, and what chance would give."""
        rows = {name: temporal_scores(one.temporal(self.pairs, material.seed)) for name, one in self._able(material)}
        chance = {"order": 1 / 2, "relation": 1 / 3, "unseen words": 1 / 2, "text": 1 / 4, "audio": 1 / 4}
        chance["group"] = 1 / 6
        return Measured({**rows, "chance": chance}, {"temporal": {"pairs": self.pairs}})

    def _able(self, material: ModalityMaterial) -> list[tuple[str, Any]]:
        """Candidates that can be measured."""
        return list(material.able(self.measures).items())


def temporal_scores(items: Any) -> dict[str, float]:
    """Return the tasks of ZSTE and Winoground scores of order.

    Args:
        items: embeddings as `dipole.runs.temporal_items.TemporalItems` holds them.
    """
    forward, inverted, over = items.arranged
    strict, loose = both_sounds_accuracy(torch.cat([forward, over]), items.class_texts, items.pair_labels.repeat(2, 1))
    pairs = len(forward)
    relation = torch.arange(3).repeat_interleave(pairs)
    texts = items.relation_texts.repeat(3, 1, 1)
    sounds = items.arranged.flatten(0, 1)
    ordered = sounds[: 2 * pairs]
    scores = winoground_scores(items.relation_texts[:, 0], items.inverted_text, forward, inverted)
    return {
        "single": single_sound_accuracy(items.single, items.class_texts, items.labels),
        "both": strict,
        "one of both": loose,
        "order": relation_accuracy(ordered, texts[: 2 * pairs, :2], relation[: 2 * pairs]),
        "relation": relation_accuracy(sounds, texts, relation),
        "unseen words": relation_accuracy(ordered, items.unseen_texts.repeat(2, 1, 1), relation[: 2 * pairs]),
        **scores._asdict(),
    }
