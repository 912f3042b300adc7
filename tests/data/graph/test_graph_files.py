"""Graphs of other programs."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse
from scipy.io import savemat

from dipole.data.graph import load_graph
from dipole.errors import InputError

TRIANGLE = {(0, 1), (1, 0), (1, 2), (2, 1), (0, 2), (2, 0)}


def pairs(graph: object) -> set[tuple[int, int]]:
    return set(map(tuple, graph.graph.edge_index.T.tolist()))  # type: ignore[attr-defined]


def test_snap(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a.txt").write_text("# Nodes: 3\n# From To\n10\t7\n7 30\n30 10\n")
    graph = load_graph(str(tmp_path / "a.txt"))
    assert graph.node_ids() == ["7", "10", "30"]
    assert pairs(graph) == TRIANGLE
    assert not caplog.records
    (tmp_path / "b.txt").write_text("ann bob 0.5\nbob cat 2\n")
    graph = load_graph(str(tmp_path / "b.txt"))
    assert graph.node_ids() == ["ann", "bob", "cat"]
    assert "weights of edges are not used: every edge counts alike" in graph.notes
    (tmp_path / "c.txt").write_text("ann\nbob cat\n")
    with pytest.raises(InputError, match="two nodes a line"):
        load_graph(str(tmp_path / "c.txt"))


def test_matlab(tmp_path: Path) -> None:
    matrix = sparse.csc_matrix(np.array([[0, 1, 1], [1, 0, 1], [1, 1, 0.0]]))
    savemat(tmp_path / "a.mat", {"Network": matrix, "Attributes": sparse.eye(3), "Label": np.array([[5], [6], [5]])})
    graph = load_graph(str(tmp_path / "a.mat"))
    assert pairs(graph) == TRIANGLE
    assert torch.equal(graph.graph.x, torch.eye(3))
    assert (graph.graph.y.tolist(), graph.class_names) == ([0, 1, 0], ("5", "6"))
    savemat(tmp_path / "b.mat", {"network": matrix * 3, "group": np.array([[0, 1], [1, 0], [0, 0]])})
    graph = load_graph(str(tmp_path / "b.mat"))
    assert graph.graph.y.tolist() == [1, 0, -1]
    assert not graph.attributed
    savemat(tmp_path / "c.mat", {"M": np.zeros((2, 3))})
    with pytest.raises(InputError, match="holds M: expected a square matrix"):
        load_graph(str(tmp_path / "c.mat"))
    (tmp_path / "d.mat").write_bytes(b"no matrix")
    with pytest.raises(InputError, match="as MATLAB's"):
        load_graph(str(tmp_path / "d.mat"))


@pytest.mark.parametrize("suffix", [".gml", ".graphml"])
def test_networkx(suffix: str, tmp_path: Path) -> None:
    networkx = pytest.importorskip("networkx")
    made = networkx.Graph()
    for name, kind, age in (("ann", "red", 3.0), ("bob", "blue", 4.0), ("cat", "red", 5.0)):
        made.add_node(name, **{"class": kind, "age": age})
    made.add_edges_from([("ann", "bob"), ("bob", "cat"), ("cat", "ann")])
    path = tmp_path / f"a{suffix}"
    (networkx.write_gml if suffix == ".gml" else networkx.write_graphml)(made, path)
    graph = load_graph(str(path))
    assert graph.node_ids() == ["ann", "bob", "cat"]
    assert pairs(graph) == TRIANGLE
    assert [graph.class_names[value] for value in graph.graph.y] == ["red", "blue", "red"]
    assert graph.graph.x.tolist() == [[3.0], [4.0], [5.0]]
    path.write_text("graph [ node ] nothing")
    with pytest.raises(InputError, match=f"as {suffix[1:]}"):
        load_graph(str(path))


def test_what_is_not_used_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    (tmp_path / "a.csv").write_text("source,target,weight\na,b,2\nb,c,1\n")
    assert "the column 'weight' is not used: every edge counts alike" in load_graph(str(tmp_path / "a.csv")).notes
    assert "'weight' is not used" in caplog.text
    (tmp_path / "b.csv").write_text("0,1\n1,2\n2,0\n")
    graph = load_graph(str(tmp_path / "b.csv"))
    assert any("the first line (0, 1) was taken as the header, and looks like an edge" in note for note in graph.notes)
    (tmp_path / "c.csv").write_text("source,target\na,b\nb,a\nb,c\n")
    assert load_graph(str(tmp_path / "c.csv")).notes[0].startswith("1 edges have no counterpart")
