"""`dipole data`."""

from collections.abc import Sequence

from dipole.cli.kinds import KINDS, kind_of
from dipole.cli.parsing import parse, parser
from dipole.cli.tables import show


def run(arguments: Sequence[str]) -> None:
    """List the data sets, say what is in one, or write one as shards."""
    if arguments and arguments[0] == "optimize":
        _optimize(arguments[1:])
        return
    parser_ = parser(
        "data",
        "List the data sets, or load one and say what is in it. `dipole data optimize SRC OUT` writes one as shards.",
    )
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


def _optimize(arguments: Sequence[str]) -> None:
    """Write a set as LitData's chunks."""
    said = "Write images, texts or a table as a folder that LitData streams; goes on after a stop."
    parser_ = parser("data optimize", said)
    parser_.add_argument("data", type=str, help="a folder of images, a table, shards, or a named set")
    parser_.add_argument("out", type=str, help="folder to write")
    parser_.add_argument("--workers", type=int, default=1, help="processes that write")
    parser_.add_argument("--data_root", type=str | None, default=None, help="folder of named data sets")
    options = parse(parser_, arguments)
    from dipole.data.stored.optimize import optimize
    from dipole.ops.checks import check_at_least

    check_at_least(options.workers, 1, "workers")
    count = optimize(options.data, options.out, data_root=options.data_root, workers=options.workers)
    show(options.out, {"": "left", "value": "left"}, [["rows", count]])
