"""Folders of LitData: `optimize` writes what was there, dipole and litdata read it alike; pickles are refused."""

import io
import json
import signal
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

import ready_python
from dipole.cli import main
from dipole.data import load_image_sets
from dipole.data.multimodal import Reading, load_table
from dipole.data.stored import find_store
from dipole.data.stored.optimize import optimize
from dipole.errors import InputError

pytest.importorskip("litdata")


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPOLE_CACHE", str(tmp_path / "cache"))


def picture(number):
    buffer = io.BytesIO()
    Image.new("RGB", (6, 4), (number % 256, number // 256, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def table(rows):
    return pa.table(
        {
            "image": [picture(row) if row % 5 else None for row in range(rows)],
            "caption": [json.dumps(["one", f"number {row}"]) if row % 2 else f"number {row}" for row in range(rows)],
            "sensor": [[float(row), 0.5] for row in range(rows)],
            "label": ["odd" if row % 2 else "even" for row in range(rows)],
        }
    )


def write_index(folder, formats, names, **config):
    folder.mkdir()
    spec = [1, {"type": "builtins.dict", "context": json.dumps(names),
                "children_spec": [{"type": None, "context": None, "children_spec": []}] * len(names)}]  # fmt: skip
    config = {"data_format": formats, "data_spec": json.dumps(spec), "item_loader": "PyTreeLoader", **config}
    chunks = [{"filename": "chunk-0-0.bin", "chunk_size": 1}]
    (folder / "index.json").write_text(json.dumps({"config": config, "chunks": chunks}))
    (folder / "chunk-0-0.bin").write_bytes(b"")
    return folder


@pytest.mark.parametrize(
    ("formats", "config", "message"),
    [
        (["bytes", "pickle"], {}, "pickled, which could run code"),
        (["bytes", "mesh"], {}, "kinds mesh"),
        (["bytes", "str"], {"compression": "zstd"}, "compressed or encrypted"),
        (["bytes"], {}, "no flat dictionaries"),
        (["bytes", "str"], {}, "has become shorter"),
    ],
)
def test_what_is_refused(formats, config, message, tmp_path):
    with pytest.raises(InputError, match=message):
        find_store(write_index(tmp_path / "set", formats, ["image", "text"], **config))


@pytest.mark.slow
def test_what_is_written_is_what_was_there(tmp_path):
    pq.write_table(table(40), tmp_path / "a.parquet")
    main(["data", "optimize", str(tmp_path / "a.parquet"), str(tmp_path / "out"), "--workers", "2"])
    reading = Reading(image_size=4)
    assert not (tmp_path / "out" / ".cache").exists()
    before, after = (load_table(tmp_path / name, reading)[0] for name in ("a.parquet", "out"))
    assert repr(after).split(", ", 1)[1] == repr(before).split(", ", 1)[1]
    assert before.labels == after.labels
    for one, other in zip(before.fetch(torch.arange(40)), after.fetch(torch.arange(40)), strict=True):
        assert one["caption"] == other["caption"]
        assert torch.equal(one["sensor"], other["sensor"])
        assert one["image"] is other["image"] is None or torch.equal(one["image"], other["image"])
    import litdata

    streamed = litdata.StreamingDataset(str(tmp_path / "out"))
    assert [streamed[row]["label"] for row in (0, 39, 7)] == ["even", "odd", "odd"]
    with pytest.raises(InputError, match="exists already"):
        optimize(str(tmp_path / "a.parquet"), tmp_path / "out")


@pytest.mark.slow
def test_named_sets_and_folders(tmp_path):
    main(["data", "optimize", "digits", str(tmp_path / "out")])
    before, after = load_image_sets("digits"), load_image_sets(str(tmp_path / "out"), image_size=8)
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one.fetch(torch.arange(20)), other.fetch(torch.arange(20)))
        assert torch.equal(one.labels["label"], other.labels["label"])
        assert one.ids[3] == other.ids[3]


@pytest.mark.slow
def test_it_goes_on_after_sigkill(tmp_path):
    rows = 3000
    noise = np.random.default_rng(0).integers(0, 255, (rows, 25_000), np.uint8)
    columns = {
        "text": [f"n{row}" for row in range(rows)],
        "long": [each.tobytes().hex() for each in noise],
    }
    pq.write_table(pa.table(columns), tmp_path / "a.parquet")
    command = ["-m", "dipole", "data", "optimize", tmp_path / "a.parquet", tmp_path / "out", "--workers", "2"]
    process = ready_python.Process(*command)
    while process.poll() is None and not list((tmp_path / "out").glob("chunk-*")):
        time.sleep(0.02)
    process.signal_all(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out" / "index.json").exists()
    with pytest.raises(InputError, match="is not finished"):
        find_store(tmp_path / "out")
    with pytest.raises(InputError, match="was begun with"):
        optimize(str(tmp_path / "a.parquet"), tmp_path / "out", workers=1)
    assert ready_python.run(*command).returncode == 0
    store = find_store(tmp_path / "out")
    assert [store.cell("text", row) for row in range(len(store))] == [f"n{row}" for row in range(rows)]
