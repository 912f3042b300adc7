"""Texts: views in the loading processes, STS and retrieval beside the encoder before training and BM25."""

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import lightning
import torch
from torch import Tensor, nn

from dipole.data.text import TextDataModule, TextSet, load_retrieval, load_sts, load_texts
from dipole.diagnostics import TextGeometryMonitor, alignment, uniformity
from dipole.errors import InputError
from dipole.evaluation import Evaluation
from dipole.evaluation.bm25 import bm25_run
from dipole.evaluation.retrieval import evaluate_retrieval, retrieval_metrics
from dipole.evaluation.sts import evaluate_sts
from dipole.methods.base import Method
from dipole.methods.text.embedding import SentenceEmbedding
from dipole.nn.text import encode_texts
from dipole.runs.config import RunConfig
from dipole.runs.directory import Run
from dipole.runs.domains.base import Domain, Embeddings
from dipole.runs.model import build_method, load
from dipole.runs.text_model import load_text_model, save_text_model

MONITORED_TEXTS = 256
MOST_TEXTS = 1500  # of a report
SORTED_TOGETHER = 64  # batches whose texts are sorted by length together
RETRIEVAL_METRICS = ("ndcg@10", "recall@100", "mrr@10")
SIMILAR = 4  # pairs with a higher gold score are positives of the alignment, as in SimCSE


class Text(Domain):
    """Sets of texts, in files or in memory."""

    name = "text"
    default_data = "toy-sentences"
    protocols = ("sts", "retrieval")
    derived_view_options = ("num_views", "max_length")

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
        data.views = method.build_views(**self.view_options(type(method), config))
        data.tokenizer = method.encoder.tokenizer
        data.train_set.require(*getattr(data.views, "columns", ()))

    def monitors(self, method: Method, data: lightning.LightningDataModule, run: Run) -> list[lightning.Callback]:
        """The geometry of the embeddings of some texts, of which the views are made anew."""
        assert isinstance(data, TextDataModule)
        texts = data.test_set or data.train_set
        if len(texts) < 2 or not cast(SentenceEmbedding, method).compares_views:
            return []
        shown = texts.sample(MONITORED_TEXTS)
        records = shown.fetch(torch.arange(len(shown)))
        return [TextGeometryMonitor(records, cast(Any, data.views), data.tokenizer, path=run.diagnostics)]

    def save(self, method: Method, config: RunConfig, folder: Path) -> None:
        """Write a folder that sentence-transformers opens as well."""
        save_text_model(cast(SentenceEmbedding, method), folder, name=config.name, arguments=config.method)

    def load(self, folder: Path, config: dict[str, Any], encoder: nn.Module | None) -> Method:
        """Load what `save` has written."""
        return load_text_model(folder, config, encoder)

    def evaluate(
        self,
        run: Run,
        protocols: Sequence[str],
        *,
        data: str | None = None,
        data_root: str | Path | None = None,
        progress: bool = False,
    ) -> Evaluation:
        """Compare with the encoder as it was before training, and with BM25 in retrieval.

        STS is read from `data` or from `sts/` in the data root, retrieval from `data` or from `cranfield/` in the data
        root; without them the built-in sets are taken.
        """
        settings = run.settings()
        root = data_root or settings.data_root
        methods = {"trained": cast(SentenceEmbedding, load(run.path))}
        facts = {"sts": "Spearman, all", "similarity": methods["trained"].similarity}
        try:
            untrained = build_method(settings.name, settings.method, seed=settings.seed).eval()
            methods["untrained"] = cast(SentenceEmbedding, untrained)
        except InputError:
            facts["untrained"] = "left out: its encoder cannot be opened any more"
        columns: dict[str, dict[str, float]] = {name: {} for name in methods}
        sources: list[str] = []
        if "sts" in protocols:
            sources.append(_add_sts(columns, methods, _sts_source(data, root, "retrieval" in protocols), progress))
        if "retrieval" in protocols:
            sources.append(
                _add_retrieval(columns, methods, _retrieval_source(data, root, "sts" in protocols), root, progress)
            )
        names = list(dict.fromkeys(name for row in columns.values() for name in row))
        rows = tuple({"encoder": name, **row} for name, row in columns.items())
        return Evaluation(tuple(names), rows, facts).of(", ".join(sources))

    def embeddings(
        self,
        method: Method,
        config: Mapping[str, Any],
        source: str,
        *,
        data_root: str | Path | None = None,
        batch_size: int = 256,
        progress: bool = False,
    ) -> Embeddings:
        """Embed a file of texts or a named set; the table also has the column `text`."""
        texts = load_texts(source, data_root)
        texts.require("text")
        encoder = cast(SentenceEmbedding, method).encoder
        found = Embeddings(iter(()), [(texts.name, str(note)) for note in (*texts.skipped, *texts.repaired)])
        found.empty = f"{source} holds no text."

        def batches() -> Iterator[tuple[dict[str, list[Any]], Tensor]]:
            parts: Any = torch.arange(len(texts)).split(SORTED_TOGETHER * batch_size)
            if progress:
                from rich.console import Console
                from rich.progress import track

                parts = track(parts, description=f"embedding {texts.name}", console=Console(stderr=True))
            for indices in parts:
                lines = [record["text"] for record in texts.fetch(indices)]
                ids = [texts.id(index) for index in indices.tolist()]
                yield {"id": ids, "text": lines}, encode_texts(encoder, lines, batch_size=batch_size)

        found.batches = batches()
        return found

    def report_arguments(
        self, run: Run, *, data_root: str | Path | None = None, progress: bool = False
    ) -> dict[str, Any]:
        """Embeddings of some training texts, with the texts and what the table says about their classes."""
        settings = run.settings()
        texts = load_texts(
            settings.data, data_root or settings.data_root, column=settings.loading.get("column")
        ).sample(MOST_TEXTS)
        records = texts.fetch(torch.arange(len(texts)))
        method = cast(SentenceEmbedding, load(run.path))
        lines = [_shown(record) for record in records]
        labels, class_names = _classes(texts, records)
        return {
            "embeddings": encode_texts(method.encoder, lines, progress=progress),
            "texts": lines,
            "labels": labels,
            "class_names": class_names,
            "data": texts.name,
        }


