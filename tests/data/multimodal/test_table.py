"""Tables of modalities: kinds, missing cells, unreadable files, mistakes."""

import json
import logging

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
import torch
from PIL import Image

from dipole.data.multimodal import Reading, load_modalities, load_rows, load_table, parse_modalities
from dipole.errors import InputError


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "files").mkdir()
    for number in range(4):
        Image.new("RGB", (6, 4), (40 * number, 0, 0)).save(tmp_path / "files" / f"{number}.png")
        tone = np.sin(np.arange(400 + number) / 3).astype(np.float32)
        soundfile.write(tmp_path / "files" / f"{number}.wav", np.stack([tone, tone], axis=1), 4000)
    return tmp_path


def rows(**changes):
    table = {
        "id": ["a", "b", "c", "d"],
        "photo": [f"files/{number}.png" for number in range(4)],
        "speech": [f"files/{number}.wav" for number in range(4)],
        "captions": [["one", "a one"], ["two"], ["three"], ["four"]],
        "sensor": [[0.0, 1.0], [1.0, 1.0], [2.0, 1.0], [3.0, 1.0]],
        "colour": [1, 2, 1, 2],
        "label": ["odd", "even", "odd", "even"],
    }
    return {**table, **changes}


def write(path, table):
    if path.suffix == ".parquet":
        pq.write_table(pa.table(table), path)
    elif path.suffix == ".jsonl":
        records = [dict(zip(table, cells, strict=True)) for cells in zip(*table.values(), strict=True)]
        path.write_text("\n".join(json.dumps(record) for record in records))
    else:
        mark = "," if path.suffix == ".csv" else "\t"
        lines = [mark.join(table)]
        for cells in zip(*table.values(), strict=True):
            texts = ["" if c is None else json.dumps(c) if isinstance(c, list) else str(c) for c in cells]
            lines.append(mark.join('"' + text.replace('"', '""') + '"' for text in texts))
        path.write_text("\n".join(lines))
    return path


READING = Reading(image_size=4, sample_rate=8000, seconds=0.05)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".tsv", ".jsonl"])
def test_all_formats_say_the_same(folder, suffix):
    found, split = load_table(write(folder / f"pairs{suffix}", rows()), READING)
    assert split is None
    kinds = {name: column.kind for name, column in found.columns.items()}
    assert kinds == {
        "photo": "image",
        "speech": "sound",
        "captions": "text",
        "sensor": "vector",
        "colour": "category",
    }
    row = found[1]
    assert row["photo"].shape == (3, 4, 4)
    assert row["photo"][0].unique().tolist() == [40]
    assert row["speech"].shape == (400,)
    assert row["captions"] == ["two"]
    assert row["sensor"].tolist() == [1.0, 1.0]
    assert row["colour"] == "2"
    assert found.id(1) == "b"
    assert found.labels == ["odd", "even", "odd", "even"]
    facts = found.facts()
    assert facts["sensor"] == {
        "kind": "vector",
        "width": 2,
        "mean": [1.5, 1.0],
        "std": [pytest.approx(5**0.5 / 2), 1.0],  # a constant is divided by 1
        "missing": False,
    }
    assert facts["colour"]["names"] == ["1", "2"]
    assert json.loads(json.dumps(facts)) == facts


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_missing_cells_are_none_and_never_read(folder, suffix):
    table = rows(
        photo=["files/0.png", None, None, "files/3.png"],
        captions=[None, ["two"], ["", " "], ["four"]],
        sensor=[[0.0, 1.0], None, [2.0, 1.0], None],
        colour=[None, 2, 1, 2],
    )
    found, _ = load_table(write(folder / f"pairs{suffix}", table), READING)
    assert [row["photo"] is None for row in found.fetch(torch.arange(4))] == [False, True, True, False]
    assert found.present("captions").tolist() == [False, True, False, True]
    assert found.present("sensor").tolist() == [True, False, True, False]
    assert found.present("colour").tolist() == [False, True, True, True]
    facts = found.facts()
    assert {name for name, fact in facts.items() if fact["missing"]} == {"photo", "captions", "sensor", "colour"}
    assert facts["sensor"]["mean"] == [1.0, 1.0]
    assert found.keys("photo") == [folder / "files/0.png", None, None, folder / "files/3.png"]


