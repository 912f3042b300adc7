"""Graphs in the files of other programs: SNAP's lists of edges, MATLAB's matrices, GML and GraphML."""

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dipole.data.graph.graph_set import GraphSet, make_graph, noted
from dipole.data.table_formats import open_bytes
from dipole.errors import InputError

ADJACENCY = ("network", "Network", "adjacency", "adj", "adj_matrix", "A", "W")
ATTRIBUTES = ("attributes", "Attributes", "attrb", "features", "X", "x")
LABELS = ("label", "Label", "labels", "group", "gnd", "Class", "y")
CLASSES = ("class", "group", "club", "value")  # attributes of a node in GML that say what it is
MARKS = ("#", "%")  # of comments
NAMES = re.compile(rb"(?<!\S)(\+|[+-]?0\d)|[^\s#%][#%]")  # numbers that another one would merge with, or marks inside
WEIGHTS = "weights of edges are not used: every edge counts alike"


def load_edge_list(path: str | Path) -> GraphSet:
    """Read a text file with two nodes on each line, white space between, as SNAP's; `#` and `%` begin a comment.

    Args:
        path: of the file, also `.gz`.

    Raises:
        InputError: it cannot be read, or a line holds fewer than two nodes.
    """
    path = Path(path)
    options: dict[str, Any] = {"usecols": (0, 1), "ndmin": 2}
    try:
        first = next(_edge_lines(path), "").split()
        if not first:
            raise InputError(f"{path} holds no edge: expected two nodes a line.")
        try:
            _refuse_names(path)
            ends = np.loadtxt(path, dtype=np.int64, comments=["#", "%"], encoding="utf-8-sig", **options)
        except ValueError:
            ends = np.loadtxt(_edge_lines(path), dtype=str, comments=None, **options)
    except (OSError, ValueError, IndexError, UnicodeError) as error:
        raise InputError(f"cannot read {path} as a list of edges, two nodes a line ({error}).") from error
    names, numbers = np.unique(ends, return_inverse=True)
    edges = torch.from_numpy(numbers.reshape(ends.shape).T.copy())
    graph = make_graph(path.name.partition(".")[0], edges, num_nodes=len(names), ids=list(map(str, names.tolist())))
    return noted(graph, WEIGHTS) if len(first) > 2 else graph


def _edge_lines(path: Path) -> Iterator[str]:
    """Lines that are neither empty nor a comment."""
    with open_bytes(path) as file, io.TextIOWrapper(file, "utf-8-sig") as text:
        yield from (line for line in text if line.strip() and not line.lstrip().startswith(MARKS))


def _refuse_names(path: Path) -> None:
    """Raise ValueError if a number is a name: 007 is not 7."""
    with open_bytes(path) as file:
        while piece := file.read(2**22) + file.readline():
            if NAMES.search(piece):
                raise ValueError


def load_mat_graph(path: str | Path) -> GraphSet:
    """Read a MATLAB file (up to version 7.2): an adjacency matrix, and perhaps attributes and classes of the nodes.

    The matrix is called `network`, `adjacency`, `adj`, `A` or `W`, or lies in SuiteSparse's `Problem`; attributes
    `attributes`, `features` or `X`; classes `label`, `labels`, `group`, `gnd` or `y`, as numbers or as columns of 0 and
    1, of which a node has one at most.

    Args:
        path: of the file.

    Raises:
        InputError: it cannot be read, holds no square matrix of such a name, or the lengths differ.
    """
    from scipy import sparse
    from scipy.io import loadmat

    path = Path(path)
    try:
        content: Mapping[str, Any] = loadmat(path)
    except Exception as error:  # its reader raises whatever it meets
        raise InputError(f"cannot read {path} as MATLAB's ({error}): save it with -v7.") from error
    if "Problem" in content and content["Problem"].dtype.names and "A" in content["Problem"].dtype.names:
        content = {"A": content["Problem"]["A"][0, 0]}
    adjacency = _first(content, ADJACENCY)
    if adjacency is None or adjacency.ndim != 2 or adjacency.shape[0] != adjacency.shape[1]:
        held = ", ".join(name for name in content if not name.startswith("__"))
        raise InputError(f"{path} holds {held}: expected a square matrix called one of {', '.join(ADJACENCY)}.")
    matrix = sparse.coo_matrix(adjacency)
    edges = torch.from_numpy(np.stack([matrix.row, matrix.col]).astype(np.int64))
    x = _first(content, ATTRIBUTES)
    y, names = _classes(path, _first(content, LABELS))
    graph = make_graph(
        path.stem,
        edges,
        num_nodes=matrix.shape[0],
        x=None if x is None else torch.from_numpy(_dense(x).astype(np.float32)),
        y=y,
        class_names=names,
    )
    return noted(graph, WEIGHTS) if len(np.unique(matrix.data)) > 1 else graph


