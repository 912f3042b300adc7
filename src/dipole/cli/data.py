"""`dipole data`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dipole.cli.parsing import parse, parser
from dipole.cli.tables import show
from dipole.errors import InputError

SERIES_FILES = {".ts", ".npy"}
TEXT_FILES = {".txt", ".jsonl", ".csv", ".tsv", ".parquet"}


def run(arguments: Sequence[str]) -> None:
    """List the data sets, or count one."""
    parser_ = parser("data", "List the data sets, or load one and say what is in it.")
    parser_.add_argument(
        "data", nargs="?", type=str | None, default=None, help="a name, or a path of images, texts, a graph, series …"
    )
    parser_.add_argument("--data_root", type=str | None, default=None, help="folder of named data sets")
    options = parse(parser_, arguments)

    if options.data is None:
        _list()
    elif _are_interactions(options.data):
        _count_interactions(options.data, options.data_root)
    elif _is_graph(options.data, options.data_root):
        _count_graph(options.data, options.data_root)
    elif _is_series(options.data, options.data_root):
        _count_series(options.data, options.data_root)
    elif _is_text(options.data, options.data_root):
        _count_texts(options.data, options.data_root)
    else:
        _count_images(options.data, options.data_root)


def _list() -> None:
    """Print every set that dipole knows."""
    from dipole.data import available
    from dipole.data.graph import available_graphs
    from dipole.data.recommendation import available_interactions
    from dipole.data.text import available_texts
    from dipole.data.timeseries import available_series

    kinds = (
        ("Images", "images", available()),
        ("Texts", "texts", available_texts()),
        ("Interactions", "size", available_interactions()),
        ("Graphs", "nodes", available_graphs()),
        ("Time series", "series or steps", available_series()),
    )
    for title, counted, infos in kinds:
        rows = [[info.name, info.description, info.images, info.classes, info.where] for info in infos]
        columns = {"name": "left", "what": "left", counted: "right", "classes": "right", "where": "left"}
        show(title, columns, rows)


def _is_graph(data: str, root: str | None) -> bool:
    """Whether a name or a path is read as a graph; a single table is taken for texts."""
    from dipole.data.graph import available_graphs

    if data in {info.name for info in available_graphs()}:
        return True
    path = next((path for path in (Path(data).expanduser(), Path(root or ".") / data) if path.exists()), Path(data))
    return path.is_dir() and any(found for kind in ("ind.*.graph", "edges.*") for found in path.glob(kind))


def _count_graph(data: str, root: str | None) -> None:
    """Print how many nodes, edges, attributes and classes there are, and what was put right."""
    from dipole.data.graph import load_graph

    graph = load_graph(data, root)
    edges = graph.graph.edge_index
    rows: list[list[Any]] = [
        ["nodes", len(graph)],
        ["edges", int((edges[0] <= edges[1]).sum())],
        ["attributes", graph.graph.x.shape[1]],
        ["nodes without edges", int((graph.degrees == 0).sum())],
        *([] if graph.labels is None else [["classes", ", ".join(graph.class_names) or int(graph.labels.max()) + 1]]),
        *(["note", note] for note in graph.notes),
    ]
    show(graph.name, {"": "left", "value": "left"}, rows)


def _is_series(data: str, root: str | None) -> bool:
    """Whether a name is that of time series, or a path is read as such; tables are, if they hold numbers."""
    from dipole.data.timeseries import available_series, read_time_table

    if data.startswith("aeon:") or data in {info.name for info in available_series()}:
        return True
    path = _found(data, root)
    if path.suffix.lower() == ".csv":
        try:
            read_time_table(path)
        except InputError:
            return False
        return True
    return path.suffix.lower() in SERIES_FILES or any(path.glob("*_TRAIN.ts"))


def _is_text(data: str, root: str | None) -> bool:
    """Whether a name or a path is read as texts."""
    from dipole.data.text import available_texts

    if data in {info.name for info in available_texts()}:
        return True
    path = _found(data, root)
    return path.suffix.lower() in TEXT_FILES or (path / "corpus.jsonl").is_file()


def _are_interactions(data: str) -> bool:
    """Whether a name or a path is read as interactions; tables that may hold texts are not."""
    from dipole.data.recommendation.registry import FILES, TOY

    return data in (TOY, *FILES) or Path(data).suffix == ".inter"


def _count_interactions(data: str, root: str | None) -> None:
    """Print how many interactions, users and items there are, before and after the usual filter."""
    from dipole.data.recommendation import load_interactions

    table = load_interactions(data, root)
    rows: list[list[Any]] = [
        ["interactions", len(table)],
        ["users", len(table.users)],
        ["items", len(table.items)],
        *(["left out", note] for note in table.skipped),
    ]
    show(table.name, {"": "left", "value": "left"}, rows)


def _found(data: str, root: str | None) -> Path:
    """The path that a name leads to, if there is one."""
    return next((path for path in (Path(data).expanduser(), Path(root or ".") / data) if path.exists()), Path(data))


def _count_series(data: str, root: str | None) -> None:
    """Print how many series there are, how long they are, and where the parts of a long one begin."""
    from dipole.data.timeseries import load_series

    found = load_series(data, root)
    count, steps, _ = found.train.values.shape
    missing = float(found.train.values.isnan().float().mean())
    rows: list[list[Any]] = [["training series", count], ["steps", steps], ["columns", ", ".join(found.train.columns)]]
    rows.append(["missing", f"{missing:.1%}"])
    if found.test is not None:
        rows.append(["test series", len(found.test)])
    if found.train.class_names:
        rows.append(["classes", ", ".join(found.train.class_names)])
    if found.forecast is not None:
        task = found.forecast
        rows += [
            ["validation steps", task.validation_end - task.train_end],
            ["test steps", task.test_end - task.validation_end],
            ["to forecast", ", ".join(task.targets)],
        ]
    show(found.name, {"": "left", "value": "left"}, [*rows, *(["note", note] for note in found.notes)])


def _count_texts(data: str, root: str | None) -> None:
    """Print how many texts there are, what was left out, and one of them."""
    from dipole.data.text import load_texts

    texts = load_texts(data, root)
    rows: list[list[Any]] = [
        ["texts", len(texts)],
        ["columns", ", ".join(texts.columns)],
        *(["left out", str(note)] for note in texts.skipped),
        *(["repaired", str(note)] for note in texts.repaired),
    ]
    if len(texts):
        rows += [[f"first {name}", " ".join(str(value).split())[:100]] for name, value in texts[0].items()]
    show(texts.name, {"": "left", "value": "left"}, rows)


def _count_images(data: str, root: str | None) -> None:
    """Print how many images there are, their classes, and what was left out."""
    from dipole.data import load_image_sets

    train, test = load_image_sets(data, root)
    rows: list[list[Any]] = [
        ["training images", len(train)],
        ["test images", len(test)],
        ["shape", "×".join(map(str, train.input_shape))],
        *([f"classes of {kind}", ", ".join(names)] for kind, names in train.class_names.items()),
        *([f"left out: {path}", reason] for path, reason in train.skipped),
    ]
    show(train.name, {"": "left", "value": "left"}, rows)
