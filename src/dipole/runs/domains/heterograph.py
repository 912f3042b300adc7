"""Graphs of several kinds of nodes: all nodes of one kind are a batch; classes by few labels, and clusters."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import lightning
import torch
from torch import Tensor

from dipole.data.graph import HeteroDataModule, available_heterographs
from dipole.data.graph.hetero_views import attributes_of
from dipole.diagnostics import MetaPathGeometryMonitor
from dipole.errors import InputError
from dipole.evaluation.materials import HeteroMaterial
from dipole.methods.base import Method
from dipole.methods.graph.meow import MetaPathMethod
from dipole.nn.modes import moved
from dipole.runs.config import RunConfig
from dipole.runs.directory import Run
from dipole.runs.domains.base import Domain, Embeddings

MONITORED_NODES = 512
MOST_NODES = 3000  # of a report


class HeteroGraph(Domain):
    """Graphs of several kinds of nodes, one of which is embedded."""

    name = "heterograph"
    default_data = "toy-papers"
    derived_view_options = ()
    derived_method_options = ("attribute_widths", "contexts")

    @staticmethod
    def named_sets() -> Sequence[str]:
        """Return the names of the known sets."""
        return [info.name for info in available_heterographs() if info.where == "built in"]

    @staticmethod
    def loading_options(
        target: str | None = None, metapaths: str | None = None, normalize: bool = True, encoding: str = "utf-8"
    ) -> None:
        """How graphs of several kinds of nodes are read.

        Args:
            target: the kind of nodes that is embedded; the one with classes, or at the ends of the meta-paths, if None.
            metapaths: such as `author-paper-author,author-paper-venue-paper-author`; HeCo's own, or from the target to
                each of its neighbours and back, if None.
            normalize: scale the attributes of a node to the sum 1.
            encoding: of tables, e.g. `latin-1`.
        """

    def data_module(self, config: RunConfig, sets: Any = None) -> HeteroDataModule:
        """Return the graph of a run."""
        return HeteroDataModule(
            (config.data or self.default_data) if sets is None else sets,
            data_root=config.data_root,
            seed=config.seed,
            **self.loading(config),
        )

    def facts(self, data: lightning.LightningDataModule) -> dict[str, Any]:
        """The number of attributes of each kind, and the kinds on the meta-paths."""
        graph = cast(HeteroDataModule, data).graph_set
        widths = [attributes_of(graph, kind).shape[1] for kind in graph.kinds]
        contexts = [[graph.kinds.index(kind) for kind in path[1:-1]] for path in graph.metapaths]
        return {"attribute_widths": widths, "contexts": contexts}

    def attach_views(self, method: Method, data: lightning.LightningDataModule, config: RunConfig) -> None:
        """What falls is drawn once."""
        cast(HeteroDataModule, data).views = cast(MetaPathMethod, method).views

    def monitors(self, method: Method, data: lightning.LightningDataModule, run: Run) -> list[lightning.Callback]:
        """How the coarse and the fine view of some nodes lie to each other, some times in a run."""
        assert isinstance(data, HeteroDataModule)
        graph = data.graph_set
        nodes = torch.randperm(len(graph), generator=torch.Generator().manual_seed(0))[:MONITORED_NODES]
        labels = graph.labels
        if labels is not None:
            nodes = nodes[labels[nodes] >= 0]
            labels = labels[nodes]
        return [MetaPathGeometryMonitor(data.inputs, nodes, labels, path=run.diagnostics)] if len(nodes) > 1 else []

    def material(
        self,
        methods: Mapping[str, Method],
        settings: RunConfig,
        *,
        data: str | None = None,
        data_root: str | Path | None = None,
        protocols: Sequence[str] = (),
        progress: bool = False,
    ) -> HeteroMaterial:
        """The graph.

        Raises:
            InputError: the graph has other attributes or meta-paths.
        """
        graph = self._module(settings, data, data_root).graph_set
        encoders = {name: _Encoder(method, graph) for name, method in methods.items()}
        return HeteroMaterial(graph.name, dict(encoders), settings.seed, progress, {"seed": settings.seed}, graph=graph)

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
        """Embed the target nodes of a graph; the table also has the column `label`, if classes are known."""
        loading = self.known_loading(config.get("loading", {}))
        graph = self._module(
            RunConfig(config["name"], method=config["method"], loading=loading), source, data_root
        ).graph_set
        columns: dict[str, list[Any]] = {"id": graph.node_ids()}
        if graph.labels is not None:
            columns["label"] = graph.classes()
        found = Embeddings(iter(()), [(graph.name, note) for note in graph.notes])
        found.batches = iter([(columns, embed_targets(method, graph))])
        return found

    def embed_training(
        self, method: Method, data: lightning.LightningDataModule, index: Tensor, progress: bool = False
    ) -> Tensor:
        """Embeddings of target nodes."""
        return embed_targets(method, cast(HeteroDataModule, data).graph_set)[index]

    def _shared_facts(self, config: RunConfig) -> dict[str, Any]:
        """How the graph is read."""
        return {"loading": self.loading(config)}

    def report_arguments(
        self, method: Method, run: Run, *, data_root: str | Path | None = None, progress: bool = False
    ) -> dict[str, Any]:
        """Embeddings of some target nodes with their classes, and how many nodes each meta-path joins them to."""
        graph = self._module(run.settings(), None, data_root).graph_set
        shown = torch.randperm(len(graph), generator=torch.Generator().manual_seed(0))[:MOST_NODES].sort().values
        ids, classes = graph.node_ids(), graph.classes()
        joined = {"-".join(path): (graph.along(path) > 0).sum(axis=1).A1.tolist() for path in graph.metapaths}
        texts = [
            f"{graph.target} {ids[node]}{'' if classes[node] is None else f', class {classes[node]}'}; "
            + ", ".join(f"{counts[node]} by {name}" for name, counts in joined.items())
            for node in shown.tolist()
        ]
        labels = {} if graph.labels is None else {"class": graph.labels[shown]}
        return {
            "embeddings": embed_targets(method, graph)[shown],
            "texts": texts,
            "labels": labels,
            "class_names": {"class": graph.class_names} if labels else {},
            "data": graph.name,
        }

    def _module(self, settings: RunConfig, data: str | None, data_root: str | Path | None) -> HeteroDataModule:
        """The data of a run, or others in their place.

        Raises:
            InputError: attributes or meta-paths are not those of the run.
        """
        module = self.data_module(
            replace(
                settings,
                data=data or settings.data,
                data_root=settings.data_root if data_root is None else str(data_root),
            )
        )
        for name, found in self.facts(module).items():
            expected = [list(each) if isinstance(each, list | tuple) else each for each in settings.method[name]]
            if found != expected:
                raise InputError(
                    f"{module.graph_set.name} has {name.replace('_', ' ')} {found}, and the encoder was trained on "
                    f"{expected}: it embeds graphs of the same kinds of nodes, attributes and meta-paths."
                )
        return module


class _Encoder:
    """A method as protocols of graphs measure it."""

    def __init__(self, method: Method, graph: Any) -> None:
        self.method, self.graph = method, graph

    def nodes(self) -> Tensor:
        """Embeddings of all target nodes."""
        return embed_targets(self.method, self.graph)


@torch.inference_mode()
def embed_targets(method: Method, graph: Any) -> Tensor:
    """Return embeddings (N, D) of all target nodes, computed on the device of the method."""
    device = next(method.parameters()).device
    views = moved(cast(MetaPathMethod, method).views(graph), device)
    return method.embed({"views": views}).float().cpu().clone()


DOMAIN = HeteroGraph()
