"""How a source of data is found by a name or a path, and what is said of one that leads nowhere."""

import difflib
import os
from collections.abc import Iterable
from pathlib import Path

from dipole.errors import InputError


def existing_root(data_root: str | Path | None) -> Path | None:
    """Return the folder of named sets; None if none is given.

    Raises:
        InputError: it is no folder.

    Example:
        >>> existing_root(None) is None
        True
    """
    root = None if data_root is None else Path(data_root).expanduser()
    if root is not None and not root.is_dir():
        raise InputError(f"--data-root {root} is no folder. Check the path.")
    return root


def existing_path(data: str, *folders: Path | None) -> Path | None:
    """Return the file or folder that a path leads to, as it is or below one of some folders; None if there is none.

    Example:
        >>> existing_path("no/such/file.csv", None) is None
        True
    """
    places = (Path(data).expanduser(), *(folder / data for folder in folders if folder is not None))
    return next((place for place in places if data and place.exists()), None)


def leads_nowhere(data: str, what: str, known: Iterable[str], instead: str = "") -> InputError:
    """Return the error for a name or a path that leads nowhere.

    Args:
        data: that was given.
        what: kind of sets that are known by name, e.g. `"known graph"`.
        known: their names; the closest is suggested.
        instead: what else can be given.

    Example:
        >>> print(leads_nowhere("digit", "known set", ["digits", "shapes"]))
        --data 'digit' is neither a known set nor a path. Did you mean 'digits'? Known: digits, shapes.
        >>> print(leads_nowhere("a/b.csv", "known set", ["digits"]))
        --data a/b.csv: there is no such file or folder. Check the path; names are digits.
    """
    names = list(known)
    listed = ", ".join(names)
    if os.sep in data or Path(data).suffix:
        return InputError(f"--data {data}: there is no such file or folder. Check the path; names are {listed}.")
    near = difflib.get_close_matches(data.lower(), names, 1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    more = f"; or {instead}" if instead else ""
    return InputError(f"--data {data!r} is neither a {what} nor a path.{hint} Known: {listed}{more}.")
