"""Which files have been found sound, so that a folder that was looked through once opens at once."""

import hashlib
import logging
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from dipole.errors import InputError
from dipole.files import cache_folder, read_json, write_json

logger = logging.getLogger(__name__)
FEWEST_REMEMBERED = 100  # files, below which a look takes no time
FEWEST_SHOWN = 2000  # files, from which a look shows a progress bar
Check = Callable[[Path], str | None]


def damaged_files(root: Path, paths: Sequence[str], check: Check, *, remember: str | None = None) -> dict[str, str]:
    """Check many files at once, and return the reason against each of those that fail.

    Files that were sound before, and have the size and the time of modification that they had then, are not read
    again: their names are kept in `cache_folder()`, a file for each folder. Nothing else is, so that a damaged file is
    checked each time.

    Args:
        root: folder of the files.
        paths: relative to it.
        check: returns why a file fails, or None.
        remember: name of the check, under which its outcome is kept; None to keep nothing.

    Example:
        >>> damaged_files(Path("nowhere"), ["a.png"], lambda path: None if path.is_file() else "missing")
        {'a.png': 'missing'}
    """
    kept = _kept(root, remember) if remember and len(paths) >= FEWEST_REMEMBERED else None
    known = {} if kept is None else _read(kept)
    states = {path: _state(root, path) for path in paths} if kept is not None else {}
    unknown = [path for path in paths if kept is None or states[path] is None or known.get(path) != states[path]]
    damaged = dict(_checked(root, unknown, check))
    if kept is not None and unknown:
        sound = {path: state for path, state in states.items() if path not in damaged and state is not None}
        if sound != known:
            # A folder that cannot be written costs time, nothing else.
            with suppress(OSError):
                write_json(kept, sound)
    return damaged


def _checked(root: Path, paths: Sequence[str], check: Check) -> list[tuple[str, str]]:
    """Apply the check; threads hide the time that disks take."""
    with ThreadPoolExecutor(8) as pool:
        found: Any = zip(paths, pool.map(check, [root / path for path in paths]), strict=True)
        if len(paths) >= FEWEST_SHOWN and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import track

            found = track(found, f"checking {root}", total=len(paths), console=Console(stderr=True), transient=True)
        return [(path, reason) for path, reason in found if reason is not None]


def _state(root: Path, path: str) -> list[int] | None:
    """Size and time of modification, in nanoseconds; None of what is not there."""
    try:
        found = os.stat(os.path.join(root, path))
    except OSError:
        return None
    return [found.st_size, found.st_mtime_ns]


def _kept(root: Path, name: str) -> Path:
    """Where the files of a folder that were sound are listed."""
    place = hashlib.blake2b(os.fsencode(root.resolve()), digest_size=12).hexdigest()
    return cache_folder() / "checked" / f"{name}-{place}.json"


def _read(path: Path) -> dict[str, Any]:
    """A list that was kept; empty if there is none, or none that can be read."""
    if not path.is_file():
        return {}
    try:
        found = read_json(path)
    except InputError as error:
        logger.warning("%s is damaged and is made anew: %s", path, error)
        return {}
    return found if isinstance(found, dict) else {}
