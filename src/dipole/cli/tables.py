"""Tables on the terminal."""

from typing import Any

from rich.console import Console
from rich.table import Table


def show(title: str, columns: dict[str, str], rows: list[list[Any]], *, caption: str | None = None) -> None:
    """Print a table.

    Args:
        title: above it.
        columns: headings with their alignment, `"left"` or `"right"`.
        rows: cells; None is shown as a dash, numbers with four decimals.
        caption: below it.
    """
    table = Table(title=title, caption=caption, title_justify="left", caption_justify="left")
    for heading, justify in columns.items():
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*map(_cell, row))
    Console().print(table)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
