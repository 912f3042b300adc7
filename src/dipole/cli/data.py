"""`dipole data`."""

from collections.abc import Sequence
from typing import Any

from dipole.cli.parsing import parse, parser
from dipole.cli.tables import show


def run(arguments: Sequence[str]) -> None:
    """List the data sets, or count one."""
    parser_ = parser("data", "List the data sets, or load one and say what is in it.")
    parser_.add_argument("data", nargs="?", type=str | None, default=None, help="a name or a folder of images")
    parser_.add_argument("--data_root", type=str | None, default=None, help="folder of named data sets")
    options = parse(parser_, arguments)

    from dipole.data import available, load_image_sets

    rows: list[list[Any]]
    if options.data is None:
        rows = [[info.name, info.description, info.images, info.classes, info.where] for info in available()]
        columns = {"name": "left", "what": "left", "images": "right", "classes": "right", "where": "left"}
        show("Data", columns, rows)
        return
    train, test = load_image_sets(options.data, options.data_root)
    rows = [
        ["training images", len(train)],
        ["test images", len(test)],
        ["shape", "×".join(map(str, train.input_shape))],
        *([f"classes of {kind}", ", ".join(names)] for kind, names in train.class_names.items()),
        *([f"left out: {path}", reason] for path, reason in train.skipped),
    ]
    show(train.name, {"": "left", "value": "left"}, rows)
