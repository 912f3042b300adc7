"""`dipole report`."""

from collections.abc import Sequence

from dipole.cli.parsing import parse, parser


def run(arguments: Sequence[str]) -> None:
    """Write the page and say where it is."""
    parser_ = parser("report", "Make one self-contained HTML page of a run: curves, map, neighbours, scores.")
    parser_.add_argument("path", type=str, help="run directory")
    parser_.add_argument("--data", type=str | None, default=None, help="other data than the run's own")
    parser_.add_argument("--data_root", type=str | None, default=None, help="folder of named data sets")
    options = parse(parser_, arguments)

    from dipole.runs.look import report

    print(f"Open {report(options.path, data=options.data, data_root=options.data_root, progress=True)} in a browser.")
