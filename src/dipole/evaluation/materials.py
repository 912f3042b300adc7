"""What each domain hands to its protocols."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from dipole.data.graph import GraphSet, HeteroSet
from dipole.data.image_set import ImageSet
from dipole.data.language.truthful import ChoiceQuestion
from dipole.data.recommendation import SequenceSet
from dipole.data.timeseries import SeriesData
from dipole.evaluation.embedding import embed_image_set
from dipole.evaluation.protocol import Material


class Labelled(NamedTuple):
    """Samples with classes, divided once.

    Attributes:
        train: labels (N,) of the samples that a protocol learns from.
        test: labels (M,) of those it is measured on.
        names: of the classes.
    """

    train: Tensor
    test: Tensor
    names: tuple[str, ...] = ()


@dataclass
class ImageMaterial(Material):
    """Images; candidates have `embed(images (N, 3, S, S) in [0, 1]) -> (N, D)` on `device`.

    Args:
        train: images with labels.
        test: the same.
        image_size: S.
        device: of the encoders.
        data_root: folder of named data sets.
    """

    domain: ClassVar[str] = "images"
    train: ImageSet = field(kw_only=True)
    test: ImageSet = field(kw_only=True)
    image_size: int = field(kw_only=True)
    device: torch.device = field(kw_only=True, default_factory=lambda: torch.device("cpu"))
    data_root: str | Path | None = field(kw_only=True, default=None)

    @property
    def labelled(self) -> Labelled | None:
        """The main labels, if there are two classes or more, all known, and classes that both parts have."""
        if self.train.num_classes < 2:
            return None
        own, others = self.train.labels["label"], self.test.labels["label"]
        if min(int(own.min()), int(others.min())) < 0 or not bool(torch.isin(others, own).any()):
            return None
        return Labelled(
            self.train.labels["label"], self.test.labels["label"], tuple(self.train.class_names.get("label", ()))
        )

    @cached_property
    def features(self) -> dict[str, tuple[Tensor, Tensor]]:
        """Embeddings (N, D) of the training and (M, D) of the test images, by candidate; images are read once."""
        return dict(zip(self.able("embed"), zip(*map(self._embed, (self.train, self.test)), strict=True), strict=True))

    def _embed(self, images: ImageSet) -> list[Tensor]:
        """Embeddings by every candidate, which see the same decoded batches."""
        widths: list[int] = []

        def all_at_once(batch: Tensor) -> Tensor:
            found = [one.embed(batch).float() for one in self.able("embed").values()]
            widths[:] = [each.shape[1] for each in found]
            return torch.cat(found, dim=1)

        joined = embed_image_set(all_at_once, images, self.image_size, device=self.device, progress=self.progress)
        return [part.contiguous() for part in joined.split(widths, dim=1)]


@dataclass
class TextMaterial(Material):
    """Texts; encoders have `encode(texts) -> (N, D)` and `similarity`, and all `search(task)`, which ranks documents.

    Args:
        data: what to measure on, for the protocols that can read it; their own sets in the data root if None.
        data_root: folder of named data sets.
        shared: several protocols are asked for, so that `data` may be meant for another one.
    """

    domain: ClassVar[str] = "text"
    data: str | None = field(kw_only=True, default=None)
    data_root: str | Path | None = field(kw_only=True, default=None)
    shared: bool = field(kw_only=True, default=False)


@dataclass
class GraphMaterial(Material):
    """A graph; candidates have `nodes() -> (N, D)`, embeddings of all nodes.

    Args:
        graph: with classes or without.
        edges: (2, E) that training has seen.
        held_out: (2, H) that it has not.
    """

    domain: ClassVar[str] = "graph"
    graph: GraphSet = field(kw_only=True)
    edges: Tensor = field(kw_only=True)
    held_out: Tensor = field(kw_only=True)

    @cached_property
    def features(self) -> dict[str, Tensor]:
        """Embeddings (N, D) of all nodes, by candidate."""
        return {name: one.nodes() for name, one in self.able("nodes").items()}


@dataclass
class HeteroMaterial(Material):
    """A graph of several kinds of nodes; candidates have `nodes() -> (N, D)`, embeddings of all target nodes.

    Args:
        graph: with classes or without.
    """

    domain: ClassVar[str] = "heterograph"
    graph: HeteroSet = field(kw_only=True)

    @cached_property
    def features(self) -> dict[str, Tensor]:
        """Embeddings (N, D) of all target nodes, by candidate."""
        return {name: one.nodes() for name, one in self.able("nodes").items()}


@dataclass
class SeriesMaterial(Material):
    """Time series; candidates have `forecast(task, horizons)` or `embed_series(series) -> (N, D)`.

    Args:
        data: series with classes, or a long one to forecast.
        scaled: values (N, T, C) -> the same in deviations of the training part.
    """

    domain: ClassVar[str] = "timeseries"
    data: SeriesData = field(kw_only=True)
    scaled: Callable[[Tensor], Tensor] = field(kw_only=True)


@dataclass
class InteractionMaterial(Material):
    """Histories; candidates have `rank_items(test, exclude_seen) -> (N,)`, the rank of the next item of each.

    Args:
        test: histories whose next item is known.
    """

    domain: ClassVar[str] = "recommendation"
    test: SequenceSet = field(kw_only=True)


@dataclass
class ModalityMaterial(Material):
    """Rows of modalities; candidates have `items`, embedded contents, and the score by which they are compared.

    Args:
        rows: number of rows.
        labels: class of each row, if known.
        templates: prompts of zero-shot classes.
    """

    domain: ClassVar[str] = "multimodal"
    rows: int = field(kw_only=True)
    labels: list[str | None] | None = field(kw_only=True, default=None)
    templates: tuple[str, ...] = field(kw_only=True, default=("{}",))


@dataclass
class QuestionMaterial(Material):
    """Questions with answers; candidates have `answer_log_probs(prompt, answers) -> (A,)`.

    Args:
        questions: with true and false answers.
    """

    domain: ClassVar[str] = "language"
    questions: list[ChoiceQuestion] = field(kw_only=True)


@dataclass
class LanguageMaterial(Material):
    """Judged responses; candidates have `log_likelihoods()`.

    Args:
        threshold: λ by which a token counts as inappropriate.
    """

    domain: ClassVar[str] = "language"
    threshold: float = field(kw_only=True)
