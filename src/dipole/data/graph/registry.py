"""The graphs that dipole knows by name, and the one function that turns `--data` into a graph."""

from dataclasses import replace
from pathlib import Path

import torch

from dipole.data.finding import existing_path, existing_root, leads_nowhere
from dipole.data.graph.graph_files import load_edge_list, load_mat_graph, load_networkx_graph
from dipole.data.graph.graph_set import GraphSet, make_graph
from dipole.data.graph.npz_graph import load_npz_graph
from dipole.data.graph.planetoid import load_planetoid
from dipole.data.graph.table_graph import SUFFIXES, load_table_graph
from dipole.data.registry import DataSetInfo
from dipole.data.tables import table_suffix
from dipole.errors import InputError
from dipole.nn.graph import torch_geometric

KARATE = "karate-club"
PLANETOID = ("cora", "citeseer", "pubmed")


def load_graph(
    data: str, data_root: str | Path | None = None, *, nodes: str | None = None, encoding: str = "utf-8"
) -> GraphSet:
    """Load a graph.

    Args:
        data: a name that `available_graphs()` lists; an .npz file (see `load_npz_graph`); a table of edges (see
            `load_table_graph`); SNAP's .txt, MATLAB's .mat, .gml or .graphml (see `dipole.data.graph.graph_files`); a
            folder with Planetoid's files of one graph; or a folder with `edges.*` and `nodes.*`.
        data_root: folder of the graphs that are read from files; relative paths are also looked up there.
        nodes: the table of nodes that belongs to a table of edges.
        encoding: of tables, e.g. `latin-1`.

    Raises:
        InputError: an unknown name, a missing path, or data that are not what they should be.

    Example:
        >>> karate = load_graph("karate-club")
        >>> len(karate), karate.graph.edge_index.shape[1] // 2, karate.class_names
        (34, 78, ('0', '1', '2', '3'))
    """
    root = existing_root(data_root)
    if data == KARATE:
        return _karate_club()
    if data.lower() in PLANETOID and not Path(data).exists():
        return load_planetoid(_planetoid_folder(root, data.lower()), data.lower())
    path = existing_path(data, root)
    if path is None:
        instead = "give an .npz file, a table of edges, or a folder"
        raise leads_nowhere(data, "known graph", (KARATE, *PLANETOID), instead)
    if path.is_dir():
        return _load_folder(path, encoding)
    if path.suffix.lower() == ".npz":
        return load_npz_graph(path)
    if path.suffix.lower() == ".mat":
        return load_mat_graph(path)
    if path.suffix.lower() in (".gml", ".graphml"):
        return load_networkx_graph(path)
    if table_suffix(path) == ".txt":
        return load_edge_list(path)
    if table_suffix(path) in SUFFIXES:
        table = None if nodes is None else existing_path(nodes, root)
        if nodes is not None and table is None:
            raise InputError(f"the table of nodes {nodes} does not exist. Check the path.")
        return load_table_graph(path, table, encoding)
    raise InputError(
        f"{path} is no graph that dipole reads: expected .npz, .mat, .gml, .graphml, .txt with two nodes a line, or a "
        f"table ({', '.join(SUFFIXES)}) of edges."
    )


def available_graphs() -> list[DataSetInfo]:
    """List the graphs that dipole knows, those that need no files first.

    Example:
        >>> available_graphs()[0].name
        'karate-club'
    """
    files = "Planetoid's files in --data-root"
    return [
        DataSetInfo(KARATE, "members of a karate club and their friendships", "34", 4, "built in"),
        DataSetInfo("cora", "papers on machine learning and their citations", "2708", 7, files),
        DataSetInfo("citeseer", "papers on computer science and their citations", "3327", 6, files),
        DataSetInfo("pubmed", "papers on diabetes and their citations", "19717", 3, files),
        DataSetInfo("FILE.npz", "your graph: edge_index, x, y; or the form of Amazon and Coauthor", "", None, "a path"),
        DataSetInfo(
            "EDGES.txt", "your graph: two nodes a line, as SNAP's; or .mat, .gml, .graphml", "", None, "a path"
        ),
        DataSetInfo("EDGES.csv", "your graph: a table of edges, and --loading.nodes NODES.csv", "", None, "a path"),
    ]


def _karate_club() -> GraphSet:
    """Zachary's karate club with the four modularity classes, which PyTorch Geometric ships."""
    graph = torch_geometric("datasets").KarateClub()[0]
    return make_graph(
        KARATE,
        graph.edge_index,
        num_nodes=graph.num_nodes,
        x=graph.x,
        y=graph.y,
        class_names=[str(value) for value in torch.unique(graph.y).tolist()],
    )


def _planetoid_folder(root: Path | None, name: str) -> Path:
    """Where the files of a citation graph lie."""
    if root is None:
        raise InputError(
            f"{name} is read from files: give --data-root, the folder that holds planetoid/ind.{name}.x ..."
        )
    for folder in (root / "planetoid", root / name / "raw", root / name.capitalize() / "raw", root / name, root):
        if (folder / f"ind.{name}.graph").is_file():
            return folder
    raise InputError(f"{name} is not in {root}: expected planetoid/ind.{name}.x, .allx, .graph ... there.")


def _load_folder(path: Path, encoding: str) -> GraphSet:
    """A folder with Planetoid's files, or with tables called `edges` and `nodes`."""
    names = sorted(file.name.split(".")[1] for file in path.glob("ind.*.graph"))
    if len(names) == 1:
        return load_planetoid(path, names[0])
    if names:
        raise InputError(f"{path} holds the graphs {', '.join(names)}: name one of them with --data and --data-root.")
    tables = {
        part: next(
            (file for file in sorted(path.iterdir()) if table_suffix(file) in SUFFIXES and _stem(file) == part), None
        )
        for part in ("edges", "nodes")
    }
    if tables["edges"] is None:
        raise InputError(f"{path} holds no graph: expected edges.csv (and nodes.csv), or Planetoid's files ind.NAME.*.")
    graph = load_table_graph(tables["edges"], tables["nodes"], encoding)
    return replace(graph, name=path.resolve().name)


def _stem(file: Path) -> str:
    """A file's name up to its first dot, in lower case."""
    return file.name.lower().partition(".")[0]
