"""DebCSE."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from dipole.card import Card
from dipole.errors import InputError
from dipole.evaluation.retrieval import dense_search
from dipole.losses import tuple_info_nce_loss
from dipole.methods.text.simcse import SimCSE
from dipole.methods.text.teacher import Teacher
from dipole.nn.text import TextEncoder
from dipole.nn.whitening import group_whiten
from dipole.ops.checks import check_at_least
from dipole.views.text import PropensityPairs, TextViews

ONCE = 2**31  # epochs between two looks at what does not change
BLOCK = 4096  # sentences whose wording is compared at a time


class DebCSE(SimCSE):
    """SimCSE whose pairs are drawn by inverse propensity: alike in meaning and not in wording, or the reverse.

        1. once: embed all sentences with a frozen encoder; of each, take its nearest, those of the most similar words,
           and some at random; compute cosines and the similarity of the wording
        2. every epoch: draw a positive p⁺ ∝ meaning / wording and K negatives p⁻ ∝ wording / meaning of each sentence
        3. z = tanh(A h + b)        4. minimise InfoNCE against the other positives and the hard negatives

    Args:
        teacher: the frozen encoder; a copy of the encoder as it begins if None.
        teacher_groups: whiten the teacher's embeddings in so many groups of channels over the corpus; not at all if 0.
        neighbours: candidates by the meaning.
        word_neighbours: candidates by the words (BM25), for negatives above all.
        random_candidates: drawn from the whole corpus.
        own_negatives_only: contrast with the hard negatives of the sentence itself, not with those of the batch.
        temperature: τ.
        learning_rate: after warm-up.
        **options: arguments of `SimCSE`, `SentenceEmbedding` and `Method`.

    Example:
        >>> import tempfile
        >>> from dipole.data.text import MemoryTextSet
        >>> from dipole.nn.text import new_bert
        >>> texts = ["a cat sat", "the cat sat", "a dog ran", "one dog ran"]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     method = DebCSE(encoder=str(new_bert(texts, folder, width=8)), neighbours=2, word_neighbours=0)
        >>> views = method.build_views()
        >>> views.texts = MemoryTextSet(texts)
        >>> method.refreshed = method.refresh(torch.randn(4, 8), torch.arange(4))
        >>> records = [{"text": text} for text in texts]
        >>> batch = views(records, method.encoder.tokenizer, index=torch.arange(4))
        >>> sorted(method.loss_terms({"views": batch, "index": torch.arange(4)}))
        ['found', 'hard_negatives', 'loss']
    """

    card = Card(
        name="debcse",
        slug="debcse",
        title="DebCSE: Rethinking Unsupervised Contrastive Sentence Embedding Learning in the Debiasing Perspective",
        authors="Miao, Du, Zhang",
        year=2023,
        venue="CIKM",
        arxiv="2309.07396",
        field="text",
        summary="Pairs drawn by inverse propensity: positives in other words, negatives in the same words.",
        equations=("inverse propensity weights (reconstructed)", "InfoNCE with hard negatives (supervised SimCSE)"),
        official_code=None,
        differences=(
            "A **reconstruction from the abstract**: the paper's formulas, its candidates and its settings were not to "
            "be had, and there is no code. Weights, thresholds and the number of candidates are choices of dipole.",
            "Candidates are neighbours by meaning, neighbours by words and random sentences; augmented sentences are "
            "none.",
            "Thresholds are for cosines of a whitened teacher: set them anew for another one.",
        ),
    )
    views_class = PropensityPairs
    compares_views = False

    def __init__(
        self,
        *,
        teacher: str | nn.Module | None = None,
        teacher_groups: int = 8,
        neighbours: int = 15,
        word_neighbours: int = 5,
        random_candidates: int = 5,
        own_negatives_only: bool = False,
        temperature: float = 0.05,
        learning_rate: float = 3e-5,
        **options: Any,
    ) -> None:
        super().__init__(temperature=temperature, learning_rate=learning_rate, **options)
        for name, value in (
            ("teacher_groups", teacher_groups),
            ("neighbours", neighbours),
            ("word_neighbours", word_neighbours),
            ("random_candidates", random_candidates),
        ):
            check_at_least(value, 0, name)
        if neighbours + word_neighbours + random_candidates < 1:
            raise InputError("no candidates are asked for: set neighbours, word_neighbours or random_candidates.")
        self.teacher, self.teacher_groups = Teacher(teacher), teacher_groups
        self.neighbours, self.word_neighbours, self.random_candidates = neighbours, word_neighbours, random_candidates
        self.own_negatives_only = own_negatives_only
        self.refresh_every = ONCE
        self._views: PropensityPairs | None = None

    @property
    def num_views(self) -> int:
        """A sentence, its positive and its hard negatives."""
        return 2 if self._views is None else self._views.num_views

    @property
    def refresh_encoder(self) -> TextEncoder:
        """The encoder whose embeddings `refresh` sees."""
        return self.teacher.open(self.encoder)

    def build_views(self, **options: Any) -> TextViews:
        """Return the pairs that the method trains on; a teacher that cannot be opened is told of now."""
        self.teacher.open(self.encoder)
        self._views = PropensityPairs(max_length=self.encoder.max_length, **options)
        return self._views

    def refresh(self, embeddings: Float[Tensor, "n f"], index: Int64[Tensor, "n"]) -> dict[str, Tensor]:
        """Find the candidates of every sentence: `candidates` (N, C), `semantic` and `surface` (N, C)."""
        assert self._views is not None
        if len(index) < 2:
            raise InputError("a corpus of one sentence has no other one to pair it with.")
        if self.teacher_groups:
            embeddings = group_whiten(embeddings, self.teacher_groups, eps=1e-3)
        unit = nn.functional.normalize(embeddings, dim=1)
        texts = self._lines(index)
        parts = [self._by_meaning(unit), self._by_words(texts), self._at_random(len(index))]
        candidates = torch.cat([part for part in parts if part.shape[1]], dim=1)
        semantic = torch.cat(
            [(unit[rows, None] * unit[candidates[rows]]).sum(dim=2) for rows in torch.arange(len(unit)).split(BLOCK)]
        )
        semantic[_repeated(candidates) | (candidates == torch.arange(len(index))[:, None])] = torch.nan
        surface = torch.cat(
            [
                self._views.surfaces(
                    [texts[row] for row in rows.tolist()],
                    [[texts[other] for other in candidates[row].tolist()] for row in rows.tolist()],
                )
                for rows in torch.arange(len(index)).split(BLOCK)
            ]
        )
        table = {"candidates": candidates, "semantic": semantic, "surface": surface}
        self._views.set_table(table)
        return table

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take back the candidates, for the views as well."""
        super().on_load_checkpoint(checkpoint)
        if self._views is not None and self.refreshed:
            self._views.set_table(self.refreshed)

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return InfoNCE of sentences and positives, with the hard negatives that there are."""
        views = batch["views"]
        z = self.head(self.project(views))
        losses = tuple_info_nce_loss(
            z[0],
            z[1],
            z[2:].transpose(0, 1),
            valid=views["valid"],
            scope="own_negatives" if self.own_negatives_only else "batch",
            temperature=self.temperature,
            gather=self.gather,
            reduction="none",
        )
        found, hard = views["found"].float().mean(), views["valid"].float().sum() / len(z[0])
        return {"loss": (views["weight"] * losses).mean(), "found": found, "hard_negatives": hard}

    def _lines(self, index: Tensor) -> list[str]:
        """All sentences."""
        assert self._views is not None
        if self._views.texts is None:
            raise InputError("debcse compares the wording of sentences: give its views the texts.")
        return [str(record[self._views.column]) for record in self._views.texts.fetch(index)]

    def _by_meaning(self, unit: Tensor) -> Int64[Tensor, "n k"]:
        """The nearest other sentences of each one."""
        if not self.neighbours:
            return torch.empty(len(unit), 0, dtype=torch.int64)
        return _others(dense_search(unit, unit, min(self.neighbours + 1, len(unit)))[1])

    def _by_words(self, texts: list[str]) -> Int64[Tensor, "n k"]:
        """The other sentences that BM25 finds for each one."""
        if not self.word_neighbours:
            return torch.empty(len(texts), 0, dtype=torch.int64)
        from dipole.evaluation.bm25 import BM25

        return _others(BM25(texts).nearest(texts, min(self.word_neighbours + 1, len(texts))))

    def _at_random(self, count: int) -> Int64[Tensor, "n k"]:
        """Sentences drawn for each one, always the same."""
        generator = torch.Generator().manual_seed(0)
        return torch.randint(count, (count, self.random_candidates), generator=generator)


def _others(found: Int64[Tensor, "n k"]) -> Int64[Tensor, "n k-1"]:
    """What was found without the sentence itself; without the last where it is not among them."""
    own = torch.arange(len(found))[:, None]
    is_own = found == own
    is_own[~is_own.any(dim=1), -1] = True
    return found[~is_own].view(len(found), -1)


def _repeated(candidates: Int64[Tensor, "n c"]) -> Tensor:
    """Where a candidate stands in the row already, (N, C)."""
    same = candidates[:, :, None] == candidates[:, None, :]
    return same.tril(-1).any(dim=2)
