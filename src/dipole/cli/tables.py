"""Tables on the terminal."""

from typing import Any

from rich.console import Console
from rich.table import Table


class Terminal(Console):
    """Standard output; that its reader has left is for the command line to handle."""

    def on_broken_pipe(self) -> None:
        """Raise the error again, where rich would end the process with exit code 1."""
        raise


def show(title: str, columns: dict[str, str], rows: list[list[Any]], *, caption: str | None = None) -> None:
    """Print a table.

    Args:
        title: above it.
        columns: headings with their alignment, `"left"` or `"right"`.
        rows: cells; None is shown as a dash, numbers with four decimals.
        caption: below it.
    """
    table = Table()
    for heading, justify in columns.items():
        table.add_column(heading, justify=justify)  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*map(_cell, row))
    terminal = Terminal(highlight=False)
    # Outside the table, which would break paths and commands at its own width.
    terminal.print(title, style="italic", soft_wrap=True, markup=False)
    terminal.print(table)
    if caption is not None:
        terminal.print(caption, style="dim italic", soft_wrap=True, markup=False)


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.4f}" if isinstance(value, float) else str(value)
