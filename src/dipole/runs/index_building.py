"""Build an index of embeddings shard by shard (FAISS); what was interrupted goes on, what is new is added alone."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from dipole.errors import InputError
from dipole.files import atomic_write, write_json
from dipole.runs.fingerprint import check_same_model
from dipole.runs.vector_index import (
    DESCRIPTION,
    INDEX,
    KEPT,
    LISTS,
    ROWS,
    IndexSettings,
    VectorIndex,
    index_description,
    inverted_lists,
    numbered,
    prepared,
    silent,
)
from dipole.runs.vectors import Shard, open_shards, sampled_rows

TRAINED, PARTS = "trained.faiss", "parts"
ROWS_A_LIST = 64  # rows that an inverted list is trained with, at most
Report = Callable[[str], None]


def build_index(
    embeddings: str | Path, out: str | Path, settings: IndexSettings | None = None, report: Report = lambda text: None
) -> VectorIndex:
    """Make an index of a Parquet file of embeddings, or of a folder of such files.

    An index with inverted lists (`IVF`) is made of a part for each file: a build that was interrupted goes on with
    the next part, and files that are new or have changed are added alone, by the quantiser that was trained at first.
    Its lists stay on disk and are mapped into memory. Other indexes are made in one go.

    Douze et al.: *The FAISS library* (2024).

    Args:
        embeddings: what `dipole embed` wrote.
        out: folder of the index.
        settings: how it is made.
        report: is told what is done.

    Raises:
        InputError: the embeddings cannot be read, FAISS does not know the factory, the folder holds another index, or
            another model made the embeddings than the run, or than those of the index.
    """
    settings = settings or IndexSettings()
    shards, folder = open_shards(embeddings), Path(out)
    wanted = {**asdict(settings), "dimensions": shards[0].dimensions}
    states = {shard.path.name: [shard.rows, *shard.state] for shard in shards}
    before = index_description(folder)
    if before is not None and before["settings"] != wanted:
        raise InputError(f"{folder} holds an index with other settings, {before['settings']}: choose another --out.")
    made_by = shards[0].model
    known = made_by if before is None else before.get("model")
    if settings.run is not None:
        check_same_model(made_by, settings.run, str(embeddings))
    if None not in (made_by, known) and made_by != known:
        raise InputError(f"{folder} holds an index of embeddings of another model: choose another --out.")
    said = {"settings": wanted, "model": made_by or known}
    done = {} if before is None else dict(before["shards"])
    if before is not None and before["whole"] and {name: entry[:3] for name, entry in done.items()} == states:
        return VectorIndex(folder)
    if before is None and folder.is_dir() and any(folder.iterdir()):
        raise InputError(f"{folder} holds other files than an index: choose another --out.")
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / DESCRIPTION, {**said, "shards": done, "whole": False})
    trained = _trained(shards, folder, settings, report)
    if inverted_lists(trained) is None:
        _add_all(trained, shards, folder, settings, report)
        firsts = np.cumsum([0, *(shard.rows for shard in shards)]).tolist()
        done = {shard.path.name: [*states[shard.path.name], firsts[n]] for n, shard in enumerate(shards)}
    else:
        done = _add_parts(shards, folder, settings, said, done, report)
    _write_rows(shards, folder / ROWS)
    if settings.keep_vectors:
        _keep(shards, folder / KEPT, settings)
    write_json(folder / DESCRIPTION, {**said, "shards": done, "whole": True})
    return VectorIndex(folder)


def _trained(shards: Sequence[Shard], folder: Path, settings: IndexSettings, report: Report) -> Any:
    """The empty index, trained on a sample of the rows; that of before if there is one."""
    import faiss

    path = folder / TRAINED
    if path.is_file():
        return faiss.read_index(str(path))
    try:
        index = faiss.index_factory(shards[0].dimensions, settings.factory, faiss.METRIC_INNER_PRODUCT)
    except RuntimeError as error:
        reason = str(error).split("Error:")[-1].strip()
        raise InputError(
            f"FAISS cannot make an index {settings.factory!r} of {shards[0].dimensions} dimensions ({reason}): try "
            "Flat, SQ8, HNSW32 or IVF1024,PQ32, where PQ's number divides the dimensions."
        ) from error
    if index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise InputError(f"an index {settings.factory!r} does not compare by inner products: choose another --factory.")
    if not index.is_trained:
        lists = inverted_lists(index)
        count = ROWS_A_LIST * (256 if lists is None else max(256, lists.nlist))
        sample = prepared(sampled_rows(shards, count, settings.seed), settings)
        least = 256 if lists is None else lists.nlist
        if len(sample) < least:
            raise InputError(f"{settings.factory} is trained on {least} rows at least; there are {len(sample)}.")
        report(f"training {settings.factory} on {len(sample)} rows")
        if lists is not None:
            lists.cp.seed = settings.seed + 1
        with silent():
            index.train(sample)
    with atomic_write(path) as temporary:
        faiss.write_index(index, str(temporary))
    return index


def _add_all(index: Any, shards: Sequence[Shard], folder: Path, settings: IndexSettings, report: Report) -> None:
    """Add every row to an index without inverted lists, and write it."""
    import faiss

    for shard in shards:
        report(f"adding {shard.path.name}, {shard.rows} rows")
        for piece in shard.pieces():
            index.add(prepared(piece, settings))
    with atomic_write(folder / INDEX) as temporary:
        faiss.write_index(index, str(temporary))


def _add_parts(
    shards: Sequence[Shard],
    folder: Path,
    settings: IndexSettings,
    said: Mapping[str, Any],
    done: dict[str, Any],
    report: Report,
) -> dict[str, Any]:
    """Make a part of every file that has none yet, then join the lists of all parts on disk.

    Returns:
        Rows, state and first number of each file.
    """
    import faiss
    from faiss.contrib.ondisk import merge_ondisk

    (folder / PARTS).mkdir(exist_ok=True)
    parts = {shard.path.name: folder / PARTS / f"{shard.path.stem}.faiss" for shard in shards}
    for shard in shards:
        name, state = shard.path.name, [shard.rows, *shard.state]
        if done.get(name, [])[:3] == state and parts[name].is_file():
            continue
        report(f"adding {name}, {shard.rows} rows")
        own = faiss.read_index(str(folder / TRAINED))
        first = number = max((entry[3] + entry[0] for entry in done.values()), default=0)
        for piece in shard.pieces():
            own.add_with_ids(prepared(piece, settings), np.arange(number, number + len(piece)))
            number += len(piece)
        with atomic_write(parts[name]) as temporary:
            faiss.write_index(own, str(temporary))
        done[name] = [*state, first]
        write_json(folder / DESCRIPTION, {**said, "shards": done, "whole": False})
    report(f"joining {len(shards)} parts")
    whole = faiss.read_index(str(folder / TRAINED))
    lists = folder / LISTS
    lists.unlink(missing_ok=True)
    with silent():
        merge_ondisk(whole, [str(path) for path in parts.values()], str(lists))
    whole.ntotal = sum(shard.rows for shard in shards)
    with atomic_write(folder / INDEX) as temporary:
        faiss.write_index(whole, str(temporary))
    for path in set((folder / PARTS).iterdir()) - set(parts.values()):
        path.unlink()  # of files that are gone
    return {name: done[name] for name in parts}


def _write_rows(shards: Sequence[Shard], path: Path) -> None:
    """Write what the rows are, without the vectors."""
    import pyarrow.parquet as pq

    with atomic_write(path) as temporary:
        writer = None
        for shard in shards:
            with pq.ParquetFile(shard.path) as file:
                writer = writer or pq.ParquetWriter(
                    temporary, file.schema_arrow.remove(file.schema_arrow.get_field_index("vector"))
                )
                for batch in file.iter_batches(columns=list(shard.columns)):
                    writer.write_batch(batch)
        assert writer is not None
        writer.close()


def _keep(shards: Sequence[Shard], path: Path, settings: IndexSettings) -> None:
    """Write the vectors in 16 bits."""
    shape = (sum(shard.rows for shard in shards), shards[0].dimensions)
    with atomic_write(path) as temporary:
        stored = np.lib.format.open_memmap(temporary, mode="w+", dtype=np.float16, shape=shape)
        for first, piece in numbered(shards):
            stored[first : first + len(piece)] = prepared(piece, settings)
        stored.flush()