def _add_sts(
    columns: dict[str, dict[str, float]], methods: Mapping[str, SentenceEmbedding], source: str, progress: bool
) -> str:
    """Add Spearman's correlation of every task, their mean, and alignment and uniformity; return what was read."""
    tasks = load_sts(source)
    graded = next((task for task in tasks if task.name == "STS-B"), tasks[-1])
    for name, method in methods.items():
        scores = evaluate_sts(tasks, partial(_encode, method, progress=progress))
        row = columns[name]
        row.update({task: score.spearman.all for task, score in scores.items()})
        if len(scores) > 1:
            row["mean STS"] = sum(score.spearman.all for score in scores.values()) / len(scores)
        pairs = list(graded.subsets.values())
        first, second = (
            _encode(method, [text for pair in pairs for text in side(pair)])
            for side in (lambda pair: pair.first, lambda pair: pair.second)
        )
        similar = torch.cat([torch.as_tensor(pair.gold) for pair in pairs]) > SIMILAR
        if bool(similar.any()):
            row["alignment"] = float(alignment(first[similar], second[similar]))
        row["uniformity"] = float(uniformity(torch.cat([first, second]).unique(dim=0)))
    return ", ".join(task.name for task in tasks)


def _add_retrieval(
    columns: dict[str, dict[str, float]],
    methods: Mapping[str, SentenceEmbedding],
    source: str,
    root: str | Path | None,
    progress: bool,
) -> str:
    """Add the metrics of retrieval, of BM25 too; return what was read."""
    task = load_retrieval(source, root)
    for name, method in methods.items():
        scores = evaluate_retrieval(
            task,
            partial(_encode, method, progress=progress),
            RETRIEVAL_METRICS,
            score=method.similarity,
        )
        columns[name].update({metric: float(scores.mean[metric]) for metric in RETRIEVAL_METRICS})
    lexical = retrieval_metrics(task.judgements, bm25_run(task), RETRIEVAL_METRICS)
    columns["BM25"] = {metric: float(lexical.mean[metric]) for metric in RETRIEVAL_METRICS}
    return task.name


def _encode(method: SentenceEmbedding, texts: list[str], *, progress: bool = False) -> Tensor:
    """Embeddings on a GPU if there is one."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return encode_texts(method.encoder, texts, device=device, progress=progress)


def _sts_source(data: str | None, root: str | Path | None, shared: bool) -> str:
    """Where the pairs of sentences are; `data` may be meant for the other protocol."""
    if data is not None and not (shared and _is_retrieval(data, root)):
        below = Path(root or ".") / data
        return str(below) if not Path(data).exists() and below.is_dir() else data
    return str(root) if root is not None and (Path(root) / "sts").is_dir() else "toy-sts"


def _retrieval_source(data: str | None, root: str | Path | None, shared: bool) -> str:
    """Where the documents and queries are; `data` may be meant for the other protocol."""
    if data is not None and (not shared or _is_retrieval(data, root)):
        return data
    return "cranfield" if root is not None and (Path(root) / "cranfield").is_dir() else "toy-retrieval"


def _is_retrieval(data: str, root: str | Path | None) -> bool:
    """Whether a name or a folder is a task of retrieval."""
    folders = [Path(data), *([] if root is None else [Path(root) / data])]
    files = ("corpus.jsonl", "cran.qry.xml")
    return data == "toy-retrieval" or any((folder / file).is_file() for folder in folders for file in files)


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
