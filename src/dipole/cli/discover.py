"""`dipole discover`."""

from collections.abc import Sequence

from dipole.cli.loading import add_loading, loading_of, renamed
from dipole.cli.parsing import parse, parser
from dipole.cli.tables import show

DESCRIPTION = (
    "Sort the training images without a label into the known classes and new ones: write the cluster of each, its "
    "class or 'new 1', 'new 2' …, and a confidence."
)


def run(arguments: Sequence[str]) -> None:
    """Write the table and say how many images each class has."""
    parser_ = parser("discover", DESCRIPTION)
    parser_.add_argument("path", type=str, help="run directory of a method for images, e.g. of bacon")
    parser_.add_argument("--out", type=str, required=True, help=".parquet or .csv file to write")
    parser_.add_argument("--clusters", type=int | None, default=None, help="known classes and new ones together")
    parser_.add_argument("--data", type=str | None, default=None, help="other images than the run's own")
    parser_.add_argument("--data_root", type=str | None, default=None, help="folder of named data sets")
    add_loading(parser_, arguments)
    options = parse(parser_, renamed(arguments))

    from dipole.runs.discover import discover

    found = discover(
        options.path,
        options.out,
        clusters=options.clusters,
        data=options.data,
        data_root=options.data_root,
        loading=loading_of(options),
        progress=True,
    )
    rows = [[name, count] for name, count in found.classes.items()]
    show(f"{found.path}: {found.rows} images without a label", {"class": "left", "images": "right"}, rows)
