"""Experiments on graphs: linear accuracy and clusters of frozen embeddings of nodes."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dipole.claims.base import Arm, Claim, Data, Metrics
from dipole.claims.training import run_config
from dipole.data.graph import GraphSet, load_graph
from dipole.evaluation.baselines.propagated_attributes import STEPS, PropagatedAttributes, propagated
from dipole.evaluation.nodes import cluster_agreement, node_accuracies, random_node_split
from dipole.methods.registry import get_method
from dipole.methods.wrapping import Wrapping
from dipole.runs import load, train
from dipole.runs.domains.graph import embed_nodes
from dipole.runs.model import build_method

TUNING_SHARE = 0.25  # of the nodes, whose classes choose learning rates and never judge
SPLITS = 3  # of the judging nodes, over which an accuracy is averaged


@dataclass(frozen=True)
class GraphData(Data):
    """A graph whose nodes have classes. All nodes and edges are trained on, without classes.

    Args:
        name: as `load_graph` knows it.
    """

    name: str

    tuning_metric = "linear"
    tuning = f"learning rate by linear accuracy on {TUNING_SHARE:.0%} of the nodes, which do not judge"

    def load(self, data_root: str | Path | None = None) -> GraphSet:
        """Return the graph."""
        return load_graph(self.name, data_root)

    def size(self, loaded: Any) -> int:
        """Number of nodes."""
        return len(loaded)

    def once(self, claim: Claim, arm: Arm, rate: float, seed: int, loaded: Any, *, tune: bool) -> Metrics:
        """Train an encoder, then a classifier on each of several splits; splits are the same for all arms."""
        graph: GraphSet = loaded
        config = run_config(arm, self.name, rate, seed)
        if issubclass(get_method(arm.method), Wrapping):  # the optimiser is that of the base
            rate_of_base = {**config.method["base"], "learning_rate": config.method.pop("learning_rate")}
            config.method["base"] = rate_of_base
        with tempfile.TemporaryDirectory() as folder:
            method = load(train(config, Path(folder) / "run", sets=graph, monitor=False, progress=False).path)
        inputs = graph.normalized().graph
        embedded = embed_nodes(method, {"x": inputs.x, "edge_index": inputs.edge_index})
        found: Metrics = {"linear": self._accuracy(graph, embedded, seed, tune)}
        if not tune:
            assert graph.labels is not None
            found["NMI"] = cluster_agreement(embedded, graph.labels, seed=seed)["NMI"]
            if claim.measure is not None:
                found |= claim.measure(method, graph, graph, arm)
        return found

    def references(self, claim: Claim, arm: Arm, loaded: Any) -> dict[str, dict[str, float]]:
        """Accuracies of the attributes, before and after propagation, and of an encoder that is not trained."""
        inputs = loaded.normalized().graph
        options = {**arm.options, "num_features": inputs.x.shape[1]}
        untrained = build_method(arm.method, options).eval()
        embedded = {
            "attributes": inputs.x,
            PropagatedAttributes.name: propagated(inputs.x, inputs.edge_index, STEPS),
            "untrained encoder": embed_nodes(untrained, {"x": inputs.x, "edge_index": inputs.edge_index}),
        }
        return {name: {"linear": self._accuracy(loaded, z, 0, tune=False)} for name, z in embedded.items()}

    def _accuracy(self, graph: GraphSet, embeddings: Tensor, seed: int, tune: bool) -> float:
        """The mean over splits of the nodes that tune, or of the others; a tenth of all nodes is learned from."""
        labels = graph.labels
        assert labels is not None
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
        tuning = order[: round(TUNING_SHARE * len(labels))]
        used = torch.full_like(labels, -1)
        mine = tuning if tune else order[len(tuning) :]
        used[mine] = labels[mine]
        share = 0.4 if tune else 0.1 / (1 - TUNING_SHARE)
        splits = [
            random_node_split(used, train=share, validation=share / (2 if tune else 1), seed=SPLITS * seed + number)
            for number in range(SPLITS)
        ]
        found = node_accuracies(embeddings, used, splits)
        return sum(found) / len(found)
