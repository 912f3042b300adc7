"""Embeddings of a large source in many Parquet files, by several workers, gone on with after an interruption."""

import json
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from multiprocessing import get_context
from os import cpu_count
from pathlib import Path
from typing import Any, Literal

import torch

from dipole.errors import InputError
from dipole.ops.checks import check_at_least, check_choice
from dipole.runs.embedding import Precision, computing, open_source, table_of
from dipole.runs.fingerprint import model_fingerprint
from dipole.runs.output_folder import OutputFolder

DESCRIPTION, DONE, ERRORS = "embeddings.json", "_done", "errors.jsonl"
Engine = Literal["local", "ray"]


@dataclass(frozen=True)
class Embedding:
    """What workers embed, and how.

    Attributes:
        run: a run, a model folder, or a folder of sentence-transformers or transformers.
        source: what the domain of the run embeds.
        out: folder, or address such as `s3://bucket/name`, of the shards.
        data_root: folder of named data sets.
        batch_size: how many are embedded at once.
        shard_rows: entries of the source in a shard.
        loading: how the source is read, where it differs from the run.
        precision: `"bf16"` multiplies matrices in bfloat16.
    """

    run: str
    source: str
    out: str
    data_root: str | None = None
    batch_size: int = 256
    shard_rows: int = 8192
    loading: Mapping[str, Any] | None = None
    precision: Precision = "32-true"

    def __post_init__(self) -> None:
        check_at_least(self.shard_rows, 1, "shard_rows")

    def anywhere(self) -> "Embedding":
        """Return the same with paths that lead to the same places from any folder, for workers that start elsewhere.

        Example:
            >>> Embedding("/runs/a", "toy-sentences", "s3://bucket/out").anywhere().out
            's3://bucket/out'
        """

        def there(path: Any) -> Any:
            return str(Path(path).expanduser().absolute()) if path and Path(path).expanduser().exists() else path

        loading = {
            name: there(value) if isinstance(value, str) else value for name, value in (self.loading or {}).items()
        }
        out = self.out if "://" in self.out else str(Path(self.out).expanduser().absolute())
        paths = {"run": there(self.run), "source": there(self.source), "data_root": there(self.data_root)}
        return replace(self, **paths, out=out, loading=loading)


@dataclass(frozen=True)
class EmbeddedShards:
    """What `embed_to_shards` wrote.

    Attributes:
        out: the folder.
        shards: number of them, and how many of them were there before.
        present: of the shards, those that were there before.
        rows: number of embeddings.
        skipped: number of entries without one; `errors.jsonl` names them.
    """

    out: str
    shards: int
    present: int
    rows: int
    skipped: int


class ShardWriter:
    """A worker: opens model and source once, and writes the shards that it is told to.

    Args:
        embedding: what and how.
        threads: of the processor; as many as torch takes if None.
        number: of the worker, which chooses a GPU where there are several.
    """

    def __init__(self, embedding: Embedding, threads: int | None = None, number: int = 0) -> None:
        if threads is not None:
            torch.set_num_threads(threads)
        devices = torch.cuda.device_count()
        self.embedding, self.folder = embedding, OutputFolder(embedding.out)
        self.found = open_source(
            embedding.run,
            embedding.source,
            data_root=embedding.data_root,
            batch_size=embedding.batch_size,
            loading=embedding.loading,
            device=f"cuda:{number % devices}" if devices else "cpu",
        )
        if self.found.part is None or self.found.count is None:
            raise InputError(
                f"{embedding.source} is embedded as a whole: name a file, --out embeddings.parquet, and no workers."
            )
        self.count: int = self.found.count
        self.model = model_fingerprint(embedding.run)
        self.first_skipped = list(self.found.skipped)

    def write(self, shard: int) -> int:
        """Write a shard and then the note that it is done.

        Returns:
            The shard.
        """
        assert self.found.part is not None
        self.found.skipped.clear()
        start = shard * self.embedding.shard_rows
        end = min(start + self.embedding.shard_rows, self.count)
        with torch.inference_mode(), computing(self.embedding.precision):
            tables = [table_of(columns, vectors, self.model) for columns, vectors in self.found.part(start, end)]
        rows = sum(len(table) for table in tables)
        if tables:
            self.folder.write_table(part_name(shard), tables)
        note = {"rows": rows, "skipped": [list(entry) for entry in self.found.skipped]}
        self.folder.write(note_name(shard), json.dumps(note).encode())
        return shard


