"""Several modalities: retrieval between them, zero-shot classes, one modality from the others."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, cast

import lightning
import torch
from torch import Tensor, nn

from dipole.data.multimodal import (
    ModalityDataModule,
    ModalitySet,
    Reading,
    available_modalities,
    load_modalities,
    load_rows,
    parse_modalities,
)
from dipole.data.multimodal.templates import read_templates
from dipole.diagnostics.monitor import ModalityGeometryMonitor
from dipole.errors import InputError
from dipole.evaluation.materials import ModalityMaterial
from dipole.evaluation.modal import Items
from dipole.methods.base import Method
from dipole.methods.multimodal.base import AnyModal, ModalityEmbedding
from dipole.methods.registry import get_method
from dipole.methods.wrapping import base_of, unwrapped
from dipole.nn.modalities import learns_tokenizer
from dipole.runs.config import RunConfig
from dipole.runs.directory import Run
from dipole.runs.domains.base import Domain, Embeddings
from dipole.runs.modality_batches import modality_batches, reading_of
from dipole.runs.modality_items import embed_items, encoder_of
from dipole.runs.modality_model import (
    given_towers,
    learned_tokenizers,
    load_modality_model,
    save_modality_model,
    set_tokenizers,
)
from dipole.runs.modality_searches import searches
from dipole.views.caption_augmentation import settled_synonyms

MONITORED = 256  # rows
READ = ("label", "image_size", "sample_rate", "seconds", "encoding")
MOST = 500  # rows of a report
AT_ONCE = 256  # rows that are embedded together


logger = logging.getLogger(__name__)


class Multimodal(Domain):
    """Tables of modalities."""

    name = "multimodal"
    default_data = "shape-captions"
    derived_view_options = ("modalities", "max_lengths", "phase", "arrangements")
    derived_method_options = ("modalities", "encoders", "stage", "classes")

    @staticmethod
    def named_sets() -> Sequence[str]:
        """Return the names of the known sets."""
        return [info.name for info in available_modalities()]

    loading_paths = ("templates",)

    @staticmethod
    def loading_options(
        modalities: str | None = None,
        label: str = "label",
        image_size: int = 96,
        sample_rate: int = 16000,
        seconds: float = 2.0,
        sound_crop: Literal["first", "random"] = "first",
        sound_windows: Literal["first", "each", "mean"] = "first",
        test_fraction: float = 0.1,
        vocabulary: int = 4000,
        templates: str | None = None,
        encoding: str = "utf-8",
        check: Literal["drawn", "all"] = "drawn",
    ) -> None:
        """How a table is read.

        Args:
            modalities: columns that are modalities, with commas; `name:kind` where the kind is not to be inferred.
            label: column of the classes to evaluate with.
            image_size: side in pixels that image files are decoded to.
            sample_rate: samples a second that sound files are decoded at.
            seconds: of a sound that are read at a time.
            sound_crop: which part of a longer sound training hears: its `first` seconds, or a `random` part each time.
            sound_windows: what `embed` makes of a longer sound: a vector of its `first` seconds; one of `each` part,
                with the columns `start` and `end` in seconds; or the `mean` over the parts, weighted by their lengths.
            test_fraction: share of the rows that are drawn to test on, if there is no column `split`.
            vocabulary: word pieces that are learned from the texts.
            templates: file of prompts for zero-shot classes, one a line with {} in it; the bare name if None.
            encoding: of a table, e.g. `latin-1`.
            check: which images and sounds are looked at first: `drawn`, up to 50,000 all and of more 10,000; or `all`.
        """

    def data_module(self, config: RunConfig, sets: Any = None) -> ModalityDataModule:
        """Return the rows of a run."""
        loading = self.loading(config)
        read_templates(loading["templates"])
        _, arguments = base_of(get_method(config.name), config.method) or (config.name, config.method)
        by_name = arguments.get("encoders") or {}
        given = {} if config.init_from is None else learned_tokenizers(config.init_from)
        default = arguments.get("text_encoder", "transformer")
        return ModalityDataModule(
            (config.data or self.default_data) if sets is None else sets,
            data_root=config.data_root,
            reading=self.reading(loading),
            test_fraction=loading["test_fraction"],
            vocabulary=loading["vocabulary"],
            learns_tokenizer=lambda name: learns_tokenizer(by_name.get(name, default)),
            given_tokenizers=given,
            phrases=getattr(getattr(get_method(config.name), "views_class", None), "phrases", ()),
            batch_size=config.batch_size,
            num_workers=config.num_workers,
            seed=config.seed,
        )

    def resolve(
        self, config: RunConfig, cls: type[Method], data: lightning.LightningDataModule, *, encoder_given: bool
    ) -> RunConfig:
        """Fill in every default; encoders that a method takes over from the run it starts from are among them.

        Raises:
            InputError: as of `Domain.resolve`; or that run heard sounds at another rate.
        """
        given = {} if config.init_from is None else given_towers(config.init_from)
        for name, facts in (self.facts(data)["modalities"] if given.get("modalities") else {}).items():
            before = given["modalities"].get(name, {})
            if facts["kind"] == "sound" and before.get("rate", facts["rate"]) != facts["rate"]:
                raise InputError(
                    f"{config.init_from} heard {name!r} at {before['rate']} samples a second, these data come at "
                    f"{facts['rate']}: use --loading.sample_rate {before['rate']}."
                )
        given.pop("modalities", None)
        if getattr(cls, "inherits_towers", False):
            config = replace(config, method={**given, **config.method})
        config = super().resolve(config, cls, data, encoder_given=encoder_given)
        kinds = {facts["kind"] for facts in self.facts(data)["modalities"].values()}
        if "synonyms" not in config.views or "text" not in kinds:
            return config
        return replace(config, views={**config.views, "synonyms": settled_synonyms(config.views["synonyms"])})

    def facts(self, data: lightning.LightningDataModule) -> dict[str, Any]:
        """What the data say of each modality."""
        assert isinstance(data, ModalityDataModule)
        labels = {str(label) for label in data.train_set.labels or () if label is not None}
        return {"modalities": data.facts(), "classes": sorted(labels)}

    def attach_views(self, method: Method, data: lightning.LightningDataModule, config: RunConfig) -> None:
        """Views need the facts of the modalities and the tokenizers of their texts."""
        assert isinstance(data, ModalityDataModule)
        if config.loading.get("modalities") is None:
            read = ", ".join(f"{name} as {column.kind}" for name, column in data.train_set.columns.items())
            logger.warning("%s: read %s. --loading.modalities chooses others.", data.train_set.name, read)
        method = cast(AnyModal, method)
        set_tokenizers(method, data.tokenizers)
        method.before_training(data.train_set)
        data.views = cast(Any, method.build_views(**self.view_options(type(unwrapped(method)), config)))
        data.tokenizer = method.tokenizers

    def monitors(self, method: Method, data: lightning.LightningDataModule, run: Run) -> list[lightning.Callback]:
        """The geometry of two modalities of some rows."""
        assert isinstance(data, ModalityDataModule)
        rows = data.test_set or data.train_set
        names = list(rows.columns)
        pairs = [(a, b) for place, a in enumerate(names) for b in names[place + 1 :]]
        shared = {pair: (rows.present(pair[0]) & rows.present(pair[1])).nonzero().flatten() for pair in pairs}
        pair = max(pairs, key=lambda pair: len(shared[pair]))
        if len(shared[pair]) < 2:
            return []
        shown = rows.select(shared[pair]).sample(MONITORED)
        views = cast(AnyModal, method).build_views()
        batch = views(shown.fetch(torch.arange(len(shown))), cast(AnyModal, method).tokenizers)
        return [ModalityGeometryMonitor({name: batch["inputs"][name] for name in pair}, path=run.diagnostics)]

    def embed_training(
        self, method: Method, data: lightning.LightningDataModule, index: Tensor, progress: bool = False
    ) -> Tensor:
        """Embeddings of training rows in the modality that the method refreshes by."""
        assert isinstance(data, ModalityDataModule)
        embedding = cast(AnyModal, method)
        name = cast(ModalityEmbedding, unwrapped(embedding)).refreshed_modality
        one, rows, parts = embedding.build_views().only(name), data.train_set.select(index), []
        for part in torch.arange(len(rows)).split(AT_ONCE):
            batch = one(rows.fetch(part), embedding.tokenizers)
            present = batch["present"][name]
            found = embedding.refresh_embed({name: batch["inputs"][name][present].to(method.device)}).cpu()
            parts.append(found.new_zeros(len(part), found.shape[1]).index_copy_(0, present.nonzero().flatten(), found))
        return torch.cat(parts)

    def save(self, method: Method, config: RunConfig, folder: Path) -> None:
        """Write the model with its tokenizers."""
        save_modality_model(
            cast(AnyModal, method),
            folder,
            name=config.name,
            arguments=config.method,
            facts={"loading": self.loading(config)},
        )

    def load(self, folder: Path, config: dict[str, Any], encoder: nn.Module | None) -> Method:
        """Load what `save` has written."""
        return load_modality_model(folder, config, encoder)

    def untrained(self, trained: Method, settings: RunConfig) -> Method:
        """The method before training, with the same tokenizers."""
        method = cast(AnyModal, super().untrained(trained, settings))
        set_tokenizers(method, cast(AnyModal, trained).tokenizers)
        return method

    def material(
        self,
        methods: Mapping[str, Method],
        settings: RunConfig,
        *,
        data: str | None = None,
        data_root: str | Path | None = None,
        protocols: Sequence[str] = (),
        progress: bool = False,
    ) -> ModalityMaterial:
        """Embedded contents of the test rows.

        Raises:
            InputError: there are no test rows.
        """
        rows = self._test_rows(settings, data, data_root, cast(AnyModal, methods["trained"]))
        return ModalityMaterial(
            rows.name,
            {name: encoder_of(cast(AnyModal, each), rows, progress) for name, each in methods.items()},
            settings.seed,
            progress,
            rows=len(rows),
            labels=None if rows.labels is None else list(rows.labels),
            templates=read_templates(self.loading(settings)["templates"]),
        )

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
        """Embed what a table, or a folder of files, holds of the model's modalities.

        There is a row for each cell or file, with the column `modality`.
        """
        method = cast(AnyModal, method)
        loading = self.loading_defaults() | dict(config["loading"])
        windows = loading["sound_windows"]
        rows = self._rows(method, loading, source, data_root)
        found = Embeddings(iter(()), list(rows.skipped))
        found.empty = f"{source} holds nothing to embed."

        def batches(start: int, end: int) -> Iterator[tuple[dict[str, list[Any]], Tensor]]:
            return modality_batches(method, rows, windows, batch_size, found.skipped, range(start, end))

        found.count, found.part = len(rows), batches
        found.batches = batches(0, len(rows))
        return found

    def report_arguments(
        self, method: Method, run: Run, *, data_root: str | Path | None = None, progress: bool = False
    ) -> dict[str, Any]:
        """A map of all modalities together, and searches from each in each other."""
        settings = run.settings()
        method = cast(AnyModal, method)
        rows = self._test_rows(settings, None, data_root, method).sample(MOST)
        items = embed_items(method, rows, progress=progress)
        return {**_map(items), "searches": searches(method, items), "data": rows.name}

    @staticmethod
    def reading(loading: Mapping[str, Any], **changes: Any) -> Reading:
        """Return how a table is read."""
        options = {name: loading[name] for name in (*READ, "sound_crop", "check")}
        return Reading(**{"modalities": parse_modalities(loading["modalities"]), **options, **changes})

    def _rows(self, method: AnyModal, loading: Mapping[str, Any], source: str, root: str | Path | None) -> ModalitySet:
        """All rows of a source with those of the model's modalities that it has."""
        return load_rows(source, root, reading=reading_of(method, loading))

    def _test_rows(
        self, settings: RunConfig, data: str | None, root: str | Path | None, method: AnyModal
    ) -> ModalitySet:
        """The rows that a run is measured on."""
        loading, root = self.loading(settings), root or settings.data_root
        if data is not None:
            return self._rows(method, loading, data, root)
        _, test = load_modalities(
            settings.data, root, reading=self.reading(loading), test_fraction=loading["test_fraction"]
        )
        if test is None:
            raise InputError(f"{settings.data} has no test rows: name data to measure on with --data.")
        return test


def _map(items: Mapping[str, Items]) -> dict[str, Any]:
    """Embeddings of all modalities with their names."""
    names = tuple(items)
    return {
        "embeddings": torch.cat([part.embeddings for part in items.values()]),
        "texts": [f"{name}: {text}" for name, part in items.items() for text in part.shown],
        "labels": {"modality": torch.cat([torch.full((len(p.embeddings),), i) for i, p in enumerate(items.values())])},
        "class_names": {"modality": names},
    }


DOMAIN = Multimodal()
