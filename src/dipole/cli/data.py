"""`dipole data`."""

from collections.abc import Sequence
from pathlib import Path

from dipole.cli.kinds import KINDS, Kind, kind_of
from dipole.cli.loading import loading_of, renamed
from dipole.cli.parsing import parse, parser, taken
from dipole.cli.tables import show
from dipole.errors import InputError


def run(arguments: Sequence[str]) -> None:
    """List the data sets, say what is in one, or write one as shards."""
    from dipole.ops.checks import check_choice
    from dipole.runs.domains import get_domain

    if arguments and arguments[0] == "optimize":
        _optimize(arguments[1:])
        return
    chosen, arguments = taken("--kind", renamed(arguments))
    root = taken("--data_root", arguments)[0]
    parser_ = parser(
        "data",
        "List the data sets, or load one and say what is in it. `dipole data optimize SRC OUT` writes one as shards.",
    )
    parser_.add_argument("data", nargs="?", type=str | None, default=None, help="a name, or a path")
    parser_.add_argument("--kind", type=str | None, default=None, help=f"how to read it: {', '.join(KINDS)}")
    parser_.add_argument("--data_root", type=str | None, default=None, help="folder of named data sets")
    if chosen is not None:
        check_choice(chosen, list(KINDS), "kind")
    data = _data(arguments)
    if data is None and chosen is None:
        parse(parser_, arguments)
        for make in KINDS.values():
            _list(make())
        return
    name = kind_of(str(data), root) if chosen is None else chosen
    kind = KINDS[name]()
    parser_.add_function_arguments(get_domain(kind.domain).loading_options, "loading")
    parser_.set_defaults(dict(kind.defaults))
    options = parse(parser_, arguments)
    if options.data is None:
        _list(kind)
        return
    try:
        title, rows = kind.describe(options.data, options.data_root, loading_of(options))
    except InputError as error:
        if chosen is not None or not Path(options.data).exists():
            raise
        others = ", ".join(other for other in KINDS if other != name)
        raise InputError(
            f"{error} (It was read as {name}, which it looks like; --kind can say another: {others}.)"
        ) from error
    show(title, {"": "left", "value": "left"}, rows)


def _data(arguments: Sequence[str]) -> str | None:
    """The name or path among the arguments: the first that is no flag, nor the value of one."""
    before = ""
    for argument in arguments:
        if not argument.startswith("-") and (not before.startswith("--") or "=" in before):
            return argument
        before = argument
    return None


def _list(kind: Kind) -> None:
    """Print the sets of a kind that are known."""
    rows = [[info.name, info.description, info.images, info.classes, info.where] for info in kind.available()]
    columns = {"name": "left", "what": "left", kind.counted: "right", "classes": "right", "where": "left"}
    show(kind.title, columns, rows)


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