def embed_to_shards(
    embedding: Embedding, *, workers: int = 1, engine: Engine = "local", progress: bool = False
) -> EmbeddedShards:
    """Embed a source into a folder of Parquet files, each of `shard_rows` entries of the source.

    The rows are those of `embed_to_parquet`. A shard is whole or absent; those that are there are not made again, so
    that what was interrupted goes on. `errors.jsonl` names what has no embedding.

    Args:
        embedding: what and how.
        workers: processes that embed, each with its own copy of the model.
        engine: `"local"`, processes of this machine; `"ray"`, of the Ray cluster that is reached (`RAY_ADDRESS`), which
            must see the model, the source and the folder at the same places.
        progress: show a progress bar.

    Raises:
        InputError: the source cannot be embedded in parts, a worker ended, Ray is not installed, or the folder holds
            embeddings of another model or source.
    """
    check_at_least(workers, 1, "workers")
    check_choice(engine, ("local", "ray"), "engine")
    folder = OutputFolder(embedding.out)
    first = ShardWriter(embedding)
    _describe(folder, embedding, first.count)
    shards = -(-first.count // embedding.shard_rows)
    names = folder.names(DONE)
    todo = [shard for shard in range(shards) if note_name(shard).rpartition("/")[2] not in names]
    if engine == "ray":
        written = _by_ray(embedding, todo, workers)
    elif workers == 1 or len(todo) < 2:
        written = map(first.write, todo)
    else:
        written = _by_processes(embedding, todo, min(workers, len(todo)))
    if progress and todo:
        from rich.console import Console
        from rich.progress import track

        written = iter(track(written, total=len(todo), description="embedding shards", console=Console(stderr=True)))
    for _ in written:
        pass
    notes = [json.loads(folder.read(note_name(shard))) for shard in range(shards)]
    skipped = first.first_skipped + [tuple(entry) for note in notes for entry in note["skipped"]]
    rows = sum(note["rows"] for note in notes)
    if not rows:
        raise InputError(first.found.empty)
    lines = [json.dumps({"id": name, "reason": reason}) + "\n" for name, reason in skipped]
    folder.write(ERRORS, "".join(lines).encode())
    return EmbeddedShards(embedding.out, shards, shards - len(todo), rows, len(skipped))


def part_name(shard: int) -> str:
    """Return the name of a shard.

    Example:
        >>> part_name(7)
        'part-000007.parquet'
    """
    return f"part-{shard:06d}.parquet"


def note_name(shard: int) -> str:
    """Return the name of the note that a shard is done.

    Example:
        >>> note_name(7)
        '_done/000007.json'
    """
    return f"{DONE}/{shard:06d}.json"


def _describe(folder: OutputFolder, embedding: Embedding, count: int) -> None:
    """Write what the folder holds, or require that it is this.

    Raises:
        InputError: it holds something else.
    """
    source = Path(embedding.source).expanduser()
    described = {
        "model": model_fingerprint(embedding.run),
        "source": str(source.absolute()) if source.exists() else embedding.source,
        "entries": count,
        "shard_rows": embedding.shard_rows,
        "loading": dict(embedding.loading or {}),
        "precision": embedding.precision,
    }
    if source.is_file():
        described["size"] = source.stat().st_size
    if DESCRIPTION in folder.names():
        before = json.loads(folder.read(DESCRIPTION))
        for name, value in described.items():
            if before.get(name) != value:
                raise InputError(
                    f"{embedding.out} holds embeddings of another {name} ({before.get(name)!r}, now {value!r}): choose "
                    "another --out."
                )
        return
    if folder.names():
        raise InputError(f"{embedding.out} holds other files than embeddings: choose another --out.")
    folder.write(DESCRIPTION, json.dumps(described, indent=2).encode())


def _by_processes(embedding: Embedding, todo: list[int], workers: int) -> Iterator[int]:
    """Shards as processes of this machine have written them.

    Raises:
        InputError: one of them has ended.
    """
    threads = max(1, (cpu_count() or 1) // workers)
    context = get_context("spawn")
    numbers = context.Queue()
    for number in range(workers):
        numbers.put(number)
    with ProcessPoolExecutor(workers, context, _begin, (embedding, threads, numbers)) as pool:
        try:
            yield from pool.map(_write, todo)
        except BrokenProcessPool as error:
            raise InputError(
                "a worker has ended before its time, perhaps for want of memory: run it again with fewer --workers; "
                "what is done is kept."
            ) from error


_worker: dict[str, ShardWriter] = {}  # of a process of `_by_processes`


def _begin(embedding: Embedding, threads: int, numbers: Any) -> None:
    """Make the worker of a process."""
    _worker["this"] = ShardWriter(embedding, threads, numbers.get())


def _write(shard: int) -> int:
    """Let the worker of this process write."""
    return _worker["this"].write(shard)


def _by_ray(embedding: Embedding, todo: list[int], workers: int) -> Iterator[int]:
    """Shards as actors of Ray have written them.

    Raises:
        InputError: Ray is not installed.
    """
    try:
        import ray
        from ray.util import ActorPool
    except ImportError as error:
        raise InputError("Ray is not installed: pip install 'dipole[ray]', or leave out --engine.") from error
    if not ray.is_initialized():
        ray.init(include_dashboard=False, log_to_driver=False)
    share = ray.cluster_resources().get("GPU", 0) / workers
    actor = ray.remote(num_cpus=1, num_gpus=min(1.0, share), max_restarts=2, max_task_retries=2)(ShardWriter)
    pool = ActorPool([actor.remote(embedding.anywhere()) for _ in range(min(workers, max(1, len(todo))))])
    yield from pool.map_unordered(lambda writer, shard: writer.write.remote(shard), todo)
