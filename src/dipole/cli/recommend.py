"""`dipole recommend`."""

import json
from collections.abc import Sequence
from pathlib import Path

from dipole.cli.loading import add_loading, loading_of, renamed
from dipole.cli.parsing import parse, parser
from dipole.cli.tables import show


def run(arguments: Sequence[str]) -> None:
    """Recommend items and print or write them."""
    parser_ = parser("recommend", "Recommend items to users with the model of a run.")
    parser_.add_argument("run", type=str, help="run directory or model folder of a recommender")
    parser_.add_argument("user", type=str, nargs="*", help="users of the data")
    parser_.add_argument("--history", type=str | None, default=None, help="instead of users: items used, with commas")
    parser_.add_argument("--k", type=int, default=10, help="items for each user")
    parser_.add_argument("--include_seen", action="store_true", help="also what the user has used before")
    parser_.add_argument("--data", type=str | None, default=None, help="other interactions than the run's")
    parser_.add_argument("--data_root", type=str | None, default=None, help="folder of named data sets")
    parser_.add_argument("--out", type=str | None, default=None, help="write JSON lines there instead of tables")
    add_loading(parser_, arguments)
    options = parse(parser_, renamed(arguments))

    from dipole.errors import InputError
    from dipole.files import atomic_write
    from dipole.runs.recommend import recommend

    if options.out is not None and Path(options.out).is_dir():
        raise InputError(f"--out {options.out} is a folder: name a file, e.g. {Path(options.out) / 'items.jsonl'}.")
    found = recommend(
        options.run,
        options.user or (),
        items=[] if options.history is None else [name.strip() for name in options.history.split(",")],
        k=options.k,
        include_seen=options.include_seen,
        data=options.data,
        data_root=options.data_root,
        loading=loading_of(options),
    )
    if options.out is not None:
        lines = [json.dumps({"user": user, **vars(hit)}) + "\n" for user, hits in found.items() for hit in hits]
        with atomic_write(options.out) as temporary:
            temporary.write_text("".join(lines), encoding="utf-8")
        return
    for user, hits in found.items():
        titled = any(hit.title != hit.item for hit in hits)
        columns = {"": "right", "score": "right", "item": "left", **({"title": "left"} if titled else {})}
        rows = [[hit.rank, f"{hit.score:.3f}", hit.item, *([hit.title] if titled else [])] for hit in hits]
        show(user, columns, rows)
