"""`dipole report`."""

from collections.abc import Sequence

from dipole.cli.loading import add_loading, loading_of, renamed
from dipole.cli.parsing import parse, parser


def run(arguments: Sequence[str]) -> None:
    """Write the page and say where it is."""
    parser_ = parser("report", "Make one self-contained HTML page of a run: curves, map, neighbours, scores.")
    parser_.add_argument("path", type=str, help="run directory")
    parser_.add_argument("--data", type=str | None, default=None, help="other data than the run's own")
    parser_.add_argument("--data_root", type=str | None, default=None, help="folder of named data sets")
    add_loading(parser_, arguments)
    options = parse(parser_, renamed(arguments))

    from dipole.runs.look import report

    page = report(
        options.path, data=options.data, data_root=options.data_root, loading=loading_of(options), progress=True
    )
    print(f"Open {page} in a browser.")
