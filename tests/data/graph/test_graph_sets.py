"""Graphs from files of every kind, and what is put right or refused."""

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from scipy.sparse import csr_matrix

from dipole.data.graph import (
    GraphDataModule,
    available_graphs,
    load_graph,
    load_npz_graph,
    load_planetoid,
    load_table_graph,
    make_graph,
)
from dipole.errors import InputError

EDGES = "source,target\na,b\nb,a\nb,c\nc,c\nb,c\n"
NODES = "id,label,height,old\nc,x,1.5,true\nb,,2,false\na,y,0.5,true\nd,x,0,false\n"


def edges_of(graph: Any) -> list[tuple[int, int]]:
    return [tuple(edge) for edge in graph.graph.edge_index.T.tolist()]


def test_edges_go_both_ways_and_stand_once() -> None:
    graph = make_graph("g", torch.tensor([[0, 1, 0, 2], [1, 0, 1, 2]]), num_nodes=4)
    assert edges_of(graph) == [(0, 1), (1, 0), (2, 2)]
    assert graph.degrees.tolist() == [1, 1, 1, 0]
    assert "1 edges were there more than once" in graph.notes[0]
    assert graph.labels is None
    assert graph.node_ids() == ["0", "1", "2", "3"]


def test_degrees_stand_in_for_attributes() -> None:
    star = torch.tensor([[0, 0, 0, 0], [1, 2, 3, 4]])
    graph = make_graph("star", star, num_nodes=6)
    assert graph.graph.x.argmax(dim=1).tolist() == [3, 1, 1, 1, 1, 0]
    assert "the degrees stand in" in graph.notes[-1]
    nothing = make_graph("dots", star[:, :0], num_nodes=3)
    assert nothing.graph.x.tolist() == [[1.0]] * 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_nodes": 0}, "g has no nodes"),
        ({"num_nodes": 2}, "edges name nodes from 0 to 2, but there are 2"),
        ({"num_nodes": 3, "x": torch.ones(2, 2)}, "x has 2 entries for 3 nodes"),
        ({"num_nodes": 3, "x": torch.full((3, 2), torch.nan)}, "must be finite numbers"),
        ({"num_nodes": 3, "x": torch.ones(3, 0)}, r"attributes of shape \(3, 0\)"),
        ({"num_nodes": 3, "y": torch.ones(4, dtype=torch.long)}, "y has 4 entries for 3 nodes"),
    ],
)
def test_what_is_no_graph(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_graph("g", torch.tensor([[0], [2]]), **options)


def test_attributes_are_scaled_by_row() -> None:
    graph = make_graph("g", torch.tensor([[0], [1]]), num_nodes=3, x=torch.tensor([[1.0, 3], [0, 0], [-1, 1]]))
    scaled = graph.normalized().graph.x  # of what is left after subtracting −1
    torch.testing.assert_close(scaled, torch.tensor([[1 / 3, 2 / 3], [0.5, 0.5], [0, 1]]))
    assert graph.graph.x[0].tolist() == [1, 3]


def test_tables(tmp_path: Path) -> None:
    (tmp_path / "edges.csv").write_text(EDGES)
    (tmp_path / "nodes.csv").write_text(NODES)
    graph = load_graph(str(tmp_path))
    assert graph.ids == ("c", "b", "a", "d")
    assert edges_of(graph) == [(0, 0), (0, 1), (1, 0), (1, 2), (2, 1)]
    assert graph.graph.x.tolist() == [[1.5, 1], [2, 0], [0.5, 1], [0, 0]]
    assert graph.graph.y.tolist() == [0, -1, 1, 0]
    assert graph.class_names == ("x", "y")
    same = load_graph("edges.csv", tmp_path, nodes="nodes.csv")
    assert edges_of(same) == edges_of(graph)


def test_a_table_of_edges_alone(tmp_path: Path) -> None:
    table = pa.table({"from": [10, 2, 9], "to": [2, 9, 10], "weight": [1.0, 2.0, 3.0]})
    pq.write_table(table, tmp_path / "links.parquet")
    graph = load_table_graph(tmp_path / "links.parquet")
    assert graph.ids == ("2", "9", "10"), "in the order of the numbers"
    assert len(edges_of(graph)) == 6
    assert graph.name == "links"


@pytest.mark.parametrize(
    ("edges", "nodes", "message"),
    [
        (EDGES, NODES.replace("c,x,1.5,true\n", ""), "names the node 'c', which is not in"),
        (EDGES, NODES + "a,x,1,true\n", "names the node 'a' twice"),
        (EDGES, NODES.replace("1.5", "tall"), "column 'height' holds 'tall' in row 2, not numbers"),
        (EDGES, NODES.replace("1.5", ""), "the column 'height' has 1 empty places"),
        (EDGES + "a,\n", NODES, "the column 'target' has an empty place"),
        ("source\na\n", NODES, "expected two, source and target"),
        ("", NODES, "cannot read .* as a table"),
    ],
)
def test_tables_that_do_not_fit(edges: str, nodes: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "edges.csv").write_text(edges)
    (tmp_path / "nodes.csv").write_text(nodes)
    with pytest.raises(InputError, match=message):
        load_graph(str(tmp_path))


def test_npz_of_plain_arrays(tmp_path: Path) -> None:
    path = tmp_path / "g.npz"
    edges = np.array([[0, 1], [1, 2], [2, 0]])
    mask = np.array([True, False, False, False])
    np.savez(path, edge_index=edges, x=np.ones((4, 2)), y=np.array([5, 7, 5, -1]), train_mask=mask)
    graph = load_npz_graph(path)
    assert len(edges_of(graph)) == 6
    assert graph.graph.y.tolist() == [0, 1, 0, -1]
    assert graph.class_names == ("5", "7")
    assert graph.graph.train_mask.tolist() == mask.tolist()
    np.savez(path, edge_index=edges.T, num_nodes=7)
    assert len(load_npz_graph(path)) == 7


def test_npz_of_amazon_and_coauthor_is_read_as_pyg_reads_it(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    adjacency = csr_matrix(generator.random((8, 8)) * (generator.random((8, 8)) < 0.3))
    attributes = csr_matrix(generator.random((8, 5)) * (generator.random((8, 5)) < 0.5))
    parts = {
        f"{prefix}_{part}": getattr(matrix, part)
        for prefix, matrix in (("adj", adjacency), ("attr", attributes))
        for part in ("data", "indices", "indptr", "shape")
    }
    labels = generator.integers(0, 3, 8)
    path = tmp_path / "amazon.npz"
    np.savez(path, labels=labels, class_names=np.array(["a", "b"], dtype=object), **parts)
    graph = load_npz_graph(path)
    from torch_geometric.io import read_npz

    theirs = read_npz(str(path))
    assert torch.equal(graph.graph.edge_index, theirs.edge_index)
    assert torch.equal(graph.graph.x, theirs.x)
    assert torch.equal(graph.graph.y, theirs.y)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"a": np.zeros(2)}, "has the keys a: expected edge_index"),
        ({"edge_index": np.zeros((3, 3))}, r"edge_index has shape \(3, 3\)"),
        ({"edge_index": np.array([{"a": 1}], dtype=object)}, "does not hold the plain arrays"),
        ({"edge_index": np.array([[0], [9]]), "x": np.ones((3, 1))}, "edges name nodes from 0 to 9"),
    ],
)
def test_npz_that_is_no_graph(arrays: dict[str, Any], message: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "g.npz", **arrays)
    with pytest.raises(InputError, match=message):
        load_npz_graph(tmp_path / "g.npz")


