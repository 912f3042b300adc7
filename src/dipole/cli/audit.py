"""`dipole audit`."""

from collections.abc import Sequence
from typing import Any

from dipole.cli.parsing import parse, parser
from dipole.cli.tables import show
from dipole.errors import InputError

ACTIONS = ("poison",)
DESCRIPTION = (
    "Ask what could go wrong with a run. `poison RUN --target-class NAME` trains the run's method again, in memory, on "
    "its data with some images of a class changed, and measures how far that gets, and whether detectors notice. No "
    "changed training image is written."
)


def run(arguments: Sequence[str]) -> None:
    """Audit a run, and print the table."""
    parser_ = parser("audit", DESCRIPTION)
    parser_.add_argument("action", type=str, help="poison")
    parser_.add_argument("path", type=str, help="run directory")
    parser_.add_argument("--target_class", type=str, required=True, help="class that triggered images should fall into")
    parser_.add_argument("--rate", type=float, default=0.01, help="share of all training images that are changed")
    parser_.add_argument("--budget", type=float, default=8 / 255, help="largest change of a pixel, of 1")
    parser_.add_argument("--seeds", type=int, default=3, help="repetitions")
    parser_.add_argument(
        "--epochs", type=int | None, default=None, help="of each training; those of the run by default"
    )
    parser_.add_argument("--rounds", type=int, default=60, help="of the search for a trigger")
    parser_.add_argument("--width", type=int, default=64, help="channels of the generator of triggers")
    parser_.add_argument("--noise", action="store_true", help="measure fixed noise of the same budget too")
    parser_.add_argument("--patch_steps", type=int, default=200, help="of DECREE's search for a patch")
    parser_.add_argument("--data_root", type=str | None, default=None, help="folder of named data sets")
    parser_.add_argument("--out", type=str | None, default=None, help="folder of the result; RUN/audit by default")
    options = parse(parser_, arguments)
    if options.action not in ACTIONS:
        raise InputError(f"there is no audit {options.action!r}: expected {', '.join(ACTIONS)}.")

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    from dipole.runs.audit import AuditSettings, audit_poisoning
    from dipole.runs.audit.trigger import Search

    settings = AuditSettings(
        options.target_class,
        options.rate,
        options.budget,
        options.seeds,
        options.epochs,
        options.noise,
        options.patch_steps,
        search=Search(options.rounds, width=options.width),
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("audit", total=settings.parts)

        def report(text: str) -> None:
            bar.update(task, description=text, advance=1)

        found = audit_poisoning(options.path, settings, out=options.out, data_root=options.data_root, report=report)
    _table(found)
    print(f"Open {options.out or options.path + '/audit'}/poison.html in a browser.")


def _table(found: dict[str, Any]) -> None:
    """A row for each trigger."""
    rows = [
        [
            name,
            f"{row['clean_accuracy']:.1%} → {row['audited_accuracy']:.1%}",
            f"{row['success']:.1%}",
            f"{row['reference']:.1%}",
            f"{100 * row['uplift']:+.1f}",
            row["effect"],
        ]
        for name, row in found["triggers"].items()
    ]
    columns = {
        "trigger": "left",
        "accuracy": "right",
        "success": "right",
        "reference": "right",
        "uplift, points": "right",
        "effect": "left",
    }
    notes = [f"{found['changed_images']} images of class {found['target_class']} changed, in memory"]
    notes.append("self-test (rate 0): " + ("exact" if found["self_test"] else "FAILED, differences may be chance"))
    for name, row in found["detectors"].items():
        share = row["DECREE"]["share"]
        notes.append(
            f"DECREE, encoder {name!r}: " + ("no patch found" if share is None else f"{share:.1%} of the pixels")
        )
    show(f"{found['run']}: poisoning", columns, rows, caption="\n".join(notes))
