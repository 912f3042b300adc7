"""`dipole analyse`."""

from collections.abc import Sequence

from dipole.cli.parsing import parse, parser
from dipole.cli.tables import show
from dipole.errors import InputError


def run(arguments: Sequence[str]) -> None:
    """Print a row for each temperature."""
    parser_ = parser("analyse", "Show how strongly each temperature would penalise the negatives of a run.")
    parser_.add_argument("path", type=str, help="run directory")
    parser_.add_argument("--temperatures", type=str, default="0.07,0.2,0.5,1.0", help="values with commas between")
    parser_.add_argument("--data_root", type=str | None, default=None, help="folder of named data sets")
    options = parse(parser_, arguments)
    try:
        temperatures = [float(value) for value in options.temperatures.split(",")]
    except ValueError as error:
        raise InputError(
            f"--temperatures is {options.temperatures!r}: expected numbers with commas between, e.g. 0.1,0.5."
        ) from error

    from dipole.runs.look import analyse_temperatures

    found = analyse_temperatures(options.path, temperatures, data_root=options.data_root)
    rows = [
        [
            row["temperature"],
            row["entropy"],
            f"{row['effective_negatives']:.1f}",
            *_shares(row["penalty_by_similarity"]),
        ]
        for row in found
    ]
    columns = {
        "temperature": "right",
        "entropy (nats)": "right",
        "negatives penalised": "right",
        "penalty of s > 0.5": "right",
        "of s in [0, 0.5]": "right",
        "of s < 0": "right",
    }
    first = found[0]
    tolerance = "" if first["tolerance"] is None else f", tolerance {first['tolerance']:.3f}"
    caption = (
        f"−uniformity {-first['uniformity']:.3f}{tolerance}, positive similarity {first['positive_similarity']:.3f}, "
        f"nearest negative {first['top_negative_similarity'][0]:.3f}\n"
        "penalty: mean share of an anchor's repulsion that falls on one negative of that similarity"
    )
    show(f"{options.path}: what a temperature penalises", columns, rows, caption=caption)


def _shares(penalties: list[float | None]) -> list[str]:
    """The mean penalty of the pairs above 0.5, from 0 to 0.5, and below 0, of equal bins on [−1, 1]."""
    count = len(penalties)
    parts = penalties[3 * count // 4 :], penalties[count // 2 : 3 * count // 4], penalties[: count // 2]
    means = []
    for part in parts:
        known = [value for value in part if value is not None]
        means.append(f"{sum(known) / len(known):.2g}" if known else "–")
    return means
