"""Texts: views in the loading processes, STS and retrieval beside the encoder before training and BM25."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import lightning
import torch
from torch import Tensor, nn

from dipole.data.text import RetrievalSet, TextDataModule, TextSet, available_texts, load_texts
from dipole.diagnostics import TextGeometryMonitor
from dipole.errors import InputError
from dipole.evaluation.materials import TextMaterial
from dipole.evaluation.retrieval import dense_run
from dipole.methods.base import Method
from dipole.methods.text.embedding import SentenceEmbedding
from dipole.nn.text import DomainEncoder, encode_texts
from dipole.runs.config import RunConfig
from dipole.runs.directory import Run
from dipole.runs.domains.base import Domain, Embeddings
from dipole.runs.opened import OpenedEncoder
from dipole.runs.text_model import load_text_model, save_text_model

MONITORED_TEXTS = 256
MOST_TEXTS = 1500  # of a report
SORTED_TOGETHER = 64  # batches whose texts are sorted by length together


class Text(Domain):
    """Sets of texts, in files or in memory."""

    name = "text"
    default_data = "toy-sentences"
    derived_view_options = ("num_views", "max_length")

    @staticmethod
    def named_sets() -> Sequence[str]:
        """Return the names of the known sets."""
        return [info.name for info in available_texts()]

    @staticmethod
    def loading_options(column: str | None = None) -> None:
        """How texts are read.

        Args:
            column: of a table that is the main text; `text` by default.
        """

    def data_module(self, config: RunConfig, sets: Any = None) -> TextDataModule:
        """Return the texts of a run."""
        return TextDataModule(
            (config.data or self.default_data) if sets is None else sets,
            data_root=config.data_root,
            column=config.loading.get("column") if sets is None else None,
            batch_size=config.batch_size,
            num_workers=config.num_workers,
            seed=config.seed,
        )

    def facts(self, data: lightning.LightningDataModule) -> dict[str, Any]:
        """Nothing; but texts that cannot be read are told of before an encoder is fetched."""
        assert isinstance(data, TextDataModule)
        _ = data.train_set
        return {}

    def attach_views(self, method: Method, data: lightning.LightningDataModule, config: RunConfig) -> None:
        """Views need the tokenizer and the length of the encoder."""
        assert isinstance(data, TextDataModule)
        method = cast(SentenceEmbedding, method)
        data.expand = getattr(method, "expand", None)
        data.views = method.build_views(**self.view_options(type(method), config))
        data.tokenizer = method.encoder.tokenizer
        if hasattr(data.views, "texts"):
            data.views.texts = data.train_set
        data.train_set.require(*_needed(data.views, data.train_set))

    def monitors(self, method: Method, data: lightning.LightningDataModule, run: Run) -> list[lightning.Callback]:
        """The geometry of the embeddings of some texts, of which the views are made anew."""
        assert isinstance(data, TextDataModule)
        texts = data.test_set or data.train_set
        if len(texts) < 2 or not cast(SentenceEmbedding, method).compares_views:
            return []
        shown = texts.sample(MONITORED_TEXTS)
        records = shown.fetch(torch.arange(len(shown)))
        return [TextGeometryMonitor(records, cast(Any, data.views), data.tokenizer, path=run.diagnostics)]

    def embed_training(
        self, method: Method, data: lightning.LightningDataModule, index: Tensor, progress: bool = False
    ) -> Tensor:
        """Embeddings of the main texts of training records."""
        assert isinstance(data, TextDataModule)
        encoder = cast(SentenceEmbedding, method).refresh_encoder
        parts = [
            encode_texts(encoder, [_shown(record) for record in data.train_set.fetch(part)], device=method.device)
            for part in index.split(SORTED_TOGETHER * 64)
        ]
        return torch.cat(parts)

    def save(self, method: Method, config: RunConfig, folder: Path) -> None:
        """Write a folder that sentence-transformers opens as well."""
        save_text_model(cast(SentenceEmbedding, method), folder, name=config.name, arguments=config.method)

    def load(self, folder: Path, config: dict[str, Any], encoder: nn.Module | None) -> Method:
        """Load what `save` has written."""
        return load_text_model(folder, config, encoder)

    def material(
        self,
        methods: Mapping[str, Method],
        settings: RunConfig,
        *,
        data: str | None = None,
        data_root: str | Path | None = None,
        protocols: Sequence[str] = (),
        progress: bool = False,
    ) -> TextMaterial:
        """Encoders; the protocols read their own tasks."""
        encoders = {name: MeasuredEncoder(cast(SentenceEmbedding, each), progress) for name, each in methods.items()}
        return TextMaterial(
            settings.data,
            dict(encoders),
            settings.seed,
            progress,
            {"similarity": encoders["trained"].method.similarity},
            data=data,
            data_root=data_root or settings.data_root,
            shared=len(protocols) > 1,
        )

    def embeddings(
        self,
        method: Method | OpenedEncoder,
        config: Mapping[str, Any],
        source: str,
        *,
        data_root: str | Path | None = None,
        batch_size: int = 256,
        progress: bool = False,
    ) -> Embeddings:
        """Embed a file of texts or a named set; the table also has the column `text`."""
        texts = load_texts(source, data_root, column=config.get("loading", {}).get("column"))
        texts.require("text")
        encoder = cast(SentenceEmbedding | OpenedEncoder, method).encoder
        found = Embeddings(iter(()), [(texts.name, str(note)) for note in (*texts.skipped, *texts.repaired)])
        found.empty = f"{source} holds no text."

        def batches(start: int, end: int) -> Iterator[tuple[dict[str, list[Any]], Tensor]]:
            parts: Any = torch.arange(start, end).split(SORTED_TOGETHER * batch_size)
            if progress:
                from rich.console import Console
                from rich.progress import track

                parts = track(parts, description=f"embedding {texts.name}", console=Console(stderr=True))
            for indices in parts:
                lines = [record["text"] for record in texts.fetch(indices)]
                ids = [texts.id(index) for index in indices.tolist()]
                yield {"id": ids, "text": lines}, encode_texts(encoder, lines, batch_size=batch_size)

        found.count, found.part = len(texts), batches
        found.batches = batches(0, len(texts))
        return found

    def report_arguments(
        self, method: Method, run: Run, *, data_root: str | Path | None = None, progress: bool = False
    ) -> dict[str, Any]:
        """Embeddings of some training texts, with the texts and what the table says about their classes."""
        settings = run.settings()
        texts = load_texts(
            settings.data, data_root or settings.data_root, column=settings.loading.get("column")
        ).sample(MOST_TEXTS)
        records = texts.fetch(torch.arange(len(texts)))
        method = cast(SentenceEmbedding, method)
        lines = [_shown(record) for record in records]
        labels, class_names = _classes(texts, records)
        return {
            "embeddings": encode_texts(method.encoder, lines, progress=progress),
            "texts": lines,
            "labels": labels,
            "class_names": class_names,
            "data": texts.name,
        }


def _needed(views: Any, texts: TextSet) -> tuple[str, ...]:
    """The columns that views need: of several forms of records the one that the texts have, else the first."""
    choices = getattr(views, "column_choices", ())
    fitting = [choice for choice in choices if set(choice) <= set(texts.columns)]
    if choices and not fitting:
        forms = " or ".join(" and ".join(map(repr, choice)) for choice in choices)
        raise InputError(f"{texts.name} has the columns {', '.join(texts.columns)}: expected {forms}.")
    return (*getattr(views, "columns", ()), *(fitting[0] if fitting else ()))


class MeasuredEncoder:
    """A text encoder as protocols measure it.

    Args:
        method: a method or an opened encoder: with `encoder` and `similarity`.
        progress: show progress bars.
    """

    def __init__(self, method: SentenceEmbedding | OpenedEncoder, progress: bool) -> None:
        self.method, self.progress = method, progress

    @property
    def knows_domains(self) -> bool:
        """Whether the encoder embeds a text by its domain."""
        return isinstance(self.method.encoder, DomainEncoder)

    def encode(self, texts: list[str], prompt: str | None = None, domain: str | None = None) -> Tensor:
        """Embeddings (N, D), computed on a GPU if there is one."""
        if domain is not None and isinstance(self.method.encoder, DomainEncoder):
            self.method.encoder.number(domain)
            self.method.encoder.default_domain = domain
        device = "cuda" if torch.cuda.is_available() else "cpu"
        return encode_texts(self.method.encoder, texts, prompt=prompt, device=device, progress=self.progress)

    def search(self, task: RetrievalSet) -> dict[str, dict[str, float]]:
        """The best documents of every query, each side with its prompt."""
        queries, passages = (partial(self.encode, prompt=name) for name in ("query", "passage"))
        return dense_run(task, passages, score=self.method.similarity, encode_queries=queries)


def _shown(record: Mapping[str, Any]) -> str:
    """The main text of a record; the first text in it if it has none of that name."""
    text = record.get("text")
    return text if isinstance(text, str) else next((value for value in record.values() if isinstance(value, str)), "")


def _classes(
    texts: TextSet, records: Sequence[Mapping[str, Any]]
) -> tuple[dict[str, Tensor], dict[str, tuple[str, ...]]]:
    """Columns of few different values, as labels."""
    labels, names = {}, {}
    for column in texts.columns:
        values = [record.get(column) for record in records]
        different = sorted({str(value) for value in values if value is not None})
        if column == "text" or not 1 < len(different) <= 30 or len(records) < 2 * len(different):
            continue
        place = {value: index for index, value in enumerate(different)}
        labels[column] = torch.tensor([-1 if value is None else place[str(value)] for value in values])
        names[column] = tuple(different)
    return labels, names


DOMAIN = Text()
