"""Graphs of several kinds of nodes in files: HeCo's folders, tables, and what PyTorch Geometric writes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.sparse import load_npz
from torch import Tensor

from dipole.data.finding import existing_path, existing_root, leads_nowhere
from dipole.data.graph.hetero_set import HeteroSet, make_hetero, parse_metapaths
from dipole.data.graph.table_graph import SUFFIXES, read_ends, read_nodes, sorted_names
from dipole.data.registry import DataSetInfo
from dipole.data.tables import table_suffix
from dipole.errors import InputError

TOY = "toy-papers"
COUNTS = (20, 40, 60)  # labels of a class in the files of HeCo
DAMAGED = (OSError, EOFError, ValueError, KeyError, AttributeError, IndexError)


def load_hetero(
    data: Any,
    data_root: str | Path | None = None,
    *,
    target: str | None = None,
    metapaths: str | None = None,
    encoding: str = "utf-8",
) -> HeteroSet:
    """Load a graph of several kinds of nodes.

    Args:
        data: `toy-papers`, which is built in; a folder with HeCo's files (`p_feat.npz`, `pa.txt`, `labels.npy`, …); a
            folder of tables, one for each kind of nodes (`paper.csv`) and one for each relation (`paper-author.csv`); a
            file `.pt` in which `torch.save(data.to_dict(), …)` has put PyTorch Geometric's `HeteroData`; or a
            `HeteroData`.
        data_root: relative paths are also looked up there.
        target: the kind of nodes that is embedded; by default the one that has classes, or begins the meta-paths.
        metapaths: such as `author-paper-author,author-venue-author`; HeCo's own, or the target to each of its
            neighbours and back, by default.
        encoding: of tables.

    Raises:
        InputError: a missing path, or data that are not what they should be.
    """
    paths = None if metapaths is None else parse_metapaths(metapaths)
    if hasattr(data, "to_dict") and hasattr(data, "node_types"):
        return _from_dictionary("HeteroData", data.to_dict(), target, paths)
    if data == TOY:
        return toy_papers()
    path = existing_path(data, existing_root(data_root))
    if path is None:
        raise leads_nowhere(data, "known graph of several kinds of nodes", (TOY,), "give a folder or a .pt file")
    if path.is_dir():
        if (path / "labels.npy").is_file():
            return _load_heco(path, target, paths)
        return _load_tables(path, target, paths, encoding)
    if path.suffix == ".pt":
        return _load_saved(path, target, paths)
    raise InputError(
        f"{path} is no graph of several kinds of nodes: expected a folder with HeCo's files or tables, or a .pt file "
        "of HeteroData.to_dict()."
    )


def available_heterographs() -> list[DataSetInfo]:
    """List what `load_hetero` reads.

    Example:
        >>> available_heterographs()[0].name
        'toy-papers'
    """
    return [
        DataSetInfo(TOY, "papers of three fields, their authors and venues", "300", 3, "built in"),
        DataSetInfo("FOLDER", "HeCo's files: p_feat.npz, pa.txt, pap.npz, labels.npy, …", "", None, "a path"),
        DataSetInfo("FOLDER", "tables: paper.csv, author.csv, paper-author.csv, …", "", None, "a path"),
        DataSetInfo("FILE.pt", "torch.save(data.to_dict(), …) of PyTorch Geometric's HeteroData", "", None, "a path"),
    ]


def toy_papers() -> HeteroSet:
    """Make papers of three fields with noisy words, authors who mostly stay in a field, and venues.

    Example:
        >>> graph = toy_papers()
        >>> len(graph), ["-".join(path) for path in graph.metapaths]
        (300, ['paper-author-paper', 'paper-venue-paper'])
    """
    draw = np.random.default_rng(0)
    papers, authors, venues = 300, 150, 12
    y = draw.integers(3, size=papers)
    writers, places = draw.integers(3, size=authors), np.arange(venues) % 3
    pairs: dict[tuple[str, str], list[tuple[int, int]]] = {("paper", "author"): [], ("paper", "venue"): []}
    for paper, field in enumerate(y):
        for _ in range(2):
            own = np.flatnonzero(writers == field) if draw.random() < 0.8 else np.arange(authors)
            pairs["paper", "author"].append((paper, int(draw.choice(own))))
        own = np.flatnonzero(places == field) if draw.random() < 0.7 else np.arange(venues)
        pairs["paper", "venue"].append((paper, int(draw.choice(own))))
    words = draw.random((papers, 30)) < 0.1 + 0.15 * (np.arange(30) % 3 == y[:, None])
    return make_hetero(
        TOY,
        {kinds: np.array(edges).T for kinds, edges in pairs.items()},
        sizes={"paper": papers, "author": authors, "venue": venues},
        attributes={"paper": torch.from_numpy(words.astype(np.float32))},
        target="paper",
        y=torch.from_numpy(y),
        class_names=("biology", "history", "physics"),
    )


def _load_heco(path: Path, target: str | None, paths: Any) -> HeteroSet:
    """A folder of HeCo's files; kinds are single letters."""
    try:
        matrices = {
            file.stem: load_npz(file)
            for file in sorted(path.glob("*.npz"))
            if file.stem != "pos" and not file.stem.startswith("nei_")
        }
        pairs = {
            (file.stem[0], file.stem[1]): np.loadtxt(file, dtype=np.int64, ndmin=2).T[:2]
            for file in sorted(path.glob("??.txt"))
        }
        labels = torch.from_numpy(np.load(path / "labels.npy", allow_pickle=False).astype(np.int64)).flatten()
        splits = {
            count: tuple(
                torch.from_numpy(np.load(path / f"{part}_{count}.npy", allow_pickle=False).astype(np.int64))
                for part in ("train", "val", "test")
            )
            for count in COUNTS
            if (path / f"train_{count}.npy").is_file()
        }
    except DAMAGED as error:
        raise InputError(f"cannot read the files of {path}: {error}. They are damaged; get them again.") from error
    own = [name for name in matrices if len(name) > 2 and name[0] == name[-1] and "_" not in name]
    paths = paths or tuple(tuple(name) for name in own) or None
    attributes = {
        name[0]: torch.from_numpy(found.toarray().astype(np.float32))
        for name, found in matrices.items()
        if name.endswith("_feat") and len(name) == 6
    }
    sizes = {kind: len(x) for kind, x in attributes.items()}
    for pair, edges in pairs.items():
        for kind, ends in zip(pair, edges, strict=True):
            if kind not in attributes:
                sizes[kind] = max(sizes.get(kind, 0), int(ends.max(initial=-1)) + 1)
    if own:
        sizes[own[0][0]] = len(labels)
    if not pairs:
        raise InputError(f"{path} has no relations: expected files such as pa.txt, pairs of a paper and an author.")
    for count, parts in splits.items():
        used = torch.cat(parts)
        if len(used) and not 0 <= int(used.min()) <= int(used.max()) < len(labels):
            raise InputError(f"{path}: the split of {count} labels names nodes that are not among {len(labels)}.")
    return make_hetero(
        path.resolve().name, pairs, sizes=sizes, attributes=attributes, target=target, metapaths=paths, y=labels,
        splits=splits,
    )  # fmt: skip


