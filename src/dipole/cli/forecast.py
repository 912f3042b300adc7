"""`dipole forecast`."""

from collections.abc import Sequence

from dipole.cli.loading import add_loading, loading_of, renamed
from dipole.cli.parsing import parse, parser
from dipole.cli.tables import show

MOST = 60  # rows on the terminal


def run(arguments: Sequence[str]) -> None:
    """Forecast and print or write the values."""
    parser_ = parser("forecast", "Forecast the steps after the end of a series, with 95 % intervals from past errors.")
    parser_.add_argument("run", type=str, help="run directory or model folder of a method of time series")
    parser_.add_argument("source", type=str, help="table of the columns that the run was trained on")
    parser_.add_argument("--steps", type=int, default=24, help="to forecast")
    parser_.add_argument("--data_root", type=str | None, default=None, help="folder of named data sets")
    parser_.add_argument("--out", type=str | None, default=None, help="write there instead: .csv or .parquet")
    add_loading(parser_, arguments)
    options = parse(parser_, renamed(arguments))

    from dipole.runs.forecast import forecast, write_forecast

    rows = forecast(
        options.run, options.source, steps=options.steps, data_root=options.data_root, loading=loading_of(options)
    )
    if options.out is not None:
        write_forecast(options.out, rows)
        show(options.out, {"": "left", "value": "right"}, [["forecasts", len(rows)]])
        return
    columns = {"series": "left", "time": "left", "column": "left", "forecast": "right", "95 % interval": "right"}
    shown = [
        [row.series, row.time, row.column, f"{row.forecast:.4g}", f"{row.low:.4g} … {row.high:.4g}"] for row in rows
    ]
    show(f"{options.run}: {options.steps} steps", columns, shown[:MOST])
    if len(rows) > MOST:
        print(f"{len(rows) - MOST} more; --out writes them all.")