def test_unreadable_files_are_named_counted_and_left_out(folder, caplog):
    (folder / "files" / "0.png").write_bytes(b"no image")
    (folder / "files" / "2.wav").write_bytes(b"RIFFno sound")
    table = rows(photo=["files/0.png", "files/1.png", "files/9.png", "files/0.png"])
    with caplog.at_level(logging.WARNING):
        found, _ = load_table(write(folder / "pairs.parquet", table), READING)
    assert [name for name, _ in found.skipped] == ["photo files/0.png", "photo files/9.png", "speech files/2.wav"]
    assert dict(found.skipped)["photo files/9.png"] == "No such file or directory"
    assert found.present("photo").tolist() == [False, True, False, False]
    assert found.present("speech").tolist() == [True, True, False, True]
    assert "3 cells left out" in caplog.text


@pytest.mark.parametrize("form", ["bytes", "dictionaries", "paths in dictionaries"])
def test_files_inside_a_table(folder, form, caplog):
    def cell(name):
        content = (folder / name).read_bytes()
        forms = {
            "bytes": content,
            "dictionaries": {"bytes": content, "path": name},
            "paths in dictionaries": {"bytes": None, "path": name},
        }
        return forms[form]

    outside = load_table(write(folder / "outside.parquet", rows()), READING)[0]
    columns = {"photo": "png", "speech": "wav"}
    inside = {name: [cell(f"files/{number}.{suffix}") for number in range(4)] for name, suffix in columns.items()}
    found, _ = load_table(write(folder / "inside.parquet", rows(**inside)), READING)
    assert {name: found.facts()[name] for name in columns} == {name: outside.facts()[name] for name in columns}
    for name in columns:
        for row in range(4):
            assert torch.equal(found.cell(name, row), outside.cell(name, row))
        assert len(set(found.keys(name))) == 4
    broken = cell("files/1.png")
    damaged = broken[:40] if form == "bytes" else {**broken, "bytes": (folder / "files/1.png").read_bytes()[:40]}
    inside["photo"][1:3] = [damaged, None]
    with caplog.at_level(logging.WARNING):
        found, _ = load_table(write(folder / "broken.parquet", rows(**inside)), READING)
    assert found.present("photo").tolist() == [True, False, False, True]
    assert found.skipped[0][0] == ("photo row 2" if form == "bytes" else "photo files/1.png")
    assert "1 cells left out" in caplog.text


@pytest.mark.parametrize(("extension", "format"), [("webp", "WEBP"), ("jpg", "JPEG"), ("bmp", "BMP")])
def test_contents_without_a_name_are_recognised(tmp_path, extension, format):
    picture = tmp_path / f"a.{extension}"
    Image.new("RGB", (6, 6)).save(picture, format)
    for suffix in ("wav", "flac", "ogg", "mp3", "aiff"):
        soundfile.write(tmp_path / f"a.{suffix}", np.zeros(4000, np.float32), 8000)
        path = write(
            tmp_path / "pairs.parquet",
            {"x": [picture.read_bytes()] * 2, "y": [(tmp_path / f"a.{suffix}").read_bytes()] * 2},
        )
        found, _ = load_table(path, READING)
        assert [found.facts()[name]["kind"] for name in "xy"] == ["image", "sound"]
        assert not found.skipped
        assert found.cell("y", 0).shape == (400,)


def test_a_vector_with_what_is_no_number_is_missing(folder):
    table = rows(sensor=[[0.0, float("nan")], [1.0, 1.0], [2.0, float("inf")], [3.0, 1.0]])
    found, _ = load_table(write(folder / "pairs.parquet", table), READING)
    assert found.present("sensor").tolist() == [False, True, False, True]
    assert found.skipped == [
        ("sensor row 1", "it holds a value that is no number, or too large"),
        ("sensor row 3", "it holds a value that is no number, or too large"),
    ]


def test_a_file_that_is_damaged_inside_is_named_when_it_is_read(folder):
    path = folder / "files" / "1.png"
    whole = path.read_bytes()
    start = whole.index(b"IDAT") + 4
    path.write_bytes(whole[:start] + bytes(len(whole) - start - 12) + whole[-12:])
    found, _ = load_table(write(folder / "pairs.parquet", rows()), READING)
    with pytest.raises(InputError, match=r"cannot decode .*1\.png"):
        found[1]