def _load_tables(path: Path, target: str | None, paths: Any, encoding: str) -> HeteroSet:
    """A folder of tables: `KIND.csv` and `KIND-KIND.csv`."""
    tables = {file.name.partition(".")[0]: file for file in sorted(path.iterdir()) if table_suffix(file) in SUFFIXES}
    relations = {name: file for name, file in tables.items() if name.count("-") == 1}
    if not relations:
        raise InputError(
            f"{path} holds no graph of several kinds of nodes: expected tables such as paper.csv, author.csv and "
            "paper-author.csv, or HeCo's files."
        )
    odd = sorted(set(tables) - set(relations) - {kind for name in relations for kind in name.split("-")})
    nodes = {name: read_nodes(tables[name], encoding) for name in tables if name not in relations and name not in odd}
    ends: dict[tuple[str, str], list[list[str]]] = {}
    for name, file in relations.items():
        first, last = name.split("-")
        ends[first, last] = read_ends(file, encoding)
    ids = {kind: found[0] for kind, found in nodes.items()}
    for pair, columns in ends.items():
        for kind, names in zip(pair, columns, strict=True):
            if kind not in nodes:
                ids[kind] = sorted_names({*ids.get(kind, ()), *names})
    places = {kind: {name: place for place, name in enumerate(names)} for kind, names in ids.items()}
    edges = {}
    for pair, columns in ends.items():
        for kind, names in zip(pair, columns, strict=True):
            unknown = {*names} - set(places[kind])
            if unknown:
                raise InputError(
                    f"{relations['-'.join(pair)]} names the node {min(unknown)!r}, which is not in {tables[kind]}: add "
                    "it there."
                )
        edges[pair] = np.array(
            [[places[kind][name] for name in names] for kind, names in zip(pair, columns, strict=True)], dtype=np.int64
        ).reshape(2, -1)
    classified = [kind for kind, found in nodes.items() if found[2] is not None]
    chosen = target or (paths[0][0] if paths else classified[0] if len(classified) == 1 else None)
    notes = tuple(f"{tables[name].name} is no kind of nodes of any relation: left out" for name in odd)
    graph = make_hetero(
        path.resolve().name, edges, sizes={kind: len(names) for kind, names in ids.items()},
        attributes={kind: found[1] for kind, found in nodes.items() if found[1] is not None},
        target=chosen, metapaths=paths, notes=notes,
    )  # fmt: skip
    _, _, y, classes = nodes.get(graph.target, ([], None, None, []))
    return HeteroSet(**{**vars(graph), "ids": tuple(ids[graph.target]), "y": y, "class_names": tuple(classes)})


