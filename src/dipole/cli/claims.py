"""`dipole claims`."""

from collections.abc import Sequence
from typing import Any

from dipole.cli.parsing import parse, parser
from dipole.cli.tables import Terminal, show
from dipole.errors import InputError

ACTIONS = ("list", "run", "show")
DESCRIPTION = (
    "List the claims with what their experiments found; `run SLUG` repeats an experiment and writes its result; "
    "`show SLUG` says what was done."
)


def run(arguments: Sequence[str]) -> None:
    """List claims, run one, or show one."""
    parser_ = parser("claims", DESCRIPTION)
    parser_.add_argument("action", nargs="?", type=str, default="list", help="list, run or show")
    parser_.add_argument("slug", nargs="?", type=str | None, default=None, help="the claim to run or show")
    parser_.add_argument("--seeds", type=int | None, default=None, help="number of seeds; the claim's own by default")
    parser_.add_argument("--data_root", type=str | None, default=None, help="folder of named data sets")
    parser_.add_argument("--out", type=str | None, default=None, help="folder of results; the package's by default")
    options = parse(parser_, arguments)
    if options.action not in ACTIONS:
        raise InputError(f"there is no action {options.action!r}: expected {', '.join(ACTIONS)}.")
    if options.action != "list" and options.slug is None:
        raise InputError(f"name a claim: `dipole claims {options.action} SLUG`; `dipole claims` lists them.")

    from dipole.claims import get_claim, load_results
    from dipole.claims.results import FOLDER

    out = FOLDER if options.out is None else options.out
    if options.action == "list":
        _list(load_results(out))
        return
    claim = get_claim(options.slug)
    if options.action == "run":
        from dipole.claims.runner import run_claim

        _show(run_claim(claim, seeds=options.seeds, data_root=options.data_root, out=out))
        return
    result = load_results(out).get(claim.slug)
    if result is None:
        raise InputError(f"{claim.slug} has no result in {out}: run `dipole claims run {claim.slug}`.")
    _show(result)


def _list(results: dict[str, dict[str, Any]]) -> None:
    """A row for each comparison of each claim."""
    from dipole.claims import claims

    rows: list[list[Any]] = []
    for slug, claim in claims().items():
        result = results.get(slug)
        if result is None:
            rows.append([slug, f"not run (needs {', '.join(claim.data)})", "", "", ""])
            continue
        rows.append([slug, result["summary"], "", "", result["verdict"]])
        rows += [["", f"  {name}", *rest] for name, *rest in _comparisons(result)]
    columns = {"claim": "left", "comparison": "left", "effect": "right", "95 % interval": "right", "verdict": "left"}
    show("Claims", columns, rows, caption="`dipole claims show SLUG` says what was done.")


def _comparisons(result: dict[str, Any]) -> list[list[Any]]:
    """Name, effect, interval and verdict of each comparison."""
    return [
        [
            entry["name"],
            f"{entry['effect']:+.4f}",
            "[{:+.4f}, {:+.4f}]".format(*entry["interval"]),
            entry["verdict"] if entry["judged"] else f"({entry['verdict']})",
        ]
        for entry in result["comparisons"]
    ]


def _show(result: dict[str, Any]) -> None:
    """The arms, the comparisons and the verdict of one claim."""
    from dipole.claims.results import ahead_of_all

    console = Terminal()
    console.print(
        f"{result['title']}\n\n[bold]Claim[/bold]  {result['statement']}\n[bold]Paper[/bold]  {result['paper']}"
    )
    rows: list[list[Any]] = []
    found = dict.fromkeys(key for arm in result["arms"] for key in arm["runs"][0])
    metrics = [key for key in found if key not in ("seed", "seconds")]
    for label, encoders in result["references"].items():
        rows += [
            [f"{name}, {label}", None, *(_number(values.get(key)) for key in metrics)]
            for name, values in encoders.items()
        ]
    for arm in result["arms"]:
        # Arms on other data may be measured by other metrics.
        means = [_mean([run[key] for run in arm["runs"] if key in run]) for key in metrics]
        rows.append([arm["name"], f"{arm['learning_rate']:g}", *map(_number, means)])
    seeds = len(result["seeds"])
    columns = {"arm": "left", "learning rate": "right", **dict.fromkeys(metrics, "right")}
    show(f"{result['slug']}: means of {seeds} seeds", columns, rows)
    columns = {"comparison": "left", "effect": "right", "95 % interval": "right", "verdict": "left"}
    notes = [*ahead_of_all(result), *result["notes"]]
    caption = "\n".join(f"· {note}" for note in notes) + "\n(in brackets: reported, not judged)"
    show(f"{result['slug']}: {result['verdict']}, {result['summary']}", columns, _comparisons(result), caption=caption)


def _mean(values: list[float]) -> float | None:
    """The mean; None of nothing."""
    return sum(values) / len(values) if values else None


def _number(value: float | None) -> str | None:
    """Three decimals."""
    return None if value is None else f"{value:.3f}"
