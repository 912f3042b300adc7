"""Files and contents of a column, which stay where they are: which of them can be read."""

import logging
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor

from dipole.data.multimodal.kinds import source_of
from dipole.data.source import Source
from dipole.data.stored import Cells, Made, filled
from dipole.data.stored.unpacked import state_of
from dipole.files import cache_folder, read_json, write_json

logger = logging.getLogger(__name__)
ALL_CHECKED, DRAWN = 50_000, 10_000  # rows: up to the first all are looked at, of more so many
AT_ONCE = 256
Check = Callable[[Source], str | None]
Skipped = list[tuple[str, str]]


def checked_sources(
    folder: Path, name: str, cells: Sequence[Any], check: Check, skipped: Skipped, *, everything: bool = False
) -> tuple[Sequence[Source | None], Bool[Tensor, " n"]]:
    """Return files or contents, and which of them can be read; each different file is looked at once.

    Of more than 50,000 rows, 10,000 are drawn and looked at, always the same, unless everything is asked for; what is
    damaged in the others shows when it is read. What a look at everything found in shards is kept in `cache_folder()`
    while they are the same.

    Args:
        folder: to which paths are relative.
        name: of the column.
        cells: paths or contents.
        check: returns why one cannot be read, or None.
        skipped: to which what cannot be read is added.
        everything: look at all rows.
    """
    sources = Made(cells, partial(_source, folder))
    present = filled(cells)
    rows = np.flatnonzero(present)
    drawn = len(rows) > ALL_CHECKED and not everything
    if drawn:
        rows = np.sort(np.random.default_rng(0).choice(rows, DRAWN, replace=False))
    kept = _kept(cells, check) if everything and len(rows) > ALL_CHECKED else None
    found = _remembered(kept)
    if found is None:
        found, in_store = _looked_at(folder, name, sources, rows, check)
        if kept is not None and in_store:
            write_json(kept, [[row, said, reason] for row, said, reason in found])
    broken = [row for row, _, _ in found]
    skipped.extend(dict.fromkeys((said, reason) for _, said, reason in found))
    present[broken] = False
    if drawn and broken:
        logger.warning(
            "%s: %d of %d cells that were looked at, of %d, cannot be read and are left out. Others like them stop a "
            "run when they are read; --loading.check all finds and leaves out all.",
            name, len(broken), DRAWN, int(present.sum()) + len(broken),
        )  # fmt: skip
    return sources, torch.from_numpy(present)


def _looked_at(
    folder: Path, name: str, sources: Sequence[Source | None], rows: np.ndarray, check: Check
) -> tuple[list[tuple[int, str, str]], bool]:
    """Rows that cannot be read, with what they are called and why; and whether all lie in the store itself."""
    reasons: dict[Path, str | None] = {}
    broken: list[tuple[int, str, str]] = []
    with ThreadPoolExecutor() as pool:
        for start in _shown(range(0, len(rows), AT_ONCE), name):
            some = rows[start : start + AT_ONCE].tolist()
            found = [sources[row] for row in some]
            new = list(dict.fromkeys(source for source in found if source is not None and source not in reasons))
            told = dict(zip(new, pool.map(check, new), strict=True))
            # Contents are not kept: they are what does not fit in memory.
            reasons.update((source, reason) for source, reason in told.items() if isinstance(source, Path))
            for row, source in zip(some, found, strict=True):
                reason = None if source is None else told[source] if source in told else reasons[source]
                if source is not None and reason is not None:
                    broken.append((row, _said(name, source, folder), reason))
    return broken, not reasons


def _shown(starts: range, name: str) -> Iterable[int]:
    """The places, with a progress bar where there are many and somebody looks."""
    if len(starts) * AT_ONCE <= ALL_CHECKED or not sys.stderr.isatty():
        return starts
    from rich.console import Console
    from rich.progress import track

    return track(starts, f"checking {name}", console=Console(stderr=True), transient=True)


def _kept(cells: Sequence[Any], check: Check) -> Path | None:
    """Where the outcome of a look at all cells is kept; None where they are in no shards."""
    if not isinstance(cells, Cells) or not cells.store.paths:
        return None
    said = [cells.name, check.__name__, *(part for path in cells.store.paths for part in state_of(path))]
    digest = blake2b("\n".join(said).encode(), digest_size=12).hexdigest()
    return cache_folder() / "checked" / f"rows-{digest}.json"


def _remembered(path: Path | None) -> list[tuple[int, str, str]] | None:
    """The outcome of a look at all cells, if it is known."""
    if path is None or not path.is_file():
        return None
    return [(int(row), str(said), str(reason)) for row, said, reason in read_json(path)]


def _source(folder: Path, row: int, value: Any) -> Source | None:
    """File or content of a cell."""
    return source_of(folder, value, f"row {row + 1}")


def _said(name: str, source: Source, folder: Path) -> str:
    """How a file or a content is named."""
    return f"{name} {os.path.relpath(source, folder) if isinstance(source, Path) else source}"
