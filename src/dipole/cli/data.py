"""`dipole data`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from dipole.cli.parsing import parse, parser
from dipole.cli.tables import show

TEXT_FILES = {".txt", ".jsonl", ".csv", ".tsv", ".parquet"}


def run(arguments: Sequence[str]) -> None:
    """List the data sets, or count one."""
    parser_ = parser("data", "List the data sets, or load one and say what is in it.")
    parser_.add_argument("data", nargs="?", type=str | None, default=None, help="a name, or a path of images or texts")
    parser_.add_argument("--data_root", type=str | None, default=None, help="folder of named data sets")
    parser_.add_argument("--modalities", action="store_true", help="the columns of a table are modalities")
    options = parse(parser_, arguments)

    if options.data is None:
        _list()
    elif options.modalities or _is_multimodal(options.data):
        _count_modalities(options.data, options.data_root)
    elif _is_text(options.data, options.data_root):
        _count_texts(options.data, options.data_root)
    else:
        _count_images(options.data, options.data_root)


def _list() -> None:
    """Print every set that dipole knows."""
    from dipole.data import available
    from dipole.data.multimodal import available_modalities
    from dipole.data.text import available_texts

    for title, counted, infos in (
        ("Images", "images", available()),
        ("Texts", "texts", available_texts()),
        ("Several modalities", "rows", available_modalities()),
    ):
        rows = [[info.name, info.description, info.images, info.classes, info.where] for info in infos]
        columns = {"name": "left", "what": "left", counted: "right", "classes": "right", "where": "left"}
        show(title, columns, rows)


def _is_text(data: str, root: str | None) -> bool:
    """Whether a name or a path is read as texts."""
    from dipole.data.text import available_texts

    if data in {info.name for info in available_texts()}:
        return True
    path = next((path for path in (Path(data).expanduser(), Path(root or ".") / data) if path.exists()), Path(data))
    return path.suffix.lower() in TEXT_FILES or (path / "corpus.jsonl").is_file()


def _is_multimodal(data: str) -> bool:
    """Whether it is the name of a set of several modalities."""
    from dipole.data.multimodal import available_modalities

    return data in {info.name for info in available_modalities()}


def _count_modalities(data: str, root: str | None) -> None:
    """Print how many rows there are, what each modality is, and what was left out."""
    from dipole.data.multimodal import load_modalities

    train, test = load_modalities(data, root)
    rows: list[list[Any]] = [["training rows", len(train)], ["test rows", 0 if test is None else len(test)]]
    for name, column in train.columns.items():
        missing = int((~train.present(name)).sum())
        rows.append([name, f"{column.kind}, missing in {missing} rows" if missing else column.kind])
    labels = sorted({label for label in train.labels or () if label is not None})
    rows += [["labels", ", ".join(labels)]] if labels else []
    rows += [[f"left out: {cell}", reason] for cell, reason in train.skipped]
    show(train.name, {"": "left", "value": "left"}, rows)


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
