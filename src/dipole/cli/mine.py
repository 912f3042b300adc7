"""`dipole mine`."""

from collections.abc import Sequence
from typing import Any

from dipole.cli.parsing import parse, parser
from dipole.cli.tables import show

DESCRIPTION = (
    "Add hard negatives to a file of pairs: passages that the encoder of a run finds similar to a query, and clearly "
    "less so than its positive."
)


def run(arguments: Sequence[str]) -> None:
    """Mine and say what came of it."""
    parser_ = parser("mine", DESCRIPTION)
    parser_.add_argument("run", type=str, help="run, model folder, or folder of sentence-transformers: the teacher")
    parser_.add_argument("pairs", type=str, help="file with the columns text and positive, or question, positive_ctxs")
    parser_.add_argument("--out", type=str, required=True, help=".jsonl file to write")
    parser_.add_argument(
        "--corpus", type=str | None, default=None, help="passages to look among; all positives by default"
    )
    parser_.add_argument("--k", type=int, default=7, help="negatives of a pair")
    parser_.add_argument(
        "--percentage", type=float | None, default=0.95, help="of the positive's score, below which a negative scores"
    )
    parser_.add_argument("--margin", type=float | None, default=None, help="below the positive's score")
    parser_.add_argument("--first", type=int, default=0, help="of the best that remain, how many are left out")
    parser_.add_argument("--batch_size", type=int, default=32, help="texts embedded at once")
    options = parse(parser_, arguments)

    from dipole.runs.mine import mine

    done = mine(
        options.run,
        options.pairs,
        options.out,
        corpus=options.corpus,
        k=options.k,
        percentage=options.percentage,
        margin=options.margin,
        first=options.first,
        batch_size=options.batch_size,
        progress=True,
    )
    rows: list[list[Any]] = [
        ["pairs", done.pairs],
        ["passages", done.passages],
        ["negatives", done.negatives],
        [f"pairs with fewer than {options.k}", done.short],
        ["pairs without any", done.without],
    ]
    show(str(done.path), {"": "left", "value": "right"}, rows)