def test_kinds_can_be_given(folder):
    path = write(folder / "pairs.parquet", rows())
    found, _ = load_table(path, Reading(parse_modalities("colour:text, label:category")))  # type: ignore[arg-type]
    assert found[0] == {"colour": ["1"], "label": "odd"}
    found, _ = load_table(path, Reading({"label": None}, label="colour"))
    assert found.labels == ["1", "2", "1", "2"]


@pytest.mark.parametrize(
    ("modalities", "changes", "message"),
    [
        ("captoins", {}, r"pairs.parquet has no column 'captoins'. Did you mean 'captions'\? Columns: id, photo"),
        ("photo:picture", {}, "names the kind 'picture' for 'photo': choose from image, text"),
        ("photo,photo", {}, "expected names of columns, each once"),
        ("captions:image", {}, r"holds no image that can be read \(captions \['one', 'a one'\]"),
        ("captions:vector", {}, "'captions' of row 1 is .* expected numbers"),
        (None, {"sensor": [[0.0], [1.0, 2.0], [1.0], [1.0]]}, "2 numbers in row 2 and 1 in row 1"),
        (None, {"photo": ["x.png"] * 4}, r"no image that can be read \(photo x.png: No such file"),
        (None, {"split": ["train", "tset", "train", "test"]}, "the column split holds 'tset'"),
        (None, {"split": ["test"] * 4}, "no row has the split 'train'"),
    ],
)
def test_mistakes_are_told(folder, modalities, changes, message):
    path = write(folder / "pairs.parquet", rows(**changes))
    with pytest.raises(InputError, match=message):
        load_modalities(str(path), reading=Reading(parse_modalities(modalities)))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("pairs.parquet", b"no table", "cannot read .* as a table, parquet"),
        ("pairs.csv", b"", "cannot read"),
        ("pairs.csv", b"a,b\n1\n", "cannot read"),
        ("pairs.csv", b"a,a\n1,2\n", "has 'a' twice"),
        ("pairs.csv", b"a,b\n", "holds no row"),
        ("pairs.jsonl", b'{"a": 1}\n[1]\n', "line 2 is a list"),
        ("pairs.jsonl", b'{"a": \n', "line 1 is not valid JSON"),
        ("pairs.json", b"{}", "no table that dipole reads"),
        ("pairs.csv", b"id,label\n1,2\n", "no column of a modality"),
    ],
)
def test_broken_tables_are_told(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        load_table(tmp_path / name)


def test_a_reading_that_is_none_is_refused():
    with pytest.raises(InputError, match="image_size is 0"):
        Reading(image_size=0)
    with pytest.raises(InputError, match="seconds is -1"):
        Reading(seconds=-1)


def test_rows_are_divided_as_the_column_says_or_at_random_but_always_alike(folder):
    path = write(folder / "pairs.parquet", rows(split=["train", "test", "train", "valid"]))
    train, test = load_modalities(str(path), reading=READING)
    assert [train.id(0), train.id(1), test.id(0), test.id(1)] == ["a", "c", "b", "d"]
    assert len(load_rows("pairs.parquet", folder, reading=READING)) == 4
    path = write(folder / "other.parquet", rows())
    train, test = load_modalities(str(path), reading=READING, test_fraction=0.25)
    again, _ = load_modalities(str(path), reading=READING, test_fraction=0.25)
    assert (len(train), len(test)) == (3, 1)
    assert [train.id(row) for row in range(3)] == [again.id(row) for row in range(3)]
    assert load_modalities(str(path), reading=READING, test_fraction=0)[1] is None


def test_names_are_suggested(folder):
    with pytest.raises(InputError, match="Did you mean 'shape-captions'"):
        load_modalities("shape-caption")
    with pytest.raises(InputError, match="there is no such file"):
        load_modalities("nowhere/pairs.csv")
    with pytest.raises(InputError, match="give --data-root"):
        load_modalities("digit-trios")
    with pytest.raises(InputError, match="is of kind text, not image"):
        load_modalities("shape-captions", reading=Reading({"caption": "image"}))


def test_a_number_too_large_for_single_precision_is_left_out(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"v": [1.0, 1e300]}\n{"v": [1.0, 2.0]}\n')
    table, _ = load_table(path)
    assert table.columns["v"].present.tolist() == [False, True]
