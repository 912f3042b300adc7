import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import ready_python
from dipole.errors import InputError
from dipole.nn.text import new_bert
from dipole.runs.embed import embed_to_parquet
from dipole.runs.embed_shards import Embedding, embed_to_shards, note_name, part_name
from dipole.runs.vectors import open_shards
from text_models import bert_folder

WORDS = ("bird", "tree", "book", "town", "morning", "history", "short", "text")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("source") / "lines.txt"
    drawn = np.random.default_rng(0)
    path.write_text("\n".join(" ".join(drawn.choice(WORDS, drawn.integers(1, 9))) for _ in range(100)) + "\n")
    return path


def joined(folder: Path) -> pa.Table:
    return pa.concat_tables([pq.read_table(path) for path in sorted(folder.glob("*.parquet"))])


def assert_same(shards: pa.Table, whole: pa.Table) -> None:
    assert shards.column_names == whole.column_names
    for name in set(whole.column_names) - {"vector"}:
        assert shards[name].to_pylist() == whole[name].to_pylist()
    vectors = [torch.tensor(table["vector"].to_pylist()) for table in (shards, whole)]
    torch.testing.assert_close(*vectors, rtol=0, atol=1e-6)


def test_shards_hold_what_one_file_does_and_are_not_made_again(source: Path, tmp_path: Path) -> None:
    whole = embed_to_parquet(bert_folder(), str(source), tmp_path / "whole.parquet")
    embedding = Embedding(str(bert_folder()), str(source), str(tmp_path / "out"), shard_rows=30)
    found = embed_to_shards(embedding)
    assert (found.shards, found.present, found.rows, found.skipped) == (4, 0, 100, 0)
    assert_same(joined(tmp_path / "out"), pq.read_table(whole.path))
    assert sum(shard.rows for shard in open_shards(tmp_path / "out")) == 100

    states = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").glob("*.parquet")}
    (tmp_path / "out" / note_name(2)).unlink()
    assert embed_to_shards(embedding).present == 3
    changed = [path.name for path, state in states.items() if path.stat().st_mtime_ns != state]
    assert changed == [part_name(2)]


def test_folder_of_something_else_is_refused(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    embed_to_shards(Embedding(str(bert_folder()), str(source), str(out)))
    with pytest.raises(InputError, match="another shard_rows"):
        embed_to_shards(Embedding(str(bert_folder()), str(source), str(out), shard_rows=7))
    other = new_bert(["a bird"], tmp_path / "other", width=8)
    with pytest.raises(InputError, match="another model"):
        embed_to_shards(Embedding(str(other), str(source), str(out)))
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="other files"):
        embed_to_shards(Embedding(str(bert_folder()), str(source), str(tmp_path / "notes")))
    with pytest.raises(InputError, match="shard_rows"):
        Embedding(str(bert_folder()), str(source), str(out), shard_rows=0)


def test_address_of_arrow(source: Path, tmp_path: Path) -> None:
    embed_to_shards(Embedding(str(bert_folder()), str(source), (tmp_path / "out").as_uri(), shard_rows=50))
    assert len(joined(tmp_path / "out")) == 100
    with pytest.raises(InputError, match="cannot be written to"):
        embed_to_shards(Embedding(str(bert_folder()), str(source), "nowhere://bucket"))


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    from dipole.runs import RunConfig, train

    small = {"encoder": "convnet4-4", "projection_dim": 8}
    run = train(RunConfig("simclr", epochs=1, batch_size=512, method=small), tmp_path / "run", monitor=False)
    images = tmp_path / "images"
    images.mkdir()
    for number in range(7):
        pixels = np.random.default_rng(number).integers(0, 256, (20, 24, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(images / f"{number}.png")
    (images / "0.png").write_bytes(b"no image")
    late = bytearray((images / "5.png").read_bytes())
    late[60:400] = bytes(340)  # sound at both ends
    (images / "5.png").write_bytes(late)
    whole = embed_to_parquet(run.path, str(images), tmp_path / "whole.parquet")
    found = embed_to_shards(Embedding(str(run.path), str(images), str(tmp_path / "out"), shard_rows=2, batch_size=2))
    assert (found.shards, found.rows, found.skipped) == (3, 5, 2)
    assert_same(joined(tmp_path / "out"), pq.read_table(whole.path))
    lines = (tmp_path / "out" / "errors.jsonl").read_text().splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["0.png", "5.png"]


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "ray"])
def test_two_workers_killed_once_go_on(engine: str, source: Path, tmp_path: Path) -> None:
    if engine == "ray":
        pytest.importorskip("ray")
    whole = embed_to_parquet(bert_folder(), str(source), tmp_path / "whole.parquet")
    out = tmp_path / "out"
    (tmp_path / "bert").symlink_to(bert_folder())
    (tmp_path / source.name).symlink_to(source)
    # Workers of Ray do not start in the folder that relative paths are of.
    command = ["-m", "dipole", "embed", "bert", source.name, "--out", "out"]
    command += ["--workers", "2", "--engine", engine, "--shard_rows", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
    process = ready_python.Process(*command, env=environment, cwd=tmp_path)
    while process.poll() is None and len(list((out / "_done").glob("*.json"))) < 3:
        time.sleep(0.005)
    process.signal_all(signal.SIGKILL)
    process.wait(60)
    done = {path: path.stat().st_mtime_ns for path in (out / "_done").glob("*.json")}
    assert len(done) >= 3
    result = ready_python.run(*command, env=environment, cwd=tmp_path)
    assert result.returncode == 0, result.stderr[-3000:]
    assert all(path.stat().st_mtime_ns == state for path, state in done.items())
    assert_same(joined(out), pq.read_table(whole.path))
