"""`dipole curate`."""

from collections.abc import Sequence
from typing import Any

from dipole.cli.parsing import parse, parser
from dipole.cli.tables import show

DESCRIPTION = (
    "Keep the triplets whose scores, from 0 to 5, say that the positive means the same as the sentence and the "
    "negative does not; the two change places where the scores say so."
)


def run(arguments: Sequence[str]) -> None:
    """Curate and say what came of it."""
    parser_ = parser("curate", DESCRIPTION)
    parser_.add_argument("data", type=str, help=".jsonl file of triplets: text, positive, negative")
    parser_.add_argument("--out", type=str, required=True, help=".jsonl file to write")
    parser_.add_argument("--scorer", type=str | None, default=None, help="run or folder of a text encoder that scores")
    parser_.add_argument("--model", type=str | None, default=None, help="language model that is asked for scores")
    parser_.add_argument("--at_least", type=float, default=3.0, help="least score of a positive")
    parser_.add_argument("--at_most", type=float, default=3.0, help="largest score of a negative")
    parser_.add_argument("--gap", type=float, default=1.0, help="by which the positive must score higher")
    options = parse(parser_, arguments)

    from dipole.errors import InputError
    from dipole.runs.triplets import curate

    if options.scorer is not None and options.model is not None:
        raise InputError("--scorer and --model both give scores: choose one.")
    done = curate(
        options.data,
        options.out,
        scorer=options.scorer,
        model=options.model,
        at_least=options.at_least,
        at_most=options.at_most,
        gap=options.gap,
        progress=True,
    )
    rows: list[list[Any]] = [["triplets", done.read], ["kept", done.kept]]
    rows += [[f"left out: {reason}", number] for reason, number in done.left_out.items()]
    show(str(done.path), {"": "left", "value": "right"}, rows)
