"""Embedded contents of several modalities, and how often what belongs to a query is found among them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from dipole.evaluation.cross_modal import chance_at, recall_at, retrieval_ranks


@dataclass
class Items:
    """Contents of a modality, each once: every caption of a cell is one, and so is a text that several rows share.

    Attributes:
        embeddings: (K, D), as the method compares them.
        rows: for each row of the set, which of them stand in it; empty where the modality is missing.
        shown: what a reader sees of each.
        read: reads each once more, as the views take it: images and sounds are not kept in memory.
    """

    embeddings: Tensor
    rows: list[list[int]]
    shown: list[str]
    read: list[Callable[[], Any]]

    def first(self, row: int) -> Tensor:
        """The embedding of the first content of a row; zero where there is none."""
        return self.embeddings[self.rows[row][0]] if self.rows[row] else torch.zeros_like(self.embeddings[0])


@runtime_checkable
class ModalCandidate(Protocol):
    """What is asked of an encoder of several modalities.

    Attributes:
        items: its embedded contents of the rows, by modality.
        text: the first modality of texts; None if there is none.
    """

    items: Mapping[str, Items]
    text: str | None

    def queries(self, given: dict[str, Tensor], target: str) -> list[Tensor] | None:
        """Return the embeddings (N, D) of all modalities but the target; None if one is missing and cannot be."""

    def missing(self, name: str) -> Tensor | None:
        """Return what stands for a missing modality; None if nothing can."""

    def score(self, queries: Sequence[Tensor], candidates: Tensor) -> Tensor:
        """Return scores (N, K) of candidates (K, D) for queries (N, D) of the other modalities."""

    def classes(self, names: Sequence[str], templates: Sequence[str]) -> Tensor:
        """Return embeddings (C, D) of classes, averaged over prompts."""


@dataclass
class Shares:
    """Shares of queries that find what belongs to them, and what an order that is drawn would give.

    Attributes:
        found: values by name, 0 to 1.
        chance: the same for guessing.
    """

    found: dict[str, float] = field(default_factory=dict)
    chance: dict[str, float] = field(default_factory=dict)

    def add(
        self,
        names: Mapping[str, int],
        candidate: ModalCandidate,
        queries: Sequence[Tensor],
        keys: Tensor,
        relevant: Sequence[Sequence[int]],
    ) -> None:
        """Measure the share of queries that find what belongs to them.

        Args:
            names: of the shares, with the number of keys that may be looked at.
            candidate: whose score is used.
            queries: (N, D) of each modality but that of the keys.
            keys: (K, D).
            relevant: which keys belong to each query.
        """
        with torch.inference_mode():
            ranks = retrieval_ranks(lambda part: candidate.score([each[part] for each in queries], keys), relevant)
        for name, k in names.items():
            self.found[name] = recall_at(ranks, k)
            self.chance[name] = chance_at([len(own) for own in relevant], len(keys), k)


def rows_of(shares: Mapping[str, Shares]) -> dict[str, dict[str, float]]:
    """Return the rows of a table: those of the candidates, and `chance`."""
    rows: dict[str, Any] = {name: each.found for name, each in shares.items()}
    return {**rows, "chance": next(iter(shares.values())).chance}
