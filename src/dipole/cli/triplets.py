"""`dipole triplets`."""

from collections.abc import Sequence
from typing import Any

from dipole.cli.parsing import parse, parser
from dipole.cli.tables import show

DESCRIPTION = (
    "Let a language model write, for every sentence, one that says the same and one that says the opposite. An "
    "interrupted command continues where it was. `dipole curate` keeps what is good of them."
)


def run(arguments: Sequence[str]) -> None:
    """Write triplets and say what came of it."""
    parser_ = parser("triplets", DESCRIPTION)
    parser_.add_argument("data", type=str, help="file of sentences, or the name of a set")
    parser_.add_argument("--out", type=str, required=True, help=".jsonl file to write: text, positive, negative")
    parser_.add_argument("--model", type=str, default="smollm2", help="folder, run, name on the hub, or smollm2")
    parser_.add_argument("--opposite_weight", type=float, default=0.3, help="of the opposite instruction")
    parser_.add_argument("--plausibility", type=float, default=0.0, help="least share of the best token's probability")
    parser_.add_argument("--max_new_tokens", type=int, default=48, help="of a sentence")
    parser_.add_argument("--batch_size", type=int, default=8, help="sentences at a time")
    options = parse(parser_, arguments)

    from dipole.runs.triplets import TripletSettings, write_triplets

    settings = TripletSettings(
        model=options.model,
        opposite_weight=options.opposite_weight,
        plausibility=options.plausibility,
        max_new_tokens=options.max_new_tokens,
        batch_size=options.batch_size,
    )
    done = write_triplets(options.data, options.out, settings=settings, progress=True)
    rows: list[list[Any]] = [["sentences", done.read], ["triplets", done.kept]]
    rows += [[f"left out: {reason}", number] for reason, number in done.left_out.items()]
    show(str(done.path), {"": "left", "value": "right"}, rows)
