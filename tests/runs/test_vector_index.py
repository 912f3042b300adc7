"""Indexes of embeddings: what they find, resumed and extended builds, filters, queries of every kind, wrong input."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dipole.cli import main
from dipole.errors import InputError
from dipole.runs import RunConfig, train, vector_index
from dipole.runs.index_building import build_index
from dipole.runs.index_recall import exact_search, recall
from dipole.runs.vector_index import IndexSettings, VectorIndex
from dipole.runs.vectors import open_shards, sampled_rows
from text_models import TEXTS, bert_folder

WIDTH = 16


def write(path: Path, seed: int, rows: int = 600, **columns: Any) -> Path:
    draws = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(12, WIDTH))
    label = draws.integers(0, 12, rows)
    vectors = (centres[label] + 0.3 * draws.normal(size=(rows, WIDTH))).astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    table = {
        "id": [f"{path.stem}-{row}" for row in range(rows)],
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), WIDTH),
        "label": [str(each) for each in label],
    }
    pq.write_table(pa.table({**table, **columns}), path)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for seed in range(3):
        write(tmp_path / "embedded" / f"part{seed}.parquet", seed)
    return tmp_path / "embedded"


@pytest.mark.parametrize("similarity", ["cosine", "dot"])
@pytest.mark.parametrize("factory", ["Flat", "SQ8", "HNSW16", "IVF8,Flat", "OPQ4,IVF8,PQ4"])
def test_what_an_index_finds(factory: str, similarity: Any, folder: Path, tmp_path: Path) -> None:
    index = build_index(folder, tmp_path / "index", IndexSettings(factory, similarity, keep_vectors=True))
    assert len(index) == 1800
    shards = open_shards(folder)
    queries = sampled_rows(shards, 20, 5)
    exact = exact_search(shards, queries, 5, index.settings)
    table = np.concatenate([piece for shard in shards for piece in shard.pieces()])
    if similarity == "cosine":
        table, queries = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (table, queries))
    assert (exact == np.argsort(-(queries @ table.T), axis=1, kind="stable")[:, :5]).mean() > 0.99
    found = index.search(queries, 5, lists=8, rescore=20)
    shared = [len(set(own.rows) & set(true)) / 5 for own, true in zip(found, exact.tolist(), strict=True)]
    assert np.mean(shared) > 0.97, "neighbours of 16 bits"
    rows = recall(index, folder, k=5, queries=30)
    assert rows[0]["recall"] == 1, "exact search"
    assert rows[-1]["recall"] >= rows[1]["recall"], "more lists find no less"
    assert rows[-1]["recall"] > (0.3 if "PQ" in factory else 0.9)
    only = index.search(queries, 5, lists=8, where={"label": "3"})
    labels = {index.rows["label"][row].as_py() for each in only for row in each.rows}
    assert labels == {"3"}


def test_an_interrupted_build_goes_on_and_new_files_are_added_alone(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, said = IndexSettings("IVF8,Flat"), []
    whole = build_index(folder, tmp_path / "whole", settings)

    def stop(text: str) -> None:
        if "part2" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_index(folder, tmp_path / "index", settings, stop)
    with pytest.raises(InputError, match="is not finished"):
        VectorIndex(tmp_path / "index")
    index = build_index(folder, tmp_path / "index", settings, said.append)
    assert [text for text in said if text.startswith("adding")] == ["adding part2.parquet, 600 rows"]
    queries = sampled_rows(open_shards(folder), 10, 1)
    assert [found.rows for found in index.search(queries, 5)] == [found.rows for found in whole.search(queries, 5)]
    said.clear()
    write(folder / "part3.parquet", 3)
    write(folder / "part0.parquet", 4, rows=700)
    index = build_index(folder, tmp_path / "index", settings, said.append)
    assert [text for text in said if text.startswith("adding")] == [
        "adding part0.parquet, 700 rows",
        "adding part3.parquet, 600 rows",
    ]
    assert len(index) == 2500
    shards = open_shards(folder)
    queries = sampled_rows(shards, 20, 2)
    exact = exact_search(shards, queries, 5, settings)
    assert [found.rows for found in index.search(queries, 5, lists=8)] == exact.tolist()
    said.clear()
    build_index(folder, tmp_path / "index", settings, said.append)
    assert said == [], "nothing has changed"


def test_the_folder_may_be_moved(folder: Path, tmp_path: Path) -> None:
    build_index(folder, tmp_path / "index", IndexSettings("IVF8,Flat"))
    (tmp_path / "index").rename(tmp_path / "elsewhere")
    index = VectorIndex(tmp_path / "elsewhere")
    queries = sampled_rows(open_shards(folder), 3, 1)
    assert len(index.search(queries, 4)[0].rows) == 4


def test_the_command_line(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = str(tmp_path / "index")
    assert main(["index", str(folder), "--factory", "IVF8,PQ4", "--out", out, "--sample", "20"]) == 0
    printed = capfd.readouterr()
    assert "recall@10" in printed.out
    assert "resizing" not in printed.out + printed.err, "what FAISS says of its files is for nobody"
    hits = tmp_path / "hits.jsonl"
    flags = ["--vectors", str(folder / "part1.parquet"), "--where", "label=2", "--k", "3", "--out", str(hits)]
    assert main(["search", out, *flags]) == 0
    lines = [json.loads(line) for line in hits.read_text().splitlines()]
    assert len(lines) == 1800
    assert {line["label"] for line in lines} == {"2"}
    assert set(lines[0]) == {"query", "rank", "score", "id", "label"}


def test_texts_and_images_are_queries(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    encoder = str(bert_folder())
    assert main(["embed", encoder, str(tmp_path / "texts.txt"), "--out", str(tmp_path / "t.parquet")]) == 0
    index = str(tmp_path / "texts")
    assert main(["index", str(tmp_path / "t.parquet"), "--run", encoder, "--out", index, "--sample", "0"]) == 0
    out = tmp_path / "hits.jsonl"
    assert main(["search", index, TEXTS[1], "--k", "1", "--out", str(out)]) == 0
    assert json.loads(out.read_text())["text"] == TEXTS[1]

    method = {"encoder": "convnet4-4", "projection_dim": 8}
    config = RunConfig("simclr", data="digits", epochs=1, batch_size=512, method=method)
    run = str(train(config, tmp_path / "run", monitor=False, progress=False).path)
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 255, (8, 8, 3), dtype=np.uint8)
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.fromarray(pixels).save(tmp_path / "images" / f"{number}.png")
    assert main(["embed", run, str(tmp_path / "images"), "--out", str(tmp_path / "i.parquet")]) == 0
    index = str(tmp_path / "pictures")
    assert main(["index", str(tmp_path / "i.parquet"), "--run", run, "--out", index, "--sample", "0"]) == 0
    assert main(["search", index, str(tmp_path / "images" / "4.png"), "--k", "1", "--out", str(out)]) == 0
    assert json.loads(out.read_text())["id"] == "4.png"


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("IVF8,PQ5", "FAISS cannot make an index 'IVF8,PQ5' of 16 dimensions"),
        ("nonsense", "FAISS cannot make"),
        ("IVF4000,Flat", "is trained on 4000 rows at least"),
    ],
)
def test_factories_that_do_not_work(factory: str, message: str, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        build_index(folder, tmp_path / "index", IndexSettings(factory))


def test_what_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no Parquet file of embeddings"):
        build_index(tmp_path / "nowhere", tmp_path / "index")
    with pytest.raises(InputError, match="holds other files"):
        build_index(folder, folder)
    pq.write_table(pa.table({"id": ["a"]}), tmp_path / "bare.parquet")
    with pytest.raises(InputError, match="no column 'vector'"):
        build_index(tmp_path / "bare.parquet", tmp_path / "index")
    ragged = pa.table({"id": ["a", "b"], "vector": [[1.0, 2.0], [1.0]]})
    pq.write_table(ragged, tmp_path / "ragged.parquet")
    with pytest.raises(InputError, match="not every row has a vector of 2 numbers"):
        build_index(tmp_path / "ragged.parquet", tmp_path / "ragged")
    pq.write_table(pa.table({"id": ["a"], "vector": [[1.0, float("nan")]]}), tmp_path / "nan.parquet")
    with pytest.raises(InputError, match="not finite"):
        build_index(tmp_path / "nan.parquet", tmp_path / "nan")
    write(tmp_path / "mixed" / "a.parquet", 0)
    write(tmp_path / "mixed" / "b.parquet", 0, text=["x"] * 600)
    with pytest.raises(InputError, match="files of one model"):
        build_index(tmp_path / "mixed", tmp_path / "index")
    (tmp_path / "junk.parquet").write_text("no Parquet")
    with pytest.raises(InputError, match="cannot read"):
        build_index(tmp_path / "junk.parquet", tmp_path / "index")
    index = build_index(folder, tmp_path / "index")
    with pytest.raises(InputError, match="other settings"):
        build_index(folder, tmp_path / "index", IndexSettings("SQ8"))
    query = np.ones((1, WIDTH), np.float32)
    for options, message in (
        ({"k": 0}, "k is 0"),
        ({"where": {"colour": "red"}}, "no column 'colour'"),
        ({"rescore": 2}, "kept no vectors"),
    ):
        with pytest.raises(InputError, match=message):
            index.search(query, **options)  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"expected \(q, 16\)"):
        index.search(query[:, :3])
    assert index.search(query, 3, where={"label": "none of them"})[0].rows == []
    for flags in (["q"], [], ["q", "--vectors", "x"], ["q", "--where", "label"]):
        assert main(["search", str(tmp_path / "index"), *flags]) == 2
    assert vector_index.index_description(tmp_path) is None
