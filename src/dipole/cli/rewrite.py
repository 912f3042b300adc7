"""`dipole rewrite`."""

from collections.abc import Sequence
from typing import Any

from dipole.cli.parsing import parse, parser
from dipole.cli.tables import show

DESCRIPTION = (
    "Rewrite the captions of a table with a language model, and write a table that holds them beside the originals. "
    "An interrupted command continues where it was."
)


def run(arguments: Sequence[str]) -> None:
    """Rewrite and say what came of it."""
    parser_ = parser("rewrite", DESCRIPTION)
    parser_.add_argument("table", type=str, help=".parquet, .csv, .tsv or .jsonl file")
    parser_.add_argument("--out", type=str, required=True, help=".parquet or .jsonl file to write, beside the table")
    parser_.add_argument("--column", type=str, default="caption", help="of the captions")
    parser_.add_argument("--model", type=str, default="smollm2", help="folder, run, name on the hub, or smollm2")
    parser_.add_argument("--rewrites", type=str | None, default=None, help=".jsonl or .txt file of finished rewrites")
    parser_.add_argument("--examples", type=str | None, default=None, help=".jsonl file of pairs: source, target")
    parser_.add_argument("--count", type=int, default=4, help="rewrites of each caption")
    parser_.add_argument("--top_p", type=float, default=0.95, help="share of the probability that is sampled from")
    parser_.add_argument("--temperature", type=float, default=0.9, help="of sampling")
    parser_.add_argument("--max_new_tokens", type=int, default=77, help="of a rewrite")
    parser_.add_argument("--batch_size", type=int, default=8, help="captions at a time")
    parser_.add_argument("--seed", type=int, default=0, help="of examples and sampling")
    options = parse(parser_, arguments)

    from dipole.runs.rewrite import EXAMPLES, RewriteSettings, read_pool, rewrite_table

    settings = RewriteSettings(
        model=options.model,
        count=options.count,
        top_p=options.top_p,
        temperature=options.temperature,
        max_new_tokens=options.max_new_tokens,
        batch_size=options.batch_size,
        seed=options.seed,
    )
    done = rewrite_table(
        options.table,
        options.column,
        options.out,
        settings=settings,
        pool=EXAMPLES if options.examples is None else read_pool(options.examples),
        given=options.rewrites,
        progress=True,
    )
    rows: list[list[Any]] = [["rows", done.rows], ["different captions", done.captions], ["rewrites", done.kept]]
    rows += [[f"left out: {reason}", number] for reason, number in done.left_out.items()]
    show(str(done.path), {"": "left", "value": "right"}, rows)
