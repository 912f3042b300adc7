"""`dipole data`."""

from collections.abc import Sequence

from dipole.cli.kinds import KINDS, kind_of
from dipole.cli.parsing import parse, parser
from dipole.cli.tables import show


def run(arguments: Sequence[str]) -> None:
    """List the data sets, or say what is in one."""
    parser_ = parser("data", "List the data sets, or load one and say what is in it.")
    parser_.add_argument("data", nargs="?", type=str | None, default=None, help="a name, or a path")
    parser_.add_argument("--kind", type=str | None, default=None, help=f"how to read it: {', '.join(KINDS)}")
    parser_.add_argument("--data_root", type=str | None, default=None, help="folder of named data sets")
    options = parse(parser_, arguments)
    if options.kind is not None:
        from dipole.ops.checks import check_choice

        check_choice(options.kind, list(KINDS), "kind")

    if options.data is None:
        for name, make in KINDS.items():
            if options.kind not in (None, name):
                continue
            kind = make()
            rows = [[info.name, info.description, info.images, info.classes, info.where] for info in kind.available()]
            columns = {"name": "left", "what": "left", kind.counted: "right", "classes": "right", "where": "left"}
            show(kind.title, columns, rows)
        return
    kind = kind_of(options.data, options.data_root) if options.kind is None else KINDS[options.kind]()
    name, rows = kind.describe(options.data, options.data_root)
    show(name, {"": "left", "value": "left"}, rows)
