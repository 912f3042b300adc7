"""Embeddings know the model that made them, searched contents are kept, and paths last."""

import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from dipole.cli import main
from dipole.errors import InputError
from dipole.runs import Run, RunConfig, train
from dipole.runs.embed import embed_to_parquet
from dipole.runs.embed_shards import Embedding
from dipole.runs.index_building import build_index
from dipole.runs.search import search
from dipole.runs.vector_index import IndexSettings

SMALL = {"image_encoder": "convnet4-4", "text_encoder": "bag-16", "embedding_dim": 8, "learning_rate": 0.01}
COLOURS = {"red": (200, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 200), "grey": (90, 90, 90)}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("colours")
    draws = np.random.default_rng(0)
    names = [list(COLOURS)[row % 4] for row in range(24)]
    for row, name in enumerate(names):
        pixels = tuple(int(value) for value in np.array(COLOURS[name]) + draws.integers(0, 30, 3))
        Image.new("RGB", (8, 8), pixels).save(folder / f"{row}.png")
    cells = {"photo": [f"{row}.png" for row in range(24)], "caption": [f"something {name}" for name in names]}
    pq.write_table(pa.table(cells), folder / "colours.parquet")
    return folder / "colours.parquet"


@pytest.fixture(scope="module")
def runs(table: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Run]:
    """Two models of the same width."""
    folder = tmp_path_factory.mktemp("runs")
    options = {"batch_size": 12, "method": SMALL, "loading": {"image_size": 8, "test_fraction": 0.25}, "epochs": 1}
    return [
        train(RunConfig("clip", str(table), seed=seed, **options), folder / str(seed), monitor=False, progress=False)
        for seed in (0, 1)
    ]


@pytest.fixture(scope="module")
def embedded(runs: list[Run], table: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("embedded")
    for number, run in enumerate(runs):
        embed_to_parquet(run.path, str(table), folder / f"{number}.parquet")
    return [folder / "0.parquet", folder / "1.parquet"]


def test_embeddings_of_another_model_are_refused(
    runs: list[Run], embedded: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own, other = (str(path) for path in embedded)
    assert search(runs[0].path, own, ["something red"], k=1, find="photo")
    with pytest.raises(InputError, match=r"1\.parquet holds embeddings of another model than"):
        search(runs[0].path, other, ["something red"])
    with pytest.raises(InputError, match=r"holds embeddings of different models, in 0\.parquet and 1\.parquet"):
        build_index(embedded[0].parent, tmp_path / "index")
    with pytest.raises(InputError, match="embeddings of another model than"):
        build_index(other, tmp_path / "index", IndexSettings(run=str(runs[0].path)))
    index = str(tmp_path / "index")
    assert main(["index", own, "--out", index, "--run", str(runs[0].path), "--sample", "0"]) == 0
    assert main(["search", index, "--by", "caption", "something red", "--k", "1"]) == 0
    assert main(["search", index, "something red", "--run", str(runs[1].path)]) == 2
    assert "embeddings of another model" in capsys.readouterr().err
    assert main(["search", index, "--vectors", own]) == 0
    assert main(["search", index, "--vectors", other]) == 2
    build_index(own, tmp_path / "plain")
    with pytest.raises(InputError, match="index of embeddings of another model"):
        build_index(other, tmp_path / "plain")


def test_embeddings_without_a_mark_are_taken_as_they_are(runs: list[Run], embedded: list[Path], tmp_path: Path) -> None:
    bare = tmp_path / "bare.parquet"
    pq.write_table(pq.read_table(embedded[1]).replace_schema_metadata(None), bare)
    assert search(runs[0].path, str(bare), ["something red"], k=1)


def test_contents_that_were_searched_are_kept(runs: list[Run], table: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import dipole.runs.search_modalities as searching

    made: list[str] = []
    embed_items = searching.embed_items
    monkeypatch.setattr(
        searching, "embed_items", lambda *given, **more: made.append("photo") or embed_items(*given, **more)
    )

    def hits() -> list[tuple[float, str, str]]:
        return [(hit.score, hit.id, hit.text) for hit in search(runs[0].path, str(table), ["something red"], k=5)[0]]

    first = hits()
    assert hits() == first
    assert made == ["photo"]
    (kept,) = (runs[0].path / "indexes").glob("colours-*.parquet")
    os.utime(table.parent / "3.png", (1, 1))
    assert hits() == first
    kept.write_bytes(b"broken")
    assert hits() == first
    search(runs[0].path, str(table), ["something red"], loading={"image_size": 8, "encoding": "latin-1"})
    assert len(made) == 4, "a file changed, the kept table broken, read in another way"


def test_queries_stand_anywhere_after_the_corpus(runs: list[Run], table: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "hits.jsonl")
    first = [str(runs[0].path), str(table)]
    assert main(["search", *first, "--k", "1", "something red", "--out", out, "something blue"]) == 0
    found = [json.loads(line)["query"] for line in Path(out).read_text().splitlines()]
    assert found == ["something red", "something blue"]
    assert main(["search", "--find", "caption", *first, "--k", "1", "--given", "wrong", "something red"]) == 2


def test_paths_of_workers_elsewhere_lead_to_the_same_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts.txt").write_text("one\n")
    (tmp_path / "run").mkdir()
    loading = {"nodes": "texts.txt", "encoding": "utf-8", "window": 3}
    found = Embedding("run", "texts.txt", "out", data_root=None, loading=loading).anywhere()
    assert (found.run, found.source, found.out) == tuple(str(tmp_path / name) for name in ("run", "texts.txt", "out"))
    assert found.loading == {"nodes": str(tmp_path / "texts.txt"), "encoding": "utf-8", "window": 3}
    assert Embedding("run", "toy-sentences", "out").anywhere().source == "toy-sentences"
