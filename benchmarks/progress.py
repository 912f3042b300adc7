"""What a benchmark shows while it measures: how far it is, and each row of its table as it comes."""

import sys
from collections.abc import Iterable, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track
from rich.table import Table

Item = TypeVar("Item")


def tracked(items: Sequence[Item], name: str) -> Iterable[Item]:
    """The items, with a bar on the error output that says when they will be done."""
    return track(items, name, console=Console(stderr=True))


def add_row(table: Table, *cells: str) -> None:
    """Add a row to the table, and print it on the error output now."""
    table.add_row(*cells)
    print(*cells, sep="  ", file=sys.stderr, flush=True)
