"""Graphs: the whole graph is a batch; classes, clusters and links beside the encoder before training and attributes."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import lightning
import torch
from torch import Tensor

from dipole.data.graph import GraphDataModule, GraphSet, available_graphs
from dipole.diagnostics import GraphGeometryMonitor, encoder_compactness
from dipole.errors import InputError
from dipole.evaluation.materials import GraphMaterial
from dipole.methods.base import Method
from dipole.methods.graph.embedding import NodeEmbedding
from dipole.methods.wrapping import unwrapped
from dipole.runs.config import RunConfig
from dipole.runs.directory import Run
from dipole.runs.domains.base import Domain, Embeddings
from dipole.views.graph import detect_communities

MONITORED_NODES = 512
MOST_NODES = 3000  # of a report
MOST_COMMUNITIES = 30  # that have a colour of their own in a report


class Graph(Domain):
    """Graphs whose nodes are embedded."""

    name = "graph"
    default_data = "karate-club"
    derived_view_options = ()
    derived_method_options = ("num_features",)
    derived_loading_options = ("attributed",)
    loading_paths = ("nodes",)

    @staticmethod
    def named_sets() -> Sequence[str]:
        """Return the names of the known sets."""
        return [info.name for info in available_graphs()]

    @staticmethod
    def loading_options(
        nodes: str | None = None,
        normalize: bool = True,
        held_out: float = 0.0,
        neighbours: str | None = None,
        encoding: str = "utf-8",
    ) -> None:
        """How graphs are read.

        Args:
            nodes: the table of nodes that belongs to a table of edges.
            normalize: scale the attributes of a node to the sum 1.
            held_out: share of the edges that training does not see, for the prediction of links.
            neighbours: for large graphs: how many are drawn in each hop around the nodes of a batch, such as `10,5`;
                the whole graph is one batch by default.
            encoding: of tables, e.g. `latin-1`.
        """

    def data_module(self, config: RunConfig, sets: Any = None) -> GraphDataModule:
        """Return the graph of a run."""
        return GraphDataModule(
            (config.data or self.default_data) if sets is None else sets,
            data_root=config.data_root,
            batch_size=config.batch_size,
            num_workers=config.num_workers,
            seed=config.seed,
            **self.loading(config),
        )

    def facts(self, data: lightning.LightningDataModule) -> dict[str, Any]:
        """The number of attributes."""
        return {"num_features": cast(GraphDataModule, data).graph_set.graph.x.shape[1]}

    def remembered(self, data: lightning.LightningDataModule) -> dict[str, Any]:
        """Whether the nodes have attributes of their own."""
        return {"attributed": cast(GraphDataModule, data).graph_set.attributed}

    def attach_views(self, method: Method, data: lightning.LightningDataModule, config: RunConfig) -> None:
        """Views are made of the graph, on its device."""
        assert isinstance(data, GraphDataModule)
        if data.hops is not None and getattr(method, "whole_graph", False):
            raise InputError(f"{config.name} needs the whole graph in every step: leave out --loading.neighbours.")
        views = cast(NodeEmbedding, method).build_views(**self.view_options(type(unwrapped(method)), config))
        data.views = views
        views.prepare(data.graph_set.graph.x, data.edges[0])

    def monitors(self, method: Method, data: lightning.LightningDataModule, run: Run) -> list[lightning.Callback]:
        """The geometry of the embeddings of some nodes, some times in a run."""
        assert isinstance(data, GraphDataModule)
        graph = data.graph_set
        if data.hops is not None:  # views of the whole graph may not fit
            return []
        nodes = torch.randperm(len(graph), generator=torch.Generator().manual_seed(0))[:MONITORED_NODES]
        labels = graph.labels
        if labels is not None:
            nodes = nodes[labels[nodes] >= 0]
            labels = labels[nodes]
        if len(nodes) < 2:
            return []
        views = cast(Any, data.views)
        return [GraphGeometryMonitor(graph.graph.x, data.edges[0], nodes, views, labels, path=run.diagnostics)]

    def material(
        self,
        methods: Mapping[str, Method],
        settings: RunConfig,
        *,
        data: str | None = None,
        data_root: str | Path | None = None,
        protocols: Sequence[str] = (),
        progress: bool = False,
    ) -> GraphMaterial:
        """The graph, of which encoders see the edges that training has seen.

        Raises:
            InputError: the graph has other attributes.
        """
        module = self._module(settings, data, data_root)
        graph, (edges, held_out) = module.graph_set, module.edges
        inputs = {"x": graph.graph.x, "edge_index": edges}
        return GraphMaterial(
            graph.name,
            {name: _Encoder(method, inputs) for name, method in methods.items()},
            settings.seed,
            progress,
            {"seed": settings.seed},
            graph=graph,
            edges=edges,
            held_out=held_out,
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
        """Embed the nodes of a graph; the table also has the column `label`, if classes are known."""
        stored = config.get("loading", {})
        known = (*self.loading_defaults(), *self.derived_loading_options)
        loading = {name: stored[name] for name in known if name in stored}
        settings = RunConfig(config["name"], method=config["method"], loading=loading)
        graph = self._module(settings, source, data_root).graph_set
        columns: dict[str, list[Any]] = {"id": graph.node_ids()}
        if graph.labels is not None:
            columns["label"] = class_names_of(graph)
        inputs = {"x": graph.graph.x, "edge_index": graph.graph.edge_index}
        compact = compactness(method, inputs)
        if compact is not None:
            columns["compactness"] = compact.tolist()
        found = Embeddings(iter(()), [(graph.name, note) for note in graph.notes])
        found.batches = iter([(columns, embed_nodes(method, inputs))])
        return found

    def embed_training(
        self, method: Method, data: lightning.LightningDataModule, index: Tensor, progress: bool = False
    ) -> Tensor:
        """Embeddings of nodes."""
        assert isinstance(data, GraphDataModule)
        return embed_nodes(method, {"x": data.graph_set.graph.x, "edge_index": data.edges[0]})[index]

    def _shared_facts(self, config: RunConfig) -> dict[str, Any]:
        """How attributes are read."""
        kept = ("normalize", *self.derived_loading_options)
        return {"loading": {"normalize": True} | {n: config.loading[n] for n in kept if n in config.loading}}

    def report_arguments(
        self, method: Method, run: Run, *, data_root: str | Path | None = None, progress: bool = False
    ) -> dict[str, Any]:
        """Embeddings of some nodes, with their communities, their classes and the sizes of their neighbourhoods."""
        settings = run.settings()
        module = self._module(settings, None, data_root)
        graph, edges = module.graph_set, module.edges[0]
        inputs = {"x": graph.graph.x, "edge_index": edges}
        seed = settings.views.get("community_seed", 0)
        community = detect_communities(edges, len(graph), method=settings.views.get("communities", "leiden"), seed=seed)
        labels: dict[str, Tensor] = {}  # the first ones give the colours
        names: dict[str, Sequence[str]] = {}
        if graph.labels is not None:
            labels["class"], names["class"] = graph.labels, graph.class_names
        labels["community"] = torch.where(community < MOST_COMMUNITIES, community, -1)
        shown = torch.randperm(len(graph), generator=torch.Generator().manual_seed(0))[:MOST_NODES].sort().values
        ids, degrees = graph.node_ids(), graph.degrees.tolist()
        classes = class_names_of(graph) if graph.labels is not None else [None] * len(graph)
        compact = compactness(method, inputs)
        texts = [
            f"node {ids[node]}{'' if classes[node] is None else f', class {classes[node]}'}, {degrees[node]} neighbours"
            + ("" if compact is None else f", compactness {float(compact[node]):.3g}")
            for node in shown.tolist()
        ]
        if compact is not None:
            # Under every loss of 40 % of its edges: of which nodes that is certain.
            labels["compactness"] = (compact > 0).long()
            names["compactness"] = ("not certified", "certified")
        return {
            "embeddings": embed_nodes(method, inputs)[shown],
            "texts": texts,
            "labels": {name: values[shown] for name, values in labels.items()},
            "class_names": names,
            "data": graph.name,
        }

    def _module(self, settings: RunConfig, data: str | None, data_root: str | Path | None) -> GraphDataModule:
        """The data of a run, or others in their place.

        Raises:
            InputError: the attributes are not those of the run.
        """
        changed = replace(
            settings,
            data=data or settings.data,
            data_root=settings.data_root if data_root is None else str(data_root),
        )
        module = self.data_module(changed)
        learned, graph_set = settings.loading.get("attributed"), module.graph_set
        if learned is not None and learned != graph_set.attributed:
            raise InputError(
                f"{graph_set.name} has no attributes of its nodes, and the encoder has learned from attributes: give "
                "the table of nodes, --loading.nodes NODES.csv."
                if learned
                else f"{graph_set.name} has attributes of its nodes, and the encoder has learned from degrees alone: "
                "leave the table of nodes out."
            )
        own = settings.method
        arguments = own if "num_features" in own else own["base"]  # of a method that is wrapped
        width, expected = module.graph_set.graph.x.shape[1], arguments["num_features"]
        if width != expected:
            name = module.graph_set.name
            raise InputError(f"{name} has {width} attributes for a node, and the encoder was trained on {expected}.")
        return module


def compactness(method: Method, inputs: Mapping[str, Tensor]) -> Tensor | None:
    """Return the sound node compactness (N,) of an encoder that has one: a GCN of two layers; None for all others."""
    encoder = getattr(unwrapped(method), "encoder", None)
    try:
        device = next(method.parameters()).device
        x, edges = inputs["x"].to(device), inputs["edge_index"].to(device)
        found = encoder_compactness(cast(Any, encoder), x, edges)
    except InputError:
        return None
    return found.cpu()


class _Encoder:
    """A method as protocols of graphs measure it."""

    def __init__(self, method: Method, inputs: Mapping[str, Tensor]) -> None:
        self.method, self.inputs = method, inputs

    def nodes(self) -> Tensor:
        """Embeddings of all nodes."""
        return embed_nodes(self.method, self.inputs)


def class_names_of(graph: GraphSet) -> list[str | None]:
    """Return the name of the class of every node; None where it is unknown."""
    names = graph.class_names
    return [
        None if value < 0 else names[value] if value < len(names) else str(value) for value in graph.graph.y.tolist()
    ]


@torch.inference_mode()
def embed_nodes(method: Method, inputs: Mapping[str, Tensor]) -> Tensor:
    """Return embeddings (N, D) of all nodes, computed on the device of the method."""
    device = next(method.parameters()).device
    return method.embed({name: values.to(device) for name, values in inputs.items()}).float().cpu().clone()


DOMAIN = Graph()
