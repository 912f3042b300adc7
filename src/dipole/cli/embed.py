"""`dipole embed`."""

from collections.abc import Sequence

from dipole.cli.loading import add_loading, loading_of, renamed
from dipole.cli.parsing import parse, parser
from dipole.cli.tables import show

SOURCE = (
    "images: a file, a folder or the name of a set; texts: a file or the name of a set; several modalities: a table or "
    "the name of a set"
)


def run(arguments: Sequence[str]) -> None:
    """Write embeddings and say how many."""
    parser_ = parser("embed", "Write embeddings to a Parquet file with the columns id and vector.")
    parser_.add_argument("path", type=str, help="run directory or model folder")
    parser_.add_argument("source", type=str, help=SOURCE)
    parser_.add_argument("--out", type=str, required=True, help="Parquet file to write")
    parser_.add_argument("--data_root", type=str | None, default=None, help="folder of named data sets")
    parser_.add_argument("--batch_size", type=int, default=256, help="how many are embedded at once")
    add_loading(parser_, arguments)
    options = parse(parser_, renamed(arguments))

    from dipole.runs.embed import embed_to_parquet

    result = embed_to_parquet(
        options.path,
        options.source,
        options.out,
        data_root=options.data_root,
        batch_size=options.batch_size,
        loading=loading_of(options),
        progress=True,
    )
    rows = [["embeddings", result.rows], ["dimensions", result.dimensions], ["left out", len(result.skipped)]]
    rows += [[f"  {path}", reason] for path, reason in result.skipped[:10]]
    show(str(result.path), {"": "left", "value": "left"}, rows)