def load_networkx_graph(path: str | Path) -> GraphSet:
    """Read a GML or GraphML file with NetworkX.

    What all nodes have as numbers are attributes; `class`, `group`, `club` or `value` is the class.

    Args:
        path: of the file.

    Raises:
        InputError: NetworkX is not installed or cannot read the file.
    """
    path = Path(path)
    try:
        import networkx
    except ImportError as error:
        raise InputError("reading GML needs networkx: pip install 'dipole[graph]'.") from error
    try:
        read = networkx.read_graphml(path) if path.suffix.lower() == ".graphml" else networkx.read_gml(path, label="id")
    except Exception as error:  # parsers raise whatever they meet
        raise InputError(f"cannot read {path} as {path.suffix[1:]} ({' '.join(str(error).split())[:200]}).") from error
    known = [read.nodes[node] for node in read.nodes]
    labels = [str(each.get("label", node)) for node, each in zip(read.nodes, known, strict=True)]
    ids = labels if len(set(labels)) == len(labels) else [str(node) for node in read.nodes]
    place = {node: index for index, node in enumerate(read.nodes)}
    pairs = [(place[first], place[second]) for first, second in read.edges()]
    shared = set.intersection(*(set(each) for each in known)) if known else set()
    kind = next((name for name in CLASSES if name in shared), None)
    columns = [name for name in sorted(shared - {kind}) if all(isinstance(each[name], int | float) for each in known)]
    x = torch.tensor([[float(each[name]) for name in columns] for each in known]) if columns else None
    y, names = (None, ()) if kind is None else _numbered([str(each[kind]) for each in known])
    edges = torch.tensor(pairs, dtype=torch.long).reshape(-1, 2).T
    graph = make_graph(path.stem, edges, num_nodes=len(known), x=x, y=y, class_names=names, ids=ids)
    weighted = any("weight" in each or "value" in each for *_, each in read.edges(data=True))
    return noted(graph, WEIGHTS) if weighted else graph


def _first(content: Mapping[str, Any], names: Sequence[str]) -> Any:
    """The first array that has one of some names."""
    return next((content[name] for name in names if name in content), None)


def _dense(x: Any) -> np.ndarray:
    """An array, of a matrix that may be sparse."""
    return np.asarray(x.todense() if hasattr(x, "todense") else x)


def _classes(path: Path, labels: Any) -> tuple[Tensor | None, Sequence[str]]:
    """Classes as numbers, −1 where there is none, and their names."""
    if labels is None:
        return None, ()
    found = _dense(labels)
    if found.ndim == 2 and min(found.shape) > 1:
        several = int((found > 0).sum(axis=1).max())
        if several > 1:
            raise InputError(f"{path}: a node has {several} classes at once: expected one at most.")
        return torch.from_numpy(np.where(found.any(axis=1), found.argmax(axis=1), -1)), list(
            map(str, range(found.shape[1]))
        )
    return _numbered([str(value) for value in found.ravel().tolist()])


def _numbered(values: Sequence[str]) -> tuple[Tensor, Sequence[str]]:
    """Classes as numbers from 0, and their names."""
    from dipole.data.graph.table_graph import sorted_names

    names = sorted_names(set(values))
    number = {name: index for index, name in enumerate(names)}
    return torch.tensor([number[value] for value in values]), names