def _load_saved(path: Path, target: str | None, paths: Any) -> HeteroSet:
    """A file of `HeteroData.to_dict()`; nothing but tensors is read from it."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise InputError(
            f"cannot read {path} without running code of it: write it with torch.save(data.to_dict(), {path.name!r})."
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{path} holds a {type(content).__name__}: expected HeteroData.to_dict().")
    return _from_dictionary(path.stem, content, target, paths)


def _from_dictionary(name: str, content: Mapping[Any, Any], target: str | None, paths: Any) -> HeteroSet:
    """What `HeteroData.to_dict()` returns."""
    kinds = {key: store for key, store in content.items() if isinstance(key, str) and key != "_global_store"}
    relations: dict[tuple[str, str], list[Tensor]] = {}
    for key, store in content.items():
        if isinstance(key, tuple) and len(key) == 3 and isinstance(store.get("edge_index"), Tensor):
            pair, edges = (key[0], key[2]), store["edge_index"]
            if key[1].startswith("rev_") and (key[2], key[1].removeprefix("rev_"), key[0]) in content:
                continue  # what T.ToUndirected adds stands there already
            relations.setdefault(pair, []).append(edges)
    sizes: dict[str, int] = {}
    for kind, store in kinds.items():
        known = next((store[each] for each in ("x", "y") if isinstance(store.get(each), Tensor)), None)
        sizes[kind] = len(known) if known is not None else int(store.get("num_nodes") or 0)
    for pair, parts in relations.items():
        for kind, end in zip(pair, range(2), strict=True):
            if not sizes.get(kind):
                sizes[kind] = max(int(edges[end].max()) + 1 for edges in parts if edges.numel())
    classified = [kind for kind, store in kinds.items() if isinstance(store.get("y"), Tensor) and store["y"].ndim == 1]
    chosen = target or (paths[0][0] if paths else classified[0] if len(classified) == 1 else None)
    graph = make_hetero(
        name, {pair: torch.cat(parts, dim=1) for pair, parts in relations.items()}, sizes=sizes,
        attributes={kind: store["x"] for kind, store in kinds.items() if isinstance(store.get("x"), Tensor)},
        target=chosen, metapaths=paths,
    )  # fmt: skip
    y = kinds.get(graph.target, {}).get("y")
    return HeteroSet(**{**vars(graph), "y": y.long() if isinstance(y, Tensor) and y.ndim == 1 else None})
