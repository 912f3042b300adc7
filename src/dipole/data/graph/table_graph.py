"""Graphs in tables: a list of edges, and perhaps a table of nodes."""

from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from dipole.data.graph.graph_set import GraphSet, make_graph, noted
from dipole.data.tables import Table, read_table
from dipole.errors import InputError

END_NAMES = (("source", "target"), ("src", "dst"), ("from", "to"))
SUFFIXES = (".parquet", ".csv", ".tsv", ".jsonl")


def load_table_graph(edges: str | Path, nodes: str | Path | None = None, encoding: str = "utf-8") -> GraphSet:
    """Read a graph from a table of edges and, if there is one, a table of nodes (CSV, TSV or Parquet, with a header).

    The first two columns of the edges, or those called `source` and `target` (`src`, `dst`; `from`, `to`), name nodes
    by any text or number. The column `id` of the nodes, or the first one, holds the same names; `label` holds classes,
    empty where unknown; all other columns of numbers are attributes. A node without edges appears in the table of nodes
    alone.

    Args:
        edges: the file.
        nodes: the file; without it the nodes are those that have edges.
        encoding: of text.

    Raises:
        InputError: a file cannot be read, names a node twice or not at all, or has an attribute that is no number.
    """
    edges = Path(edges)
    ends = read_ends(edges, encoding)
    graph = _graph(edges, ends, nodes, encoding)
    for note in _odd(edges, encoding):
        graph = noted(graph, note)
    return graph


def _graph(edges: Path, ends: list[list[str]], nodes: str | Path | None, encoding: str) -> GraphSet:
    """The graph of edges and, if there is one, a table of nodes."""
    if nodes is None:
        names = sorted_names({*ends[0], *ends[1]})
        return make_graph(edges.stem, _numbered(ends, names), num_nodes=len(names), ids=names)
    nodes = Path(nodes)
    ids, x, y, classes = read_nodes(nodes, encoding)
    unknown = {*ends[0], *ends[1]} - set(ids)
    if unknown:
        raise InputError(f"{edges} names the node {min(unknown)!r}, which is not in {nodes}: add it there.")
    return make_graph(edges.stem, _numbered(ends, ids), num_nodes=len(ids), x=x, y=y, class_names=classes, ids=ids)


def read_ends(path: Path, encoding: str) -> list[list[str]]:
    """Return the names in the two columns of a table of edges that name nodes.

    Raises:
        InputError: the file cannot be read, or has fewer than two columns or an empty place in one of them.
    """
    table = read_table(path, encoding).whole()
    columns = list(table.columns)
    if len(columns) < 2:
        raise InputError(f"{path} has the columns {', '.join(columns)}: expected two, source and target.")
    return [_names(table, column) for column in _ends(columns)]


def _ends(columns: list[str]) -> list[str]:
    """The two columns that name nodes."""
    lower = {column.lower(): column for column in columns}
    named = next(([lower[end] for end in ends] for ends in END_NAMES if set(ends) <= set(lower)), None)
    return named or columns[:2]


def _odd(path: Path, encoding: str) -> list[str]:
    """What a reader should know of a table of edges: columns that are not used, a header that looks like an edge."""
    table = read_table(path, encoding)
    ends = _ends(list(table.columns))
    found = [f"the column {name!r} is not used: every edge counts alike" for name in table.columns if name not in ends]
    first = [table.ids(end) for end in ends]
    if all(end.isdigit() and str(cells[0]).isdigit() for end, cells in zip(ends, first, strict=True)) or any(
        end in cells for end, cells in zip(ends, first, strict=True)
    ):
        found.append(
            f"the first line ({', '.join(table.columns)}) was taken as the header, and looks like an edge: if it is "
            "one, add a header such as source,target"
        )
    return found


def read_nodes(path: Path, encoding: str) -> tuple[list[str], Tensor | None, Tensor | None, list[str]]:
    """Return of a table of nodes their names, attributes, classes and the names of these.

    Raises:
        InputError: the file cannot be read, names a node twice or not at all, or has an attribute that is no number.
    """
    table = read_table(path, encoding).whole()
    key = "id" if "id" in table.columns else next(iter(table.columns))
    ids = _names(table, key)
    if len(set(ids)) < len(ids):
        twice = Counter(ids).most_common(1)[0][0]
        raise InputError(f"{path} names the node {twice!r} twice: one row for each node.")
    columns = []
    for name in table.columns:
        if name in (key, "label"):
            continue
        try:
            numbers = table.numbers(name)
        except InputError as error:
            raise InputError(f"{error} Attributes are numbers: leave the column out or encode it.") from error
        gaps = int(np.isnan(numbers).sum())
        if gaps:
            raise InputError(f"{path}: the column {name!r} has {gaps} empty places: fill them.")
        columns.append(numbers.astype(np.float32))
    x = torch.from_numpy(np.stack(columns, axis=1)) if columns else None
    if "label" not in table.columns:
        return ids, x, None, []
    labels = table.ids("label")
    classes = sorted_names({label for label in labels if label is not None})
    number = {name: index for index, name in enumerate(classes)}
    return ids, x, torch.tensor([-1 if label is None else number[label] for label in labels]), classes


def _names(table: Table, column: str) -> list[str]:
    """A column of names of nodes as text."""
    names = [name for name in table.ids(column) if name is not None]
    if len(names) < table.rows:
        raise InputError(f"{table.path}: the column {column!r} has an empty place: every row names its nodes.")
    return names


def _numbered(ends: list[list[str]], names: list[str]) -> Tensor:
    """Edges (2, E) between the places of their nodes."""
    place = {name: index for index, name in enumerate(names)}
    return torch.tensor([[place[name] for name in end] for end in ends], dtype=torch.long)


def sorted_names(names: set[str]) -> list[str]:
    """Return numbers in their own order, other names alphabetically.

    Example:
        >>> sorted_names({"10", "9"}), sorted_names({"b", "a"})
        (['9', '10'], ['a', 'b'])
    """
    numbers = all(name.isascii() and name.isdigit() for name in names)
    return sorted(names, key=lambda name: (int(name), name)) if numbers else sorted(names)