def write_planetoid(folder: Path, name: str, protocol: int) -> dict[str, Any]:
    """Six nodes, of which two are learned from and the last two test, given in the other order; node 4 is isolated."""
    generator = np.random.default_rng(0)
    attributes = csr_matrix(generator.integers(0, 2, (5, 3)).astype(np.float32))
    classes = np.eye(2, dtype=np.int32)[[0, 1, 1, 0, 1]]
    graph = {0: [1, 1, 0], 1: [0], 2: [5], 3: [2], 4: [], 5: [2]}
    parts = {
        "x": attributes[:2],
        "y": classes[:2],
        "allx": attributes[:3],
        "ally": classes[:3],
        "tx": attributes[3:],
        "ty": classes[3:],
        "graph": graph,
    }
    for part, value in parts.items():
        (folder / f"ind.{name}.{part}").write_bytes(pickle.dumps(value, protocol=protocol))
    (folder / f"ind.{name}.test.index").write_text("5\n3\n")
    return parts


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_planetoid_is_read_without_unpickling(protocol: int, tmp_path: Path) -> None:
    parts = write_planetoid(tmp_path, "citeseer", protocol)
    graph = load_planetoid(tmp_path, "citeseer")
    expected = np.zeros((6, 3))
    expected[:3], expected[[5, 3]] = parts["allx"].toarray(), parts["tx"].toarray()
    assert graph.graph.x.numpy().tolist() == expected.tolist()
    assert graph.graph.y.tolist() == [0, 1, 1, 1, -1, 0], "a node that no file describes has no class"
    assert edges_of(graph) == [(0, 1), (1, 0), (2, 3), (2, 5), (3, 2), (5, 2)]
    assert graph.graph.train_mask.tolist() == [True, True, False, False, False, False]
    assert graph.graph.test_mask.tolist() == [False, False, False, True, False, True]


