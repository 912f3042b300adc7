"""Graphs in tables: a list of edges, and perhaps a table of nodes."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dipole.data.graph.graph_set import GraphSet, make_graph
from dipole.errors import InputError

SUFFIXES = (".parquet", ".csv", ".tsv")


def load_table_graph(edges: str | Path, nodes: str | Path | None = None) -> GraphSet:
    """Read a graph from a table of edges and, if there is one, a table of nodes (CSV, TSV or Parquet, with a header).

    The first two columns of the edges, or those called `source` and `target`, name nodes by any text or number. The
    column `id` of the nodes, or the first one, holds the same names; `label` holds classes, empty where unknown; all
    other columns of numbers are attributes. A node without edges appears in the table of nodes alone.

    Args:
        edges: the file.
        nodes: the file; without it the nodes are those that have edges.

    Raises:
        InputError: a file cannot be read, names a node twice or not at all, or has an attribute that is no number.
    """
    edges = Path(edges)
    table = _read(edges)
    if table.num_columns < 2:
        raise InputError(f"{edges} has the columns {', '.join(table.column_names)}: expected two, source and target.")
    named = {"source", "target"} <= set(table.column_names)
    ends = [_names(table, column, edges) for column in (("source", "target") if named else table.column_names[:2])]
    if nodes is None:
        names = _sorted({*ends[0], *ends[1]})
        return make_graph(edges.stem, _numbered(ends, names), num_nodes=len(names), ids=names)
    nodes = Path(nodes)
    ids, x, y, classes = _nodes(nodes)
    unknown = {*ends[0], *ends[1]} - set(ids)
    if unknown:
        raise InputError(f"{edges} names the node {min(unknown)!r}, which is not in {nodes}: add it there.")
    return make_graph(edges.stem, _numbered(ends, ids), num_nodes=len(ids), x=x, y=y, class_names=classes, ids=ids)


def _nodes(path: Path) -> tuple[list[str], Tensor | None, Tensor | None, list[str]]:
    """Names, attributes, classes and their names."""
    import pyarrow as pa

    table = _read(path)
    key = "id" if "id" in table.column_names else table.column_names[0]
    ids = _names(table, key, path)
    if len(set(ids)) < len(ids):
        twice = Counter(ids).most_common(1)[0][0]
        raise InputError(f"{path} names the node {twice!r} twice: one row for each node.")
    columns = []
    for name in table.column_names:
        if name in (key, "label"):
            continue
        kind = table.schema.field(name).type
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_boolean(kind)):
            raise InputError(
                f"{path}: the column {name!r} is {kind}: attributes are numbers. Leave it out or encode it."
            )
        if table[name].null_count:
            raise InputError(f"{path}: the column {name!r} has {table[name].null_count} empty places: fill them.")
        columns.append(table[name].to_numpy().astype(np.float32))
    x = torch.from_numpy(np.stack(columns, axis=1)) if columns else None
    if "label" not in table.column_names:
        return ids, x, None, []
    labels = [None if value in (None, "") else str(value) for value in table["label"].to_pylist()]
    classes = _sorted({label for label in labels if label is not None})
    number = {name: index for index, name in enumerate(classes)}
    return ids, x, torch.tensor([-1 if label is None else number[label] for label in labels]), classes


def _read(path: Path) -> Any:
    """A table with a header."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    try:
        if path.suffix == ".parquet":
            return parquet.read_table(path)
        if path.suffix in SUFFIXES:
            return csv.read_csv(path, parse_options=csv.ParseOptions(delimiter="\t" if path.suffix == ".tsv" else ","))
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist. Check the path.") from error
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot read {path} as a table ({' '.join(str(error).split())}).") from error
    raise InputError(f"{path} is no table that dipole reads: expected {', '.join(SUFFIXES)}.")


def _names(table: Any, column: str, path: Path) -> list[str]:
    """A column of names of nodes as text."""
    values = table[column].to_pylist()
    if any(value is None or value == "" for value in values):
        raise InputError(f"{path}: the column {column!r} has an empty place: every row names its nodes.")
    return [str(value) for value in values]


def _numbered(ends: list[list[str]], names: list[str]) -> Tensor:
    """Edges (2, E) between the places of their nodes."""
    place = {name: index for index, name in enumerate(names)}
    return torch.tensor([[place[name] for name in end] for end in ends], dtype=torch.long)


def _sorted(names: set[str]) -> list[str]:
    """Numbers in their own order, other names alphabetically."""
    numbers = all(name.isascii() and name.isdigit() for name in names)
    return sorted(names, key=int) if numbers else sorted(names)
