"""`dipole evaluate`."""

from collections.abc import Sequence
from typing import Any

import jsonargparse

from dipole.cli.loading import add_loading, loading_of, renamed
from dipole.cli.parsing import parse, parser, taken
from dipole.cli.tables import show

WIDEST = 4  # numbers beside one another; more stand below one another
HEADINGS = {"knn": "knn accuracy", "linear": "linear accuracy"}
DESCRIPTION = (
    "Measure the encoder of a run beside what it started from. --protocol NAME,NAME chooses protocols, those that the "
    "data allow by default; `dipole evaluate RUN --protocol NAME --help` lists the options of one. Protocols: "
)


def run(arguments: Sequence[str]) -> None:
    """Evaluate a run and print the table."""
    names, arguments = taken("--protocol", renamed(arguments))
    protocols = None if names is None else [name.strip() for name in names.split(",")]
    parser_ = _parser(arguments, protocols)
    add_loading(parser_, arguments)
    # `--ways 5` is short for `--protocol.ways 5`.
    known = parser_._option_string_actions
    arguments = [
        f"--protocol.{argument[2:]}" if f"--protocol.{argument[2:].partition('=')[0]}" in known else argument
        for argument in arguments
    ]
    options = parse(parser_, arguments)

    from dipole.runs.evaluate import evaluate

    result = evaluate(
        options.path,
        protocols=protocols,
        options=vars(options.protocol) if "protocol" in options else None,
        data=options.data,
        data_root=options.data_root,
        loading=loading_of(options),
        progress=True,
    )
    headings = [HEADINGS.get(name, name) for name in result.protocols]
    title = f"{options.path}: frozen features on {result.data}"
    cells = [
        [_cell(row.get(name), result.intervals.get(row["encoder"], {}).get(name)) for name in result.protocols]
        for row in result.rows
    ]
    encoders = [str(row["encoder"]) for row in result.rows]
    if len(headings) <= WIDEST:
        rows: list[list[Any]] = [[name, *row] for name, row in zip(encoders, cells, strict=True)]
        show(title, {"encoder": "left", **dict.fromkeys(headings, "right")}, rows)
    else:
        rows = [[heading, *row] for heading, row in zip(headings, zip(*cells, strict=True), strict=True)]
        show(title, {"": "left", **dict.fromkeys(encoders, "right")}, rows)


def _parser(arguments: Sequence[str], protocols: list[str] | None) -> jsonargparse.ArgumentParser:
    """The parser, with the options of the protocol if a single one is chosen."""
    from dipole.evaluation.protocols import get_protocol, names_of_protocols

    result = parser("evaluate", DESCRIPTION + names_of_protocols())
    result.add_argument("path", type=str, help="run directory; or folder of a text encoder that was never trained here")
    result.add_argument("--data", type=str | None, default=None, help="other data than the run's")
    result.add_argument("--data_root", type=str | None, default=None, help="folder of named data sets")
    path = next((argument for argument in arguments if not argument.startswith("-")), None)
    if path is not None and protocols is not None and len(protocols) == 1:
        from dipole.runs import Run
        from dipole.runs.domains import domain_of
        from dipole.runs.text_encoders import is_foreign

        domain = "language" if protocols == ["multiple-choice"] else "text"
        if domain == "text" and not is_foreign(path):
            settings = Run.open(path).settings()
            domain = domain_of(settings.name, settings.method).name
        result.add_class_arguments(get_protocol(domain, protocols[0]), "protocol")
    return result


def _cell(value: float | None, interval: tuple[float, float] | None) -> Any:
    """A value, with its interval if it has one."""
    if value is None or interval is None:
        return value
    return f"{value:.4f} ± {(interval[1] - interval[0]) / 2:.3f}"
