"""Pairs of sentences of a corpus, drawn by inverse propensity."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol, get_args

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from dipole.errors import InputError
from dipole.negatives import gumbel_top_k, propensity_weights
from dipole.ops.checks import check_at_least, check_choice
from dipole.views.text.records import TextViews, encode_batch, text_of
from dipole.views.text.similarity import SurfaceMeasure, surface_similarity


class Corpus(Protocol):
    """What candidates are fetched from."""

    def fetch(self, indices: Tensor) -> list[dict[str, Any]]:
        """Return records."""


class PropensityPairs(TextViews):
    """A sentence, a positive that says the same in other words, K negatives that say something else in the same words.

    The candidates of each sentence and their similarities are set by `DebCSE`; a draw follows `propensity_weights`. A
    sentence without an admissible positive is its own, told apart by dropout; missing negatives are marked.

    Args:
        negatives: K.
        alpha: α, weight of the meaning.
        beta: β, weight of the wording.
        surface_epsilon: ε of the wording.
        semantic_floor: least cosine that counts.
        positive_threshold: δ₊, least cosine of a positive.
        negative_threshold: δ₋, largest cosine of a negative.
        measure: of the wording, see `surface_similarity`.
        length_penalty: of the wording, likewise.
        mode: `"sample"` draws by the weights; `"weight"` draws admissible positives evenly and weighs the losses.
        max_length: tokens of a sentence.
        column: of the records that holds the text.

    Example:
        >>> PropensityPairs().negatives
        1
    """

    indexed = True

    def __init__(
        self,
        *,
        negatives: int = 1,
        alpha: float = 1.0,
        beta: float = 1.0,
        surface_epsilon: float = 0.05,
        semantic_floor: float = 1e-3,
        positive_threshold: float | None = 0.55,
        negative_threshold: float | None = 0.45,
        measure: SurfaceMeasure = "levenshtein",
        length_penalty: bool = False,
        mode: Literal["sample", "weight"] = "sample",
        max_length: int = 32,
        column: str = "text",
    ) -> None:
        super().__init__(num_views=2 + negatives, max_length=max_length)
        check_at_least(negatives, 0, "negatives")
        check_choice(measure, get_args(SurfaceMeasure), "measure")
        check_choice(mode, ("sample", "weight"), "mode")
        self.negatives, self.column, self.mode = negatives, column, mode
        self.measure, self.length_penalty = measure, length_penalty
        self.weighing = {
            "alpha": alpha,
            "beta": beta,
            "surface_epsilon": surface_epsilon,
            "semantic_floor": semantic_floor,
        }
        self.thresholds = {"positive": positive_threshold, "negative": negative_threshold}
        self.columns = (column,)
        self.texts: Corpus | None = None
        self.table: dict[str, Tensor] = {}
        self.probabilities(torch.zeros(1, 1), torch.zeros(1, 1), "positive")  # refuses what is out of range

    def probabilities(self, semantic: Tensor, surface: Tensor, role: Literal["positive", "negative"]) -> Tensor:
        """Return the probabilities (N, C) of candidates in a role."""
        return propensity_weights(semantic, surface, role=role, threshold=self.thresholds[role], **self.weighing)

    def surfaces(self, texts: Sequence[str], candidates: Sequence[Sequence[str]]) -> Float[Tensor, "n c"]:
        """Return how alike texts and their candidates are written."""
        return torch.tensor(
            [
                [
                    surface_similarity(text, other, measure=self.measure, length_penalty=self.length_penalty)
                    for other in others
                ]
                for text, others in zip(texts, candidates, strict=True)
            ]
        )

    def set_table(self, table: dict[str, Tensor]) -> None:
        """Take the candidates of all sentences, and share them with the processes that load batches."""
        self.table = {name: values.share_memory_() for name, values in table.items()}

    def __call__(
        self,
        records: list[dict[str, Any]],
        tokenizer: Any,
        *,
        generator: torch.Generator | None = None,
        index: Int64[Tensor, "n"] | None = None,
    ) -> dict[str, Tensor]:
        """Return the tuples of N sentences.

        Returns:
            `input_ids` and `attention_mask` (2 + K, N, T): sentences, positives, negatives; `valid` (N, K), `found`
            (N,) whether the positive is another sentence, `weight` (N,) of the loss, 1 on average.
        """
        anchors = [text_of(record, self.column) for record in records]
        if self.texts is None or not self.table or index is None:
            raise InputError("the candidates are not there yet: these views are made during a run of debcse.")
        candidates, semantic, surface = (self.table[name][index] for name in ("candidates", "semantic", "surface"))
        likely = self.probabilities(semantic, surface, "positive")
        drawn_by = (likely > 0).to(likely) if self.mode == "weight" else likely
        positive = gumbel_top_k(drawn_by, 1, generator=generator)[:, 0]
        found = positive >= 0
        weight = torch.ones(len(records))
        if self.mode == "weight":
            admissible = (likely > 0).sum(dim=1)
            own = likely.gather(1, positive.clamp_min(0)[:, None])[:, 0] * admissible
            weight = torch.where(found, own, 1.0)
        texts = [anchors, self._texts(candidates, positive, anchors)]
        valid = torch.zeros(len(records), self.negatives, dtype=torch.bool)
        if self.negatives:
            unlikely = self.probabilities(semantic, surface, "negative")
            negative = gumbel_top_k(unlikely, self.negatives, generator=generator)
            valid = negative >= 0
            texts += [self._texts(candidates, column, anchors) for column in negative.T]
        encoded = encode_batch([text for view in texts for text in view], tokenizer, max_length=self.max_length)
        views = {name: values.unflatten(0, (len(texts), -1)) for name, values in encoded.items()}
        return {**views, "valid": valid, "found": found, "weight": weight / weight.mean()}

    def _texts(self, candidates: Tensor, chosen: Tensor, anchors: list[str]) -> list[str]:
        """The chosen candidates' texts; the sentence itself where there is none."""
        assert self.texts is not None
        rows = candidates.gather(1, chosen.clamp_min(0)[:, None])[:, 0]
        records = self.texts.fetch(rows.clamp_min(0))
        return [
            text_of(record, self.column) if place >= 0 else anchor
            for record, place, anchor in zip(records, chosen.tolist(), anchors, strict=True)
        ]
