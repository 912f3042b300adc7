"""A graph -> one batch an epoch, for Lightning."""

from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch
from jaxtyping import Float, Int
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader

from dipole import ops
from dipole.data.epoch_sampler import PlaceSampler
from dipole.data.graph.graph_set import GraphSet
from dipole.data.graph.neighbours import NeighbourBatches, as_it_is, parse_neighbours
from dipole.data.graph.registry import load_graph
from dipole.data.randomness import keyed_generator
from dipole.data.workers import outlive_termination
from dipole.errors import InputError

Batch = dict[str, Any]


class Views(Protocol):
    """Makes views of a graph that its `prepare` has been shown."""

    def prepare(self, x: Float[Tensor, "n f"], edge_index: Int[Tensor, "2 e"]) -> None:
        """Compute what the views depend on."""

    def __call__(
        self,
        x: Float[Tensor, "n f"],
        edge_index: Int[Tensor, "2 e"],
        *,
        generator: torch.Generator,
        nodes: Int[Tensor, "n"] | None = None,
        edges: Int[Tensor, "e"] | None = None,
    ) -> dict[str, Any]:
        """Return `views`, and what else the method needs of the nodes; of a part it is said which it has."""


class GraphDataModule(LightningDataModule):
    """The whole graph as the only batch of an epoch, or nodes with their neighbourhoods in many.

    A batch is a dictionary: `index` (N,), `x` (N, F), `edge_index` (2, E) and, in training, what the views add. Views
    are made after the transfer, on the device; what they draw is a pure function of (seed, step), so that a run that
    resumes repeats the rest bit for bit. In a batch of neighbourhoods, `index` holds the nodes that are contrasted,
    `nodes` (M,) these and those around them, whose `x` (M, F) and `edge_index` it has, and `edges` which edges of the
    graph these are.

    Args:
        data: a name or a path, see `load_graph`; or a graph.
        data_root: folder of the graphs that are read from files.
        nodes: the table of nodes that belongs to a table of edges.
        normalize: scale the attributes of a node to the sum 1.
        held_out: share of the edges that training does not see, for the prediction of links.
        encoding: of tables.
        neighbours: drawn in each hop around the nodes of a batch, see `parse_neighbours`; the whole graph is one batch
            if it is None.
        batch_size: nodes in a batch of neighbourhoods.
        num_workers: processes that draw them.
        seed: 0 or more.

    Raises:
        InputError: a setting is out of range; and, when the graph is first needed, whatever `load_graph` refuses.

    Example:
        >>> module = GraphDataModule("karate-club")
        >>> [tuple(batch["x"].shape) for batch in module.train_dataloader()]
        [(34, 34)]
    """

    def __init__(
        self,
        data: str | GraphSet = "karate-club",
        *,
        data_root: str | Path | None = None,
        nodes: str | None = None,
        normalize: bool = True,
        held_out: float = 0.0,
        encoding: str = "utf-8",
        neighbours: str | None = None,
        batch_size: int = 1024,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if not 0 <= held_out < 1:
            raise InputError(f"held_out is {held_out}: expected a share of the edges from 0 to below 1.")
        if seed < 0:
            raise InputError(f"seed is {seed}: expected 0 or more.")
        self.data, self.data_root, self.nodes, self.encoding = data, data_root, nodes, encoding
        self.normalize, self.held_out, self.seed = normalize, held_out, seed
        self.hops, self.batch_size, self.num_workers = parse_neighbours(neighbours), batch_size, num_workers
        # Set before training starts, and prepared for the graph.
        self.views: Views | None = None

    @cached_property
    def graph_set(self) -> GraphSet:
        """The graph with all its edges, loaded when it is first needed."""
        loaded = (
            self.data
            if isinstance(self.data, GraphSet)
            else load_graph(self.data, self.data_root, nodes=self.nodes, encoding=self.encoding)
        )
        return loaded.normalized() if self.normalize else loaded

    @cached_property
    def edges(self) -> tuple[Tensor, Tensor]:
        """The edges that training sees, in both directions (2, E), and those held out, once each (2, H)."""
        edges = self.graph_set.graph.edge_index
        if self.held_out == 0:
            return edges, edges[:, :0]
        once = edges[:, edges[0] < edges[1]]
        order = torch.randperm(once.shape[1], generator=torch.Generator().manual_seed(self.seed))
        held = once[:, order[: round(self.held_out * once.shape[1])].sort().values]
        nodes = len(self.graph_set)
        codes = torch.cat([held[0] * nodes + held[1], held[1] * nodes + held[0]])
        return edges[:, ~torch.isin(edges[0] * nodes + edges[1], codes)], held

    def train_dataloader(self) -> DataLoader[Batch]:
        """One batch: the graph; or batches of nodes with their neighbourhoods.

        Raises:
            InputError: several processes, of which each would need the whole graph; or a graph of one node.
        """
        if self.hops is not None:
            return self._neighbourhoods(self.hops)
        if ops.world_size() > 1:
            raise InputError(f"{ops.world_size()} processes: a graph is one batch, so that one device trains on it.")
        graph = self.graph_set.graph
        batch = {"index": torch.arange(len(graph.x)), "x": graph.x, "edge_index": self.edges[0]}
        return DataLoader(
            [batch],  # type: ignore[arg-type]
            batch_size=None,
            # Its own generator: starting an epoch must not move the random state that the method may use.
            generator=torch.Generator().manual_seed(self.seed),
        )

    def _neighbourhoods(self, hops: tuple[int, ...]) -> DataLoader[Batch]:
        """All nodes in the order of the epoch, some at a time, each with what lies around it."""
        x = self.graph_set.graph.x
        sampler = PlaceSampler(range(len(x)), self.seed)
        if self.trainer is not None:
            sampler.go_on(self.trainer, self.batch_size)
        if len(sampler) < 2:
            raise InputError(f"{self.graph_set.name} has {len(x)} nodes: a batch needs 2 or more.")
        return DataLoader(
            NeighbourBatches(x, self.edges[0], hops, self.batch_size, self.seed, ops.rank()),
            batch_size=self.batch_size,
            sampler=sampler,
            collate_fn=as_it_is,
            drop_last=len(sampler) >= self.batch_size,
            num_workers=self.num_workers,
            worker_init_fn=outlive_termination,
            persistent_workers=self.num_workers > 0,
            generator=torch.Generator().manual_seed(self.seed),
        )

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Add what the views make of a training batch, on the device it has been moved to."""
        if self.views is None or self.trainer is None or not self.trainer.training:
            return batch
        step = self.trainer.fit_loop.epoch_loop.batch_progress.total.ready
        generator = keyed_generator(self.seed, step, device=batch["x"].device)
        part = {name: batch[name] for name in ("nodes", "edges") if name in batch}
        return {**batch, **self.views(batch["x"], batch["edge_index"], generator=generator, **part)}
