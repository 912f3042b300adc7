"""Searches with a run of several modalities: by text, image and sound, over a table, a folder and embeddings."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from PIL import Image

import dipole
from dipole.cli import main
from dipole.data.multimodal import Reading, load_rows
from dipole.errors import InputError
from dipole.runs import Run, RunConfig, load, train
from dipole.runs.embed import embed_to_parquet
from dipole.runs.queries import embed_queries
from dipole.runs.search import search

COLOURS = {"red": (200, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 200), "grey": (90, 90, 90)}
ROWS = 40
SMALL = {"image_encoder": "convnet4-4", "text_encoder": "bag-16", "sound_encoder": "convnet-2", "embedding_dim": 8}
LOADING = {"image_size": 8, "sample_rate": 4000, "seconds": 0.1, "test_fraction": 0.25}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("colours")
    draws = np.random.default_rng(0)
    (folder / "files").mkdir()
    names = [list(COLOURS)[row % 4] for row in range(ROWS)]
    for row, name in enumerate(names):
        pixels = np.array(COLOURS[name]) + draws.integers(0, 30, 3)
        Image.new("RGB", (8, 8), tuple(int(value) for value in pixels)).save(folder / "files" / f"{row}.png")
        tone = np.sin(np.arange(1000) / (2 + row % 4)) * draws.uniform(0.4, 0.8)
        soundfile.write(folder / "files" / f"{row}.wav", tone.astype(np.float32), 4000)
    (folder / "files" / "notes.txt").write_text("nothing to see")
    cells = {
        "photo": [f"files/{row}.png" for row in range(ROWS)],
        "caption": [f"something {name}" for name in names],
        "tone": [f"files/{row}.wav" for row in range(ROWS)],
        "id": [f"row {row}" for row in range(ROWS)],
    }
    pq.write_table(pa.table(cells), folder / "colours.parquet")
    return folder / "colours.parquet"


def trained(table: Path, out: Path, name: str = "clip", **changes: Any) -> Run:
    loading = {**LOADING, **changes.pop("loading", {})}
    options = {"batch_size": 16, "method": {**SMALL, "learning_rate": 0.01}, "loading": loading, **changes}
    return train(RunConfig(name, data=str(table), **options), out, monitor=False, progress=False)


@pytest.fixture(scope="module")
def run(table: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return trained(table, tmp_path_factory.mktemp("runs") / "run", epochs=15)


@pytest.fixture(scope="module")
def embedded(run: Run, table: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("embedded") / "e.parquet"
    embed_to_parquet(run.path, str(table), out)
    return out


def stored(path: Path, modality: str) -> dict[str, np.ndarray]:
    rows = [row for row in pq.read_table(path).to_pylist() if row["modality"] == modality]
    return {row["id"]: np.array(row["vector"]) for row in rows}


def test_every_kind_of_query_is_embedded_as_embed_does(run: Run, table: Path, embedded: Path) -> None:
    files = table.parent / "files"
    found = embed_queries(run.path, [str(files / "5.png"), "something green", str(files / "5.wav")])
    for vector, modality in zip(found, ("photo", "caption", "tone"), strict=True):
        np.testing.assert_allclose(vector, stored(embedded, modality)["row 5"], atol=1e-6)


def test_an_embedder_of_sounds_and_images_agrees(run: Run, table: Path, embedded: Path) -> None:
    wav = table.parent / "files" / "6.wav"
    samples, rate = soundfile.read(wav, dtype="float32")
    forms: list[Any] = [str(wav), wav.read_bytes(), {"bytes": wav.read_bytes(), "path": None}]
    forms.append({"array": samples, "sampling_rate": rate})
    rows = dipole.Embedder(run.path, "tone", batch_size=3)({"tone": forms})["vector"]
    for row in rows:
        np.testing.assert_allclose(row, stored(embedded, "tone")["row 6"], atol=1e-6)
    image = dipole.Embedder(run.path, "photo")({"photo": [str(wav.with_suffix(".png"))]})["vector"]
    np.testing.assert_allclose(image[0], stored(embedded, "photo")["row 6"], atol=1e-6)


def test_sounds_that_cannot_be_decoded(run: Run, table: Path, caplog: pytest.LogCaptureFixture) -> None:
    batch = {"tone": [str(table.parent / "files" / "1.wav"), b"RIFF no sound"], "name": np.array(["a", "b"])}
    with pytest.raises(InputError, match="row 2 of the batch holds no sound"):
        dipole.Embedder(run.path, "tone")(batch)
    assert dipole.Embedder(run.path, "tone", unreadable="drop")(batch)["name"].tolist() == ["a"]
    assert "1 sounds are left out" in caplog.text
    with pytest.raises(InputError, match="row 1 of the batch holds int"):
        dipole.Embedder(run.path, "tone")({"tone": [3]})


def test_longer_sounds_are_heard_as_the_run_says(run: Run, table: Path, tmp_path: Path) -> None:
    wav = table.parent / "files" / "7.wav"
    for windows in ("mean", "first"):
        embed_to_parquet(run.path, str(table), tmp_path / "e.parquet", loading={"sound_windows": windows})
        other = tmp_path / windows
        other.mkdir()
        for file in ("model.safetensors", "towers"):
            (other / file).symlink_to(run.model / file)
        facts = json.loads((run.model / "dipole.json").read_text())
        facts["loading"]["sound_windows"] = windows
        (other / "dipole.json").write_text(json.dumps(facts))
        expected = stored(tmp_path / "e.parquet", "tone")["row 7"]
        np.testing.assert_allclose(embed_queries(other, [str(wav)])[0], expected, atol=1e-6)
        found = dipole.Embedder(other, "tone")({"tone": [wav.read_bytes()]})["vector"]
        np.testing.assert_allclose(found[0], expected, atol=1e-6)


def test_text_finds_images_and_images_find_texts(run: Run, table: Path) -> None:
    (by_text, by_image) = search(run.path, str(table), ["something blue", str(table.parent / "files" / "1.png")], k=3)
    assert all(int(hit.id.removeprefix("row ")) % 4 == 2 for hit in by_text)
    assert by_image[0].text == "something green"
    (tones,) = search(run.path, str(table), ["something blue"], k=1, find="tone")
    assert tones[0].id.startswith("row ")


def test_a_folder_is_searched_and_embedded(run: Run, table: Path, embedded: Path, tmp_path: Path) -> None:
    files = table.parent / "files"
    (hits,) = search(run.path, str(files), ["something red"], k=4)
    assert all(hit.id.endswith(".png") and int(Path(hit.id).stem) % 4 == 0 for hit in hits)
    (same,) = search(run.path, str(files), [str(files / "9.png")], k=1, find="photo")
    assert same[0].id == "9.png"
    assert same[0].score == pytest.approx(1, abs=1e-5)
    result = embed_to_parquet(run.path, str(files), tmp_path / "e.parquet")
    assert result.rows == 2 * ROWS
    assert ("notes.txt", "no file of image or sound") in result.skipped
    for modality, suffix in (("photo", "png"), ("tone", "wav")):
        own, before = stored(tmp_path / "e.parquet", modality), stored(embedded, modality)
        assert len(own) == ROWS
        np.testing.assert_allclose(own[f"3.{suffix}"], before["row 3"], atol=1e-6)
    chosen = embed_to_parquet(run.path, str(files), tmp_path / "c.parquet", loading={"modalities": "photo"})
    assert chosen.rows == ROWS


def test_embeddings_are_searched_as_the_table_is(run: Run, table: Path, embedded: Path) -> None:
    queries = ["something blue", str(table.parent / "files" / "1.png"), str(table.parent / "files" / "2.wav")]
    for find in ("photo", "tone"):
        read = search(run.path, str(table), queries[:1], k=5, find=find)[0]
        kept = search(run.path, str(embedded), queries[:1], k=5, find=find)[0]
        assert [hit.id for hit in kept] == [hit.id for hit in read]
        np.testing.assert_allclose([hit.score for hit in kept], [hit.score for hit in read], atol=1e-5)
    folder = embedded.parent / "shards"
    folder.mkdir()
    whole = pq.read_table(embedded)
    for number in range(2):
        pq.write_table(whole.slice(number * 60, 60), folder / f"{number}.parquet")
    kept, shards = (search(run.path, str(source), queries, k=3, find="photo") for source in (embedded, folder))
    assert [[hit.id for hit in hits] for hits in kept] == [[hit.id for hit in hits] for hits in shards]


def test_the_command_and_an_index(
    run: Run, table: Path, embedded: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo, out = str(table.parent / "files" / "10.png"), tmp_path / "hits.jsonl"
    assert main(["search", str(run.path), str(table.parent / "files"), photo, "--find", "photo", "--k", "1"]) == 0
    assert "10.png" in capsys.readouterr().out
    assert main(["index", str(embedded), "--run", str(run.path), "--out", str(tmp_path / "index")]) == 0
    arguments = [photo, "--where", "modality=photo", "--k", "1", "--out", str(out)]
    assert main(["search", str(tmp_path / "index"), *arguments]) == 0
    assert json.loads(out.read_text())["id"] == "row 10"
    assert main(["search", str(tmp_path / "index"), "words", "--by", "caption", "--k", "1", "--out", str(out)]) == 0
    assert main(["search", str(run.path), str(table), "words", "--given", "caption"]) == 2
    assert "expected name=content" in capsys.readouterr().err


def test_symile_is_searched_with_all_modalities_but_one(table: Path, tmp_path: Path) -> None:
    done = trained(table, tmp_path / "run", "symile", epochs=1)
    with pytest.raises(InputError, match="needs photo, too: give them by --given"):
        search(done.path, str(table), ["something red"], find="tone")
    photo = str(table.parent / "files" / "4.png")
    (hits,) = search(done.path, str(table), ["something red"], k=2, given={"photo": photo})
    method: Any = load(done.path)
    vectors = torch.from_numpy(embed_queries(done.path, ["something red", photo]))
    tones = torch.from_numpy(
        embed_queries(done.path, [str(table.parent / "files" / f"{row}.wav") for row in range(40)])
    )
    best = method.score([vectors[:1], vectors[1:]], tones)[0].topk(2)
    np.testing.assert_allclose([hit.score for hit in hits], best.values.numpy(), atol=1e-5)
    assert [hit.id for hit in hits] == [f"row {place}" for place in best.indices.tolist()]


def test_two_modalities_of_a_kind_must_be_named(tmp_path: Path) -> None:
    for number in range(12):
        for side in ("left", "right"):
            Image.new("RGB", (8, 8), (20 * number, 9, 90)).save(tmp_path / f"{side}{number}.png")
    lines = [f"left{number}.png,right{number}.png" for number in range(12)]
    (tmp_path / "pairs.csv").write_text("\n".join(["left,right", *lines]))
    done = trained(tmp_path / "pairs.csv", tmp_path / "run", epochs=1)
    photo = str(tmp_path / "left3.png")
    with pytest.raises(InputError, match="left or right: say which by --by"):
        search(done.path, str(tmp_path / "pairs.csv"), [photo])
    with pytest.raises(InputError, match=r"say which of them it holds, e\.g\. --loading\.modalities"):
        search(done.path, str(tmp_path), [photo], by="left")
    (hits,) = search(done.path, str(tmp_path / "pairs.csv"), [photo], by="left", k=1)
    assert 0 <= int(hits[0].id) < 12


@pytest.mark.parametrize(
    ("query", "options", "message"),
    [
        ("missing.png", {}, "is of photo and cannot be read"),
        (" ", {}, "not empty"),
        ("words", {"by": "colour"}, "there is no modality 'colour'"),
        ("words", {"find": "colour"}, "there is no 'colour' to search in"),
        ("words", {"find": "caption", "given": {"photo": "files/1.png"}}, "is given and searched for"),
    ],
)
def test_mistakes_are_told(
    query: str, options: Any, message: str, run: Run, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(table.parent)
    with pytest.raises(InputError, match=message):
        search(run.path, str(table), [query], **options)


def test_other_embeddings_and_folders_are_refused(run: Run, tmp_path: Path) -> None:
    short = pa.table({"id": ["a"], "vector": [[1.0, 2.0]]})
    pq.write_table(short, tmp_path / "short.parquet")
    with pytest.raises(InputError, match="vectors of 2 numbers, and the model makes such of 8"):
        search(run.path, str(tmp_path / "short.parquet"), ["words"])
    other = pa.table({"id": ["a"], "modality": ["smell"], "vector": [[0.5] * 8]})
    pq.write_table(other, tmp_path / "other.parquet")
    with pytest.raises(InputError, match="holds smell, and the model knows"):
        search(run.path, str(tmp_path / "other.parquet"), ["words"])
    empty = tmp_path / "folder"
    empty.mkdir()
    (empty / "broken.png").write_bytes(b"no image")
    with pytest.raises(InputError, match="holds no file of image or sound that can be read"):
        embed_to_parquet(run.path, str(empty), tmp_path / "e.parquet")
    with pytest.raises(InputError, match="are no modalities of images or sounds"):
        load_rows(str(empty), reading=Reading(modalities={"caption": "text"}, partial=True))
