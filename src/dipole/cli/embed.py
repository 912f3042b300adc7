"""`dipole embed`."""

from collections.abc import Sequence
from typing import Any, Literal

from dipole.cli.loading import add_loading, loading_of, renamed
from dipole.cli.parsing import parse, parser
from dipole.cli.tables import show

SOURCE = (
    "images: a file, a folder or the name of a set; texts: a file or the name of a set; several modalities: a table, a "
    "folder of image or sound files, or the name of a set"
)


def run(arguments: Sequence[str]) -> None:
    """Write embeddings and say how many."""
    parser_ = parser(
        "embed",
        "Write embeddings, with the columns id and vector, to a Parquet file, or to a folder of such files if --out "
        "ends in / or is an address (s3://bucket/name), or if there are --workers or an --engine. A folder is gone on "
        "with where it was left.",
    )
    parser_.add_argument("path", type=str, help="run directory or model folder")
    parser_.add_argument("source", type=str, help=SOURCE)
    parser_.add_argument("--out", type=str, required=True, help="Parquet file, or folder, to write")
    parser_.add_argument("--data_root", type=str | None, default=None, help="folder of named data sets")
    parser_.add_argument("--batch_size", type=int, default=256, help="how many are embedded at once")
    parser_.add_argument("--precision", type=Literal["32-true", "bf16"], default="32-true", help="of products")
    parser_.add_argument("--workers", type=int | None, default=None, help="processes that embed into a folder")
    parser_.add_argument("--engine", type=Literal["local", "ray"] | None, default=None, help="what runs the workers")
    parser_.add_argument("--shard_rows", type=int, default=8192, help="entries of the source in a file of a folder")
    add_loading(parser_, arguments)
    options = parse(parser_, renamed(arguments))
    if options.workers or options.engine or options.out.endswith("/") or "://" in options.out:
        _to_folder(options)
        return

    from dipole.runs.embed import embed_to_parquet

    result = embed_to_parquet(
        options.path,
        options.source,
        options.out,
        data_root=options.data_root,
        batch_size=options.batch_size,
        loading=loading_of(options),
        precision=options.precision,
        progress=True,
    )
    rows = [["embeddings", result.rows], ["dimensions", result.dimensions], ["left out", len(result.skipped)]]
    rows += [[f"  {path}", reason] for path, reason in result.skipped[:10]]
    show(str(result.path), {"": "left", "value": "left"}, rows)


def _to_folder(options: Any) -> None:
    """Write shards."""
    from dipole.runs.embed_shards import ERRORS, Embedding, embed_to_shards

    embedding = Embedding(
        options.path,
        options.source,
        options.out,
        data_root=options.data_root,
        batch_size=options.batch_size,
        shard_rows=options.shard_rows,
        loading=loading_of(options),
        precision=options.precision,
    )
    found = embed_to_shards(embedding, workers=options.workers or 1, engine=options.engine or "local", progress=True)
    rows = [["embeddings", found.rows], ["files", found.shards], ["of these, there before", found.present]]
    rows.append([f"left out ({ERRORS})", found.skipped])
    show(found.out, {"": "left", "value": "left"}, rows)
