"""Tables on the terminal."""

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text


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
        table.add_column(as_text(heading), justify=justify)  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*map(_cell, row))
    terminal = Terminal(highlight=False)
    # Outside the table, which would break paths and commands at its own width.
    terminal.print(as_text(title), style="italic", soft_wrap=True)
    terminal.print(table)
    if caption is not None:
        terminal.print(as_text(caption), style="dim italic", soft_wrap=True)


def as_text(text: str) -> Text:
    """Return text that is shown as it is: brackets are no markup, and nothing in it moves the cursor.

    Example:
        >>> as_text("[INST] hello\x1b[2J").plain
        '[INST] hello\ufffd[2J'
    """
    return Text("".join(sign if sign.isprintable() or sign in "\n\t" else "\ufffd" for sign in text))


def _cell(value: Any) -> Text:
    if value is None:
        return Text("–")
    return as_text(f"{value:.4f}" if isinstance(value, float) else str(value))


def shortened(value: Any, longest: int = 100) -> str:
    """Return the beginning of a value, on one line.

    Args:
        value: of a cell.
        longest: characters.

    Example:
        >>> shortened("a text\\non two lines", longest=10)
        'a text o …'
    """
    line = " ".join(str(value).split())
    return line if len(line) <= longest else line[: longest - 2].rstrip() + " …"