class Trap:
    """What a malicious file would call."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_file_that_would_run_code_runs_none(protocol: int, tmp_path: Path) -> None:
    write_planetoid(tmp_path, "cora", 2)
    sprung = tmp_path / "sprung"
    (tmp_path / "ind.cora.graph").write_bytes(pickle.dumps({0: [Trap(sprung)]}, protocol=protocol))
    with pytest.raises(InputError, match=r"asks for \w+\.mkdir: refused"):
        load_planetoid(tmp_path, "cora")
    assert not sprung.exists()


@pytest.mark.parametrize(
    ("part", "content", "message"),
    [
        ("x", b"", "damaged or no file of Planetoid"),
        ("x", b"\x80\x02.", "damaged"),
        ("graph", pickle.dumps([1, 2]), "do not fit together"),
        ("graph", pickle.dumps({0: ["a"]}), "do not fit together"),
        ("graph", pickle.dumps({0: [17]}), "edges name nodes from 0 to 17"),
        ("tx", pickle.dumps(np.array(["a"], dtype=object)), "do not fit together"),
        ("ty", pickle.dumps(np.ones((9, 2))), "do not fit together"),
        ("test.index", b"one", "do not fit together"),
    ],
)
def test_damaged_files_of_planetoid(part: str, content: bytes, message: str, tmp_path: Path) -> None:
    write_planetoid(tmp_path, "cora", 2)
    (tmp_path / f"ind.cora.{part}").write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_planetoid(tmp_path, "cora")


def test_files_are_found_below_the_data_root(tmp_path: Path) -> None:
    (tmp_path / "planetoid").mkdir()
    write_planetoid(tmp_path / "planetoid", "cora", 2)
    assert len(load_graph("cora", tmp_path)) == len(load_graph("planetoid", tmp_path)) == 6
    with pytest.raises(InputError, match=r"pubmed is not in .*expected planetoid/ind\.pubmed\.x"):
        load_graph("pubmed", tmp_path)
    with pytest.raises(InputError, match="cora is read from files: give --data-root"):
        load_graph("cora")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("karate", "Did you mean 'karate-club'"),
        ("nonsense", "neither a known graph nor a path"),
        ("text.txt", "as a list of edges, two nodes a line"),
        ("text.doc", "is no graph that dipole reads"),
        ("empty", "holds no graph: expected edges.csv"),
    ],
)
def test_what_leads_nowhere(data: str, message: str, tmp_path: Path) -> None:
    for name in ("text.txt", "text.doc"):
        (tmp_path / name).write_text("hello")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=message):
        load_graph(data, tmp_path)


def test_the_built_in_graph_is_as_large_as_announced() -> None:
    info = available_graphs()[0]
    graph = load_graph(info.name)
    assert (info.images, info.classes) == (str(len(graph)), len(graph.class_names))


def test_held_out_edges_are_seen_in_no_direction() -> None:
    module = GraphDataModule("karate-club", held_out=0.25, seed=3)
    seen, held = module.edges
    assert held.shape[1] == 20  # of 78
    assert seen.shape[1] == 2 * 58
    pairs = {tuple(edge) for edge in seen.T.tolist()}
    assert all((a, b) not in pairs and (b, a) not in pairs for a, b in held.T.tolist())
    assert torch.equal(GraphDataModule("karate-club", held_out=0.25, seed=3).edges[1], held)
    with pytest.raises(InputError, match=r"held_out is 1\.0"):
        GraphDataModule(held_out=1.0)
