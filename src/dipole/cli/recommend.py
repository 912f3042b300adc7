"""`dipole recommend`."""

from collections.abc import Sequence

from dipole.cli.loading import add_loading, loading_of, renamed
from dipole.cli.parsing import parse, parser
from dipole.cli.tables import show


def run(arguments: Sequence[str]) -> None:
    """Recommend items and print or write them."""
    parser_ = parser("recommend", "Recommend items to users with the model of a run.")
    parser_.add_argument("run", type=str, help="run directory or model folder of a recommender")
    parser_.add_argument("user", type=str, nargs="*", help="users of the data")
    parser_.add_argument("--users", type=str | None, default=None, help="`all`, or a file that names users")
    history = "instead of users: items used, with commas; in quotes where a name has one"
    parser_.add_argument("--history", type=str | None, default=None, help=history)
    parser_.add_argument("--k", type=int, default=10, help="items for each user")
    parser_.add_argument("--items", type=str | None, default=None, help="file of the only items to recommend")
    exclude = "file of what not to recommend: items, or pairs of a user and an item"
    parser_.add_argument("--exclude", type=str | None, default=None, help=exclude)
    parser_.add_argument("--include_seen", action="store_true", help="also what the user has used before")
    parser_.add_argument("--data", type=str | None, default=None, help="other interactions than the run's")
    parser_.add_argument("--data_root", type=str | None, default=None, help="folder of named data sets")
    out = "write there instead of tables: .jsonl, .csv or .parquet"
    parser_.add_argument("--out", type=str | None, default=None, help=out)
    add_loading(parser_, arguments)
    options = parse(parser_, renamed(arguments))

    from dipole.errors import InputError
    from dipole.runs.recommend import recommend
    from dipole.runs.recommend_files import (
        check_out,
        read_excluded,
        read_names,
        read_users,
        split_items,
        write_recommendations,
    )

    if options.user and options.users is not None:
        raise InputError("name users, or give --users; not both.")
    if options.out is not None:
        check_out(options.out)
    allowed = options["items"]  # the attribute is a method of the namespace
    found = recommend(
        options.run,
        (options.user or ()) if options.users is None else read_users(options.users),
        items=[] if options.history is None else split_items(options.history),
        k=options.k,
        include_seen=options.include_seen,
        allowed=None if allowed is None else read_names(allowed, "item"),
        excluded=None if options.exclude is None else read_excluded(options.exclude),
        data=options.data,
        data_root=options.data_root,
        loading=loading_of(options),
    )
    if options.out is not None:
        write_recommendations(options.out, found)
        users, rows = len(found), sum(map(len, found.values()))
        show(options.out, {"": "left", "value": "right"}, [["users", users], ["recommendations", rows]])
        return
    for user, hits in found.items():
        titled = any(hit.title != hit.item for hit in hits)
        columns = {"": "right", "score": "right", "item": "left", **({"title": "left"} if titled else {})}
        rows_ = [[hit.rank, f"{hit.score:.3f}", hit.item, *([hit.title] if titled else [])] for hit in hits]
        show(user, columns, rows_)
