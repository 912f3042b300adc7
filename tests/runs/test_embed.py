import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from dipole.data import load_images
from dipole.errors import InputError
from dipole.runs import Run, RunConfig, load, train
from dipole.runs.embed import embed_to_parquet
from dipole.views import resize

SMALL = {"encoder": "convnet4-4", "projection_dim": 8}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = RunConfig("simclr", epochs=1, batch_size=512, method=SMALL)
    return train(config, tmp_path_factory.mktemp("runs") / "run", monitor=False, progress=False)


def write_image(path: Path, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_folder_with_damaged_files(run: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tmp_path / "images"
    for seed in range(5):
        write_image(folder / "deep" / f"{seed}.png", seed)
    (folder / "broken.png").write_bytes(b"no image")
    # Sound at both ends, damaged between: only decoding finds out.
    whole = bytearray(write_image(folder / "later.png", 9).read_bytes())
    whole[60:400] = bytes(340)
    (folder / "later.png").write_bytes(whole)
    result = embed_to_parquet(run.path, str(folder), tmp_path / "out.parquet", batch_size=2)
    table = pq.read_table(result.path)
    assert table.column("id").to_pylist() == [f"deep/{seed}.png" for seed in range(5)]
    assert result.rows == 5
    assert sorted(path for path, _ in result.skipped) == ["broken.png", "later.png"]
    assert "broken.png" in caplog.text


def test_vectors_are_those_of_the_method(run: Run, tmp_path: Path) -> None:
    path = write_image(tmp_path / "one.png", 3)
    result = embed_to_parquet(run.path, str(path), tmp_path / "one.parquet")
    method = load(run.path)
    (vector,) = pq.read_table(result.path).column("vector").to_pylist()
    assert result.dimensions == len(vector) == method.encoder.width  # type: ignore[union-attr]
    decoded = load_images(path, 16).fetch(torch.tensor([0]))
    with torch.inference_mode():
        expected = method.embed(resize(decoded, 16))[0]
    torch.testing.assert_close(torch.tensor(vector), expected)


def test_named_data_set_has_splits_and_labels(run: Run, tmp_path: Path) -> None:
    table = pq.read_table(embed_to_parquet(run.model, "digits", tmp_path / "digits.parquet").path)
    assert table.num_rows == 1797
    assert set(table.column("split").to_pylist()) == {"train", "test"}
    assert set(table.column("label").to_pylist()) == set("0123456789")


@pytest.mark.parametrize(
    ("source", "out", "reason"),
    [
        ("nowhere/at/all", "x.parquet", "no such file"),
        ("empty", "x.parquet", "no image"),
        ("empty", "", "is a folder"),
        ("empty", "x.CSV", "name it x.parquet"),
    ],
)
def test_errors_leave_nothing_behind(run: Run, tmp_path: Path, source: str, out: str, reason: str) -> None:
    (tmp_path / "empty").mkdir()
    target = tmp_path / "out"
    target.mkdir()
    with pytest.raises(InputError, match=reason):
        embed_to_parquet(run.path, str(tmp_path / source), target / out)
    assert list(target.iterdir()) == []


def test_run_without_a_model(run: Run, tmp_path: Path) -> None:
    unfinished = tmp_path / "unfinished"
    unfinished.mkdir()
    (unfinished / "config.yaml").write_bytes(run.config.read_bytes())
    with pytest.raises(InputError, match="no trained model yet"):
        embed_to_parquet(unfinished, "digits", tmp_path / "x.parquet")


@pytest.mark.skipif(os.name != "posix", reason="names of files are text here")
def test_a_name_that_is_not_utf8_is_written_so_that_it_can_be_read(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    write_image(folder / "a.png", 0)
    try:
        (folder / "a.png").rename(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.png"))
    except OSError:
        pytest.skip("this file system knows UTF-8 alone")
    write_image(folder / "a.png", 1)
    result = embed_to_parquet(run.path, str(folder), tmp_path / "out.parquet")
    assert pq.read_table(result.path).column("id").to_pylist() == ["a.png", r"caf\xe9.png"]


def test_weights_that_are_not_finite_write_nothing(run: Run, tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(run.model, model)
    weights = load_file(model / "model.safetensors")
    nan = {key: value * torch.nan if value.is_floating_point() else value for key, value in weights.items()}
    save_file(nan, model / "model.safetensors")
    write_image(tmp_path / "images" / "one.png", 3)
    with pytest.raises(InputError, match=r"1 of 1 embeddings .* not finite \(first: 'one\.png'\)"):
        embed_to_parquet(model, str(tmp_path / "images"), tmp_path / "out.parquet")
    assert not (tmp_path / "out.parquet").exists()
