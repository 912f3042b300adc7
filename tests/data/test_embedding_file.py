"""Embeddings that a run has written, for the images that another one clusters."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from dipole.data import load_image_sets
from dipole.data.embedding_file import read_embeddings
from dipole.errors import InputError
from dipole.runs import RunConfig, train
from dipole.runs.embed import embed_to_parquet


def written(path: Path, ids: list[str], **columns: list[str]) -> Path:
    values = pa.array([float(number) for number in range(2 * len(ids))], pa.float32())
    table = {"id": ids, "vector": pa.FixedSizeListArray.from_arrays(values, 2), **columns}
    pq.write_table(pa.table(table), path)
    return path


def test_rows_are_found_by_id_and_split(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", ["x", "y", "x"], split=["train", "train", "test"])
    assert read_embeddings(path, ["y", "x"]).tolist() == [[2.0, 3.0], [0.0, 1.0]]
    assert read_embeddings(path, ["x"], split="test").tolist() == [[4.0, 5.0]]


def test_what_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path / "a.parquet", ["x", "x"])
    bare = tmp_path / "b.parquet"
    pq.write_table(pa.table({"id": ["x"]}), bare)
    text = tmp_path / "c.parquet"
    text.write_text("id,vector\n")
    for file, ids, message in (
        (path, ["x"], "two rows with the id 'x'"),
        (written(tmp_path / "d.parquet", ["x"]), ["x", "z"], "no embedding of 1 of the 2"),
        (bare, ["x"], "no column 'vector'"),
        (text, ["x"], "cannot read"),
        (tmp_path / "nowhere.parquet", ["x"], "cannot read"),
    ):
        with pytest.raises(InputError, match=message):
            read_embeddings(file, ids)


def test_the_embeddings_of_a_run_are_clustered_by_another(tmp_path: Path) -> None:
    small = {"encoder": "convnet4-2", "projection_dim": 6}
    quick = {"epochs": 1, "batch_size": 256, "image_size": 8, "precision": "32-true"}
    first = train(RunConfig("simclr", method=small, **quick), tmp_path / "first", monitor=False, progress=False)
    file = embed_to_parquet(first.path, "digits", tmp_path / "digits.parquet").path
    method = {"encoder": "convnet4-2", "embeddings": str(file), "clusters": 9, "positives": 2, "ratio": 0.5}
    run = train(RunConfig("mlcd", method=method, **quick), tmp_path / "mlcd", monitor=False, progress=False)
    from dipole.ops.clusters import kmeans, nearest_centres
    from dipole.runs.checkpoint import SafeCheckpointIO

    stored = SafeCheckpointIO().load_checkpoint(run.checkpoint)
    features = read_embeddings(file, load_image_sets("digits")[0].ids)
    expected, _ = nearest_centres(features, kmeans(features, 9)[0], 2)
    assert torch.equal(stored["refreshed"]["labels"], expected)
    assert stored["classes"]["weight"].shape == (9, 16)
