"""`dipole evaluate`."""

from collections.abc import Sequence

from dipole.cli.parsing import parse, parser
from dipole.cli.tables import show

WIDEST = 4  # numbers beside one another; more stand below one another
HEADINGS = {"knn": "knn accuracy", "linear": "linear accuracy"}
PROTOCOLS = (
    "one or more with commas: knn, linear for images; sts, retrieval for text; retrieval, zero-shot, conditional for "
    "several modalities; linear, clustering, links for graphs; forecast, classification for series; ranking, unseen "
    "for recommendation; all by default"
)


def run(arguments: Sequence[str]) -> None:
    """Evaluate a run and print the table."""
    parser_ = parser("evaluate", "Measure the encoder of a run beside what it started from.")
    parser_.add_argument("path", type=str, help="run directory")
    parser_.add_argument("--protocol", type=str | None, default=None, help=PROTOCOLS)
    parser_.add_argument("--data", type=str | None, default=None, help="other data than the run's")
    parser_.add_argument("--data_root", type=str | None, default=None, help="folder of named data sets")
    options = parse(parser_, arguments)

    from dipole.runs.evaluate import evaluate

    result = evaluate(
        options.path,
        protocols=None if options.protocol is None else [name.strip() for name in options.protocol.split(",")],
        data=options.data,
        data_root=options.data_root,
        progress=True,
    )
    headings = [HEADINGS.get(name, name) for name in result.protocols]
    title = f"{options.path}: frozen features on {result.data}"
    if len(headings) <= WIDEST:
        rows = [[row["encoder"], *(row.get(name) for name in result.protocols)] for row in result.rows]
        show(title, {"encoder": "left", **dict.fromkeys(headings, "right")}, rows)
        return
    rows = [
        [heading, *(row.get(name) for row in result.rows)]
        for heading, name in zip(headings, result.protocols, strict=True)
    ]
    show(title, {"": "left", **{str(row["encoder"]): "right" for row in result.rows}}, rows)
