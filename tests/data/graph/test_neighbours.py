"""Neighbourhoods that are drawn, and runs on them."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dipole.cli import main
from dipole.data.graph import GraphDataModule, make_graph
from dipole.data.graph.neighbours import NeighbourSampler, parse_neighbours
from dipole.errors import InputError
from dipole.runs import RunConfig, load, train
from dipole.views.graph import CommunalViews, GraphViews


def random_graph(nodes: int = 60, edges: int = 200, seed: int = 0) -> torch.Tensor:
    pairs = torch.randint(nodes, (2, edges), generator=torch.Generator().manual_seed(seed))
    return make_graph("random", pairs, num_nodes=nodes).graph.edge_index  # type: ignore[no-any-return]


def test_whole_neighbourhoods_are_those_of_a_search_in_breadth() -> None:
    edges = random_graph()
    around: dict[int, set[int]] = {node: set() for node in range(60)}
    for first, second in edges.T.tolist():
        around[first].add(second)
    seeds = torch.tensor([5, 40, 2])
    nodes, local, which = NeighbourSampler(edges, 60, [100, 100])(seeds, torch.Generator().manual_seed(0))
    one = set(seeds.tolist()).union(*(around[node] for node in seeds.tolist()))
    two = one.union(*(around[node] for node in one))
    assert nodes[:3].tolist() == seeds.tolist()
    assert set(nodes.tolist()) == two
    assert len(nodes) == len(two)
    received = {(int(a), int(b)) for a, b in nodes[local].T.tolist()}
    assert received == {(other, node) for node in one for other in around[node]}
    assert torch.equal(edges[:, which], nodes[local]), "each edge is known by its place in the graph"


def test_some_neighbours_are_drawn_alike_by_the_same_seed() -> None:
    edges = random_graph(60, 1000)
    sampler, seeds = NeighbourSampler(edges, 60, [3]), torch.arange(10)
    found = [sampler(seeds, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1)]
    assert all(torch.equal(a, b) for a, b in zip(found[0], found[1], strict=True))
    assert not torch.equal(found[0][2], found[2][2])
    received = found[0][1][1].bincount(minlength=10)[:10]
    assert int(received.max()) <= 3
    assert int(received.min()) >= 1


def test_every_neighbour_is_drawn_as_often() -> None:
    star = torch.stack([torch.zeros(20, dtype=torch.long), torch.arange(1, 21)])
    edges = make_graph("star", star, num_nodes=21).graph.edge_index
    sampler, counts = NeighbourSampler(edges, 21, [5]), torch.zeros(21)
    generator = torch.Generator().manual_seed(0)
    for _ in range(400):
        counts[sampler(torch.tensor([0]), generator)[0][1:]] += 1
    share = counts[1:] / 400
    expected = 1 - (19 / 20) ** 5
    assert float((share - expected).abs().max()) < 0.09


def test_batches_hold_every_node_once_and_resume_where_they_were() -> None:
    graph = make_graph("random", random_graph(), num_nodes=60)
    module = GraphDataModule(graph, neighbours="4,4", batch_size=16)
    batches = list(module.train_dataloader())
    assert [len(batch["index"]) for batch in batches] == [16, 16, 16]  # 12 are left for another epoch
    assert all(torch.equal(batch["nodes"][:16], batch["index"]) for batch in batches)
    assert len(torch.cat([batch["index"] for batch in batches]).unique()) == 48
    again = list(module.train_dataloader())
    assert all(torch.equal(a["edges"], b["edges"]) for a, b in zip(batches, again, strict=True))


def test_probabilities_belong_to_the_edges_of_the_part() -> None:
    edges = random_graph()
    views = CommunalViews(edge_threshold=1.0)
    views.prepare(torch.eye(60), edges)
    views.keep = [(torch.arange(edges.shape[1]) % 2).double()] * 2
    which = torch.tensor([0, 1, 4, 7, 9])
    made = views(
        torch.eye(60)[:5],
        edges[:, which],
        generator=torch.Generator().manual_seed(0),
        nodes=torch.arange(5),
        edges=which,
    )
    assert torch.equal(made["views"][0][1], edges[:, which[which % 2 == 1]])
    assert len(made["node_strength"]) == 5
    assert len(GraphViews().of_nodes) == 0


@pytest.mark.parametrize("name", ["grace", "gca", "csgcl"])
def test_methods_train_by_neighbours(name: str, tmp_path: Path) -> None:
    config = RunConfig(
        name,
        epochs=2,
        batch_size=16,
        precision="32-true",
        method={"hidden": 8, "projector_hidden": 8},
        loading={"neighbours": "5,5"},
    )
    first, second = (train(config, tmp_path / part, progress=False) for part in "ab")
    state, other = load(first.path).state_dict(), load(second.path).state_dict()
    assert all(torch.equal(state[key], other[key]) for key in state)


def test_what_needs_the_whole_graph_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--loading.neighbours", "5,5", "--epochs", "1", "--out", str(tmp_path / "run")]
    assert main(["train", "pot", *flags]) == 2
    assert "needs the whole graph" in capsys.readouterr().err
    with pytest.raises(InputError, match="such as 10,5"):
        parse_neighbours("a few")


MEMORY = """
import resource, sys, tempfile
from pathlib import Path
import numpy as np
import torch
from dipole.data.graph import load_graph
from dipole.runs import RunConfig, train

nodes, edges = int(sys.argv[1]), int(sys.argv[2])
folder = Path(tempfile.mkdtemp())
pairs = np.random.default_rng(0).integers(nodes, size=(2, edges))
np.savez(folder / "graph.npz", edge_index=pairs, num_nodes=nodes)
del pairs
config = RunConfig(
    "grace", data=str(folder / "graph.npz"), epochs=1, batch_size=int(sys.argv[3]), precision="32-true",
    method={"hidden": 32, "projector_hidden": 32, "anchors": 256}, loading={"neighbours": "5,5", "normalize": False},
)
train(config, folder / "run", progress=False)
peak = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
print(int(peak) / 2**20, (folder / "run/metrics.csv").read_text())
"""


@pytest.mark.slow
def test_a_large_graph_trains_in_bounded_memory() -> None:
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, "500000", "2500000", "8192"], capture_output=True, text=True, check=True
    )
    assert float(done.stdout.split()[0]) < 2.5  # GiB
