"""Some nodes of a graph with a sample of what lies around them, for graphs that do not fit into a step."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import Dataset

from dipole.data.epoch_sampler import Place
from dipole.data.randomness import keyed_generator
from dipole.errors import InputError


def parse_neighbours(text: str | None) -> tuple[int, ...] | None:
    """Return how many neighbours are drawn in each hop; None if the whole graph is taken.

    Raises:
        InputError: anything but whole numbers from 1 with commas.

    Example:
        >>> parse_neighbours("10, 5"), parse_neighbours(None)
        ((10, 5), None)
    """
    if text is None:
        return None
    try:
        found = tuple(int(part) for part in str(text).split(","))
    except ValueError:
        found = ()
    if not found or min(found) < 1:
        raise InputError(f"neighbours are {text!r}: expected a number for each hop, with commas, such as 10,5.")
    return found


class NeighbourSampler:
    """Draw neighbourhoods: in each hop so many neighbours of every node that the hop before has added.

    A node with fewer neighbours gives all of them; of others so many are drawn, with replacement, each of which counts
    once. Messages go from what was drawn towards the seeds.

    Hamilton et al.: *Inductive Representation Learning on Large Graphs* (NeurIPS 2017).

    Args:
        edge_index: (2, E), both directions of every edge, sorted by the first node.
        num_nodes: N.
        hops: neighbours to draw in each hop.

    Example:
        >>> sampler = NeighbourSampler(torch.tensor([[0, 1, 1, 2], [1, 0, 2, 1]]), 3, [2])
        >>> nodes, edges, places = sampler(torch.tensor([0]), torch.Generator().manual_seed(0))
        >>> nodes.tolist(), edges.tolist(), places.tolist()  # the message from node 1 to node 0 is edge 1
        ([0, 1], [[1], [0]], [1])
    """

    def __init__(self, edge_index: Int[Tensor, "2 e"], num_nodes: int, hops: Sequence[int]) -> None:
        self.edge_index, self.hops, self.num_nodes = edge_index, hops, num_nodes
        self.first = torch.zeros(num_nodes + 1, dtype=torch.long)
        torch.cumsum(torch.bincount(edge_index[0], minlength=num_nodes), dim=0, out=self.first[1:])

    def __call__(self, seeds: Int[Tensor, "s"], generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Draw around some different nodes.

        Args:
            seeds: (S,).
            generator: of the draw.

        Returns:
            Nodes (M,) of the graph, the seeds first; edges (2, K) between their places; and which edge of the graph
            each of them is, (K,).
        """
        drawn, newest = [], seeds
        known = torch.zeros(self.num_nodes, dtype=torch.bool)
        known[seeds] = True
        for count in self.hops:
            drawn.append(self._around(newest, count, generator))
            reached = torch.unique(self.edge_index[1, drawn[-1]])
            newest = reached[~known[reached]]
            known[newest] = True
        chosen = torch.unique(torch.cat(drawn))
        known[seeds] = False
        nodes = torch.cat([seeds, torch.nonzero(known).flatten()])
        place = torch.empty(self.num_nodes, dtype=torch.long)
        place[nodes] = torch.arange(len(nodes))
        # Drawn is the edge from a node to its neighbour; the message takes the other direction.
        receiver, sender = self.edge_index[:, chosen]
        return nodes, place[torch.stack([sender, receiver])], self._reversed(receiver, sender, chosen)

    def _around(self, nodes: Tensor, count: int, generator: torch.Generator) -> Tensor:
        """Places in the list of edges: all of nodes with few edges, some of the others."""
        first, degree = self.first[nodes], self.first[nodes + 1] - self.first[nodes]
        few = degree <= count
        sizes = degree[few]
        ends = sizes.cumsum(0)
        within = torch.arange(int(sizes.sum())) - (ends - sizes).repeat_interleave(sizes)
        whole = first[few].repeat_interleave(sizes) + within
        draws = torch.rand(int((~few).sum()), count, generator=generator, dtype=torch.float64)
        some = first[~few, None] + (draws * degree[~few, None]).long()
        return torch.unique(torch.cat([whole, some.flatten()]))

    def _reversed(self, receiver: Tensor, sender: Tensor, chosen: Tensor) -> Tensor:
        """The places of the same edges in the other direction, by bisection in the rows of their senders."""
        low, high = self.first[sender], self.first[sender + 1] - 1
        while bool((low < high).any()):
            middle = (low + high) // 2
            further = self.edge_index[1, middle] < receiver
            low, high = torch.where(further, middle + 1, low), torch.where(further, high, middle)
        return low


class NeighbourBatches(Dataset[Any]):
    """Batches of seeds with their neighbourhoods, each a pure function of (seed, epoch, place in it).

    Args:
        x: (N, F) attributes.
        edge_index: see `NeighbourSampler`.
        hops: likewise.
        batch_size: seeds in a batch.
        seed: 0 or more.
        rank: of this process.
    """

    def __init__(
        self,
        x: Float[Tensor, "n f"],
        edge_index: Int[Tensor, "2 e"],
        hops: Sequence[int],
        batch_size: int,
        seed: int,
        rank: int = 0,
    ) -> None:
        self.x, self.batch_size, self.seed, self.rank = x, batch_size, seed, rank
        self.sampler = NeighbourSampler(edge_index, len(x), hops)

    def __len__(self) -> int:
        return len(self.x)

    def __getitems__(self, places: list[Place]) -> dict[str, Tensor]:
        """Return a batch: `index` (S,) the seeds, `nodes` (M,) with the seeds first, their `x` and `edge_index`."""
        epoch, position, _ = places[0]
        generator = keyed_generator(self.seed, epoch, position // self.batch_size, self.rank)
        seeds = torch.tensor([index for _, _, index in places])
        nodes, edges, which = self.sampler(seeds, generator)
        return {"index": seeds, "nodes": nodes, "edges": which, "x": self.x[nodes], "edge_index": edges}


def as_it_is(batch: Any) -> Any:
    """Return a batch that is whole already; loading processes can be told of a function that has a name."""
    return batch
