"""Kinds of data: which sets of each there are, what is read as one, and what is said about it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dipole.cli.likely import likely_kind

Rows = list[list[Any]]
Loading = Mapping[str, Any]


@dataclass(frozen=True)
class Kind:
    """A kind of data.

    Args:
        title: of its list.
        counted: what the sizes in the list are of.
        available: the sets that dipole knows.
        describe: `(data, data_root, loading) -> (name, rows)`.
        domain: whose options say how such data are read.
        defaults: of these options, where a description has others than training.
    """

    title: str
    counted: str
    available: Callable[[], list[Any]]
    describe: Callable[[str, str | None, Loading], tuple[str, Rows]]
    domain: str
    defaults: Loading = field(default_factory=dict)


def _interactions() -> Kind:
    import numpy as np

    from dipole.data.recommendation import available_interactions, load_interactions

    def describe(data: str, root: str | None, loading: Loading) -> tuple[str, Rows]:
        table = load_interactions(data, root, **loading)
        rows: Rows = [["interactions", len(table)], ["users", len(table.users)], ["items", len(table.items)]]
        for k in (2, 5):
            users = np.bincount(table.user)
            rows.append([f"users with {k} or more", int((users >= k).sum())])
        return table.name, [*rows, *(["left out", note] for note in table.skipped)]

    return Kind(
        "Interactions", "size", available_interactions, describe, "recommendation", {"loading.min_interactions": 1}
    )


def _graph() -> Kind:
    from dipole.data.graph import available_graphs, load_graph

    def describe(data: str, root: str | None, loading: Loading) -> tuple[str, Rows]:
        graph = load_graph(data, root, nodes=loading["nodes"], encoding=loading["encoding"])
        edges = graph.graph.edge_index
        rows: Rows = [
            ["nodes", len(graph)],
            ["edges", int((edges[0] <= edges[1]).sum())],
            ["attributes", graph.graph.x.shape[1]],
            ["nodes without edges", int((graph.degrees == 0).sum())],
        ]
        if graph.labels is not None:
            rows.append(["classes", ", ".join(graph.class_names) or int(graph.labels.max()) + 1])
        return graph.name, [*rows, *(["note", note] for note in graph.notes)]

    return Kind("Graphs", "nodes", available_graphs, describe, "graph")


def _heterograph() -> Kind:
    from dipole.data.graph import available_heterographs, load_hetero

    def describe(data: str, root: str | None, loading: Loading) -> tuple[str, Rows]:
        graph = load_hetero(data, root, **{name: loading[name] for name in ("target", "metapaths", "encoding")})
        rows: Rows = [[f"nodes: {kind}", count] for kind, count in graph.sizes.items()]
        rows += [[f"attributes of {kind}", x.shape[1]] for kind, x in graph.attributes.items()]
        rows += [[f"edges {'-'.join(pair)}", int(edges.sum())] for pair, edges in graph.relations.items()]
        rows += [["embedded", graph.target], ["meta-paths", ", ".join("-".join(path) for path in graph.metapaths)]]
        if graph.labels is not None:
            rows.append(["classes", ", ".join(graph.class_names) or int(graph.labels.max()) + 1])
        return graph.name, [*rows, *(["note", note] for note in graph.notes)]

    return Kind("Graphs of several kinds of nodes", "nodes", available_heterographs, describe, "heterograph")


def _series() -> Kind:
    from dipole.data.timeseries import available_series, load_series

    def describe(data: str, root: str | None, loading: Loading) -> tuple[str, Rows]:
        found = load_series(data, root, **{name: loading[name] for name in loading if name != "window"})
        count, steps, _ = found.train.values.shape
        missing = float(found.train.values.isnan().float().mean())
        rows: Rows = [["training series", count], ["steps", steps], ["columns", ", ".join(found.train.columns)]]
        rows.append(["missing", f"{missing:.1%}"])
        if found.test is not None:
            rows.append(["test series", len(found.test)])
        if found.train.class_names:
            rows.append(["classes", ", ".join(found.train.class_names)])
        if found.forecast is not None:
            task = found.forecast
            rows.append(["validation steps", task.validation_end - task.train_end])
            rows.append(["test steps", task.test_end - task.validation_end])
            rows.append(["to forecast", ", ".join(task.targets)])
        return found.name, [*rows, *(["note", note] for note in found.notes)]

    return Kind("Time series", "series or steps", available_series, describe, "timeseries")


def _modalities() -> Kind:
    from dipole.data.multimodal import available_modalities, load_modalities
    from dipole.runs.domains import get_domain

    def describe(data: str, root: str | None, loading: Loading) -> tuple[str, Rows]:
        reading, share = get_domain("multimodal").reading(loading), loading["test_fraction"]  # type: ignore[attr-defined]
        train, test = load_modalities(data, root, reading=reading, test_fraction=share)
        rows: Rows = [["training rows", len(train)], ["test rows", 0 if test is None else len(test)]]
        for name, column in train.columns.items():
            missing = int((~train.present(name)).sum())
            rows.append([name, f"{column.kind}, missing in {missing} rows" if missing else column.kind])
        labels = sorted({label for label in train.labels or () if label is not None})
        rows += [["labels", ", ".join(labels)]] if labels else []
        return train.name, [*rows, *([f"left out: {cell}", reason] for cell, reason in train.skipped)]

    return Kind("Several modalities", "rows", available_modalities, describe, "multimodal")


def _texts() -> Kind:
    from dipole.data.text import available_texts, load_texts

    def describe(data: str, root: str | None, loading: Loading) -> tuple[str, Rows]:
        texts = load_texts(data, root, column=loading["column"])
        rows: Rows = [["texts", len(texts)], ["columns", ", ".join(texts.columns)]]
        rows += [["left out", str(note)] for note in texts.skipped]
        rows += [["repaired", str(note)] for note in texts.repaired]
        if len(texts):
            rows += [[f"first {name}", " ".join(str(value).split())[:100]] for name, value in texts[0].items()]
        return texts.name, rows

    return Kind("Texts", "texts", available_texts, describe, "text")


def _images() -> Kind:
    from dipole.data import available, load_image_sets
    from dipole.data.image_roles import ImageRoles, with_roles

    def describe(data: str, root: str | None, loading: Loading) -> tuple[str, Rows]:
        roles = ImageRoles(**{name: value for name, value in loading.items() if name in vars(ImageRoles())})
        train, test = with_roles(load_image_sets(data, root), roles)
        rows: Rows = [["training images", len(train)], ["test images", len(test)]]
        rows.append(["shape", "×".join(map(str, train.input_shape))])
        rows += [[f"classes of {kind}", ", ".join(names)] for kind, names in train.class_names.items()]
        rows += [[f"left out: {path}", reason] for path, reason in train.skipped]
        return train.name, rows

    return Kind("Images", "images", available, describe, "images")


# In the order in which they are listed. Images take what no other kind claims.
KINDS: dict[str, Callable[[], Kind]] = {
    "images": _images,
    "texts": _texts,
    "modalities": _modalities,
    "graph": _graph,
    "heterograph": _heterograph,
    "series": _series,
    "interactions": _interactions,
}


def _held(data: str, root: str | None) -> str | None:
    """What shards hold: images, texts, or several modalities; None if the source is something else."""
    from dipole.data.multimodal.table import ID, SPLIT, kind_of_cells
    from dipole.data.stored import find_store

    store = find_store(data, root)
    if store is None:
        return None
    cells = store.cells()
    found = {kind_of_cells(cells[name]) for name in store.columns if name not in (ID, SPLIT, "label")}
    if "sound" in found or {"image", "text"} <= found:
        return "modalities"
    return "images" if "image" in found else "texts"


def kind_of(data: str, root: str | None) -> str:
    """Return the kind that a name or a path is read as.

    A name in a list belongs to that list; a path is what it most likely is, see `likely_kind`.
    """
    for name, make in KINDS.items():
        if data in {info.name for info in make().available()}:
            return name
    if data.startswith("aeon:"):
        return "series"
    path = next((path for path in (Path(data).expanduser(), Path(root or ".") / data) if path.exists()), None)
    likely = "images" if path is None else likely_kind(path)
    return (_held(data, root) or likely) if likely in ("images", "texts", "modalities") else likely
