"""Embedded contents of a table or a folder, kept below the run for the next search."""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dipole.data.multimodal import ModalitySet
from dipole.files import atomic_write
from dipole.runs.embedding import table_of
from dipole.runs.fingerprint import model_fingerprint

STATE = b"dipole.state"


@dataclass(frozen=True)
class Candidates:
    """Contents that are searched, or a part of them.

    Args:
        embeddings: (N, D).
        ids: of the rows that they stand in first.
        shown: what a reader sees of each.
    """

    embeddings: Tensor
    ids: Sequence[str]
    shown: Sequence[str]


def kept_contents(
    run: str | Path,
    source: str,
    root: str | Path | None,
    loading: Mapping[str, Any],
    rows: ModalitySet,
    name: str,
    make: Callable[[], Candidates],
) -> Candidates:
    """Return the contents of a modality as they were embedded before, if model, source and reading are the same.

    They are embedded otherwise, and kept in `indexes` below the run. Files are told apart by size and time of change.
    Contents of named sets are not kept, nor of a run that cannot be written to.

    Args:
        run: whose model embeds.
        source: a table or a folder.
        root: where relative paths are looked up, too.
        loading: how the source is read.
        rows: what was read.
        name: of the modality.
        make: embeds.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    place = next((path for path in (Path(source).expanduser(), Path(root or ".") / source) if path.exists()), None)
    if place is None:
        return make()
    file = _file(run, place, name)
    state = _state(run, place, loading, rows, name)
    with suppress(OSError, pa.ArrowInvalid):
        if (pq.read_schema(file).metadata or {}).get(STATE) == state:
            table = pq.read_table(file)
            flat = np.array(table["vector"].combine_chunks().flatten())
            embeddings = torch.from_numpy(flat).view(len(table), -1)
            return Candidates(embeddings, table["id"].to_pylist(), table["text"].to_pylist())
    made = make()
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        table = table_of({"id": made.ids, "text": made.shown}, made.embeddings)
        with atomic_write(file) as temporary:
            pq.write_table(table.replace_schema_metadata({STATE: state}), temporary)
    return made


def _file(run: str | Path, place: Path, name: str) -> Path:
    """Where the contents of a modality are kept."""
    digest = hashlib.sha256(f"{place.resolve()}\0{name}".encode()).hexdigest()[:8]
    return Path(run) / "indexes" / f"{place.stem}-{digest}.parquet"


def _state(run: str | Path, place: Path, loading: Mapping[str, Any], rows: ModalitySet, name: str) -> bytes:
    """A hash of what the embeddings depend on."""
    files = [place] if place.is_file() else sorted(path for path in place.rglob("*") if path.is_file())
    files += [key for key in rows.keys(name) if isinstance(key, Path)]
    said = {
        "model": model_fingerprint(run),
        "loading": {key: str(value) for key, value in sorted(loading.items())},
        "files": [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files],
    }
    return hashlib.blake2b(json.dumps(said).encode(), digest_size=16).hexdigest().encode()
