"""`dipole evaluate`."""

from collections.abc import Sequence

from dipole.cli.parsing import parse, parser
from dipole.cli.tables import show


def run(arguments: Sequence[str]) -> None:
    """Evaluate a run and print the table."""
    parser_ = parser("evaluate", "Measure the encoder of a run beside an untrained encoder and raw pixels.")
    parser_.add_argument("path", type=str, help="run directory")
    parser_.add_argument("--protocol", type=str, default="knn,linear", help="knn, linear, or both with a comma")
    parser_.add_argument("--data", type=str | None, default=None, help="other data than the run's")
    parser_.add_argument("--data_root", type=str | None, default=None, help="folder of named data sets")
    options = parse(parser_, arguments)

    from dipole.runs.evaluate import evaluate

    result = evaluate(
        options.path,
        protocols=[name.strip() for name in options.protocol.split(",")],
        data=options.data,
        data_root=options.data_root,
        progress=True,
    )
    rows = [[row["encoder"], *(row[name] for name in result.protocols)] for row in result.rows]
    columns = {"encoder": "left", **{f"{name} accuracy": "right" for name in result.protocols}}
    show(f"{options.path}: frozen features", columns, rows)
