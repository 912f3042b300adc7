"""What a domain offers to the verbs train, evaluate, embed and report."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import lightning
import numpy as np
from torch import Tensor, nn

from dipole.data.stored.finding import existing_pattern
from dipole.errors import InputError
from dipole.evaluation.protocol import Material
from dipole.methods.base import Method
from dipole.methods.registry import get_method
from dipole.methods.wrapping import Wrapping, base_of
from dipole.runs.config import RunConfig
from dipole.runs.directory import Run
from dipole.runs.model import build_method, load_model, save_model


@dataclass
class Embeddings:
    """Embeddings of a source, a batch at a time.

    Args:
        batches: `(columns, vectors)`: lists of N values by the name of a column, and (N, D). Read once.
        skipped: `(name, reason)` of what has no row; complete once the batches are read.
        empty: what to say if there is no row.
        count: number of entries of the source, if it can be embedded in parts.
        part: the batches of entries from one place to another.
    """

    batches: Iterator[tuple[dict[str, list[Any]], Tensor]]
    skipped: list[tuple[str, str]] = field(default_factory=list)
    empty: str = "there is nothing to embed."
    count: int | None = None
    part: Callable[[int, int], Iterator[tuple[dict[str, list[Any]], Tensor]]] | None = None


class Domain(ABC):
    """Images, text, …: how data become batches, and how an encoder of them is measured, used and shown.

    Attributes:
        name: as methods name it.
        default_data: a built-in set.
    """

    name: ClassVar[str]
    default_data: ClassVar[str]
    # Arguments of a views' class that follow from the run and are no settings of their own.
    derived_view_options: ClassVar[tuple[str, ...]] = ("num_views",)
    # Arguments of a method that follow from the run likewise.
    derived_method_options: ClassVar[tuple[str, ...]] = ()
    # What the settings say of loading beside its arguments.
    derived_loading_options: ClassVar[tuple[str, ...]] = ()
    # Arguments of loading that name files.
    loading_paths: ClassVar[tuple[str, ...]] = ()

    @staticmethod
    def named_sets() -> Sequence[str]:
        """Return the names of the known sets; they go before files called alike."""
        return ()

    @staticmethod
    def loading_options() -> None:
        """Arguments under `loading:` that say how data are read; the signature is what the command line offers."""
        return None

    @abstractmethod
    def data_module(self, config: RunConfig, sets: Any = None) -> lightning.LightningDataModule:
        """Return the data of a run, without views; `sets` stand in for those that `config.data` names."""

    def sets_of_array(self, array: np.ndarray) -> Any:
        """Return what `data_module` takes as `sets`, made of an array.

        Raises:
            InputError: methods of this domain are not trained on arrays.
        """
        raise InputError(f"methods of {self.name} are not trained on arrays: use `dipole train`.")

    @abstractmethod
    def attach_views(self, method: Method, data: lightning.LightningDataModule, config: RunConfig) -> None:
        """Let the data make the views that the method trains on."""

    def monitors(self, method: Method, data: lightning.LightningDataModule, run: Run) -> list[lightning.Callback]:
        """Return callbacks that follow the quality and the geometry of the embeddings."""
        return []

    def embed_training(
        self, method: Method, data: lightning.LightningDataModule, index: Tensor, progress: bool = False
    ) -> Tensor:
        """Return the embeddings (N, F) of some training samples that `Method.refresh` is to see, on the CPU.

        Raises:
            InputError: methods of this domain cannot be refreshed.
        """
        raise InputError(f"methods of {self.name} have no look at the whole training set between epochs.")

    def facts(self, data: lightning.LightningDataModule) -> dict[str, Any]:
        """Return settings that the data decide; those that are arguments of the method are set there too."""
        return {}

    def remembered(self, data: lightning.LightningDataModule) -> dict[str, Any]:
        """Return `derived_loading_options` that the data decide: by them other data are known to fit or not."""
        return {}

    def save(self, method: Method, config: RunConfig, folder: Path) -> None:
        """Write the model that people share."""
        save_model(method, folder, name=config.name, arguments=config.method, facts=self._shared_facts(config))

    def load(self, folder: Path, config: dict[str, Any], encoder: nn.Module | None) -> Method:
        """Load what `save` has written."""
        return load_model(folder, config, encoder)

    def _shared_facts(self, config: RunConfig) -> dict[str, Any]:
        """What `embed` must know beside the method."""
        return {}

    def untrained(self, trained: Method, settings: RunConfig) -> Method | None:
        """Return the method as it was before training (same seed); None where the trained one stands for it.

        Raises:
            InputError: it cannot be built any more.
        """
        return build_method(settings.name, settings.method, seed=settings.seed).eval()

    @abstractmethod
    def material(
        self,
        methods: Mapping[str, Method],
        settings: RunConfig,
        *,
        data: str | None = None,
        data_root: str | Path | None = None,
        protocols: Sequence[str] = (),
        progress: bool = False,
    ) -> Material:
        """Return what protocols measure: the methods as candidates, and the data.

        Args:
            methods: `trained` and, if it can be built, `untrained`.
            settings: of the run.
            data: other data than those of the run.
            data_root: folder of named data sets; that of the run if it is None.
            protocols: that will be used; some data serve only some of them.
            progress: show progress bars.
        """

    @abstractmethod
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
        """Embed a source with a method that lies on its device; `config` is what `model_config` reads."""

    @abstractmethod
    def report_arguments(
        self, method: Method, run: Run, *, data_root: str | Path | None = None, progress: bool = False
    ) -> dict[str, Any]:
        """Return what `build_report` shows beside the files of the run."""

    def resolve(
        self, config: RunConfig, cls: type[Method], data: lightning.LightningDataModule, *, encoder_given: bool
    ) -> RunConfig:
        """Fill in every default, so that the settings say all that the run depends on.

        Raises:
            InputError: an argument that the method, its views or the loading of its data do not have.
        """
        known = {name for name, entry in cls.arguments().items() if entry.kind is not entry.VAR_POSITIONAL}
        _refuse_unknown(config.method, known, f"{config.name} has no argument", f"`dipole train {config.name} --help`")
        base = base_of(cls, config.method)
        if base is not None:
            inner = replace(config, name=base[0], method=base[1])
            assert issubclass(cls, Wrapping)
            inner = replace(inner, views={**cls.view_changes(get_method(base[0])), **config.views})
            inner = self.resolve(inner, get_method(base[0]), data, encoder_given=encoder_given)
            defaults = {n: listed(e.default) for n, e in cls.arguments().items() if e.default is not e.empty}
            own = {**defaults, **config.method, "base": {"name": base[0], **inner.method}}
            return replace(inner, name=config.name, method=own)
        facts = self.facts(data)
        method = {
            **{n: listed(entry.default) for n, entry in cls.arguments().items() if entry.default is not entry.empty},
            **config.method,
            **{name: value for name, value in facts.items() if name in known},
        }
        if encoder_given:
            method["encoder"] = None
        views = {**self.view_defaults(cls), **config.views}
        return replace(
            config,
            **{name: value for name, value in facts.items() if name in vars(config)},
            data=self._lasting(config.data) or self.default_data,
            data_root=None if config.data_root is None else str(Path(config.data_root).expanduser().absolute()),
            method=method,
            views={name: listed(value) for name, value in views.items()},
            loading={**self.loading_defaults(), **self._lasting_paths(config.loading), **self.remembered(data)},
        )

    def _lasting(self, data: str) -> str:
        """A path as it leads to the same place from any folder; a name as it is."""
        path = Path(data).expanduser()
        there = data and data not in self.named_sets() and (path.exists() or existing_pattern(data) is not None)
        return str(path.absolute()) if there else data

    def _lasting_paths(self, loading: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments of loading, in which files are named as they lead to the same place from any folder."""
        return {
            name: str(Path(value).expanduser().absolute())
            if name in self.loading_paths and value and Path(value).expanduser().exists()
            else value
            for name, value in loading.items()
        }

    def view_defaults(self, cls: type[Method]) -> dict[str, Any]:
        """Return the arguments of a method's views that a user may set, with their defaults."""
        views = getattr(cls, "views_class", None)
        if views is None:
            return {}
        return {
            name: listed(entry.default)
            for name, entry in inspect.signature(views).parameters.items()
            if name not in self.derived_view_options
        }

    def loading_defaults(self) -> dict[str, Any]:
        """Return the arguments of loading with their defaults."""
        return {name: entry.default for name, entry in inspect.signature(self.loading_options).parameters.items()}

    def known_loading(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """Return those arguments that loading has, of what is stored beside a model."""
        return {name: value for name, value in given.items() if name in self.loading_defaults()}

    def loading(self, config: RunConfig) -> dict[str, Any]:
        """Return how data are read, with every default.

        Raises:
            InputError: an argument that loading does not have.
        """
        known = self.loading_defaults()
        given = {name: value for name, value in config.loading.items() if name not in self.derived_loading_options}
        _refuse_unknown(given, known, "loading has no argument", f"choose from {', '.join(known)}")
        return known | given

    def view_options(self, cls: type[Method], config: RunConfig) -> dict[str, Any]:
        """Return the settings of the views as arguments of their class.

        Raises:
            InputError: an argument that the views do not have.
        """
        known = self.view_defaults(cls)
        _refuse_unknown(config.views, known, "views have no argument", f"choose from {', '.join(known)}")
        return {name: tuple(value) if isinstance(value, list) else value for name, value in config.views.items()}


def listed(value: Any) -> Any:
    """Return a tuple as YAML gives it back.

    Example:
        >>> listed((1, 2))
        [1, 2]
    """
    return list(value) if isinstance(value, tuple) else value


def _refuse_unknown(given: Mapping[str, Any], known: Any, complaint: str, advice: str) -> None:
    """Require that every name is known."""
    unknown = sorted(set(given) - set(known))
    if unknown:
        lists = "" if advice.startswith("choose") else " lists them"
        raise InputError(f"{complaint} {unknown[0]!r}: {advice}{lists}.")
