"""Tables whose rows stay on disk: what is read equals what was written, whatever it is stored in."""

import io
import json
import logging
import pickle
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from dipole.data import ImageDataModule, load_image_sets
from dipole.data.image_roles import ImageRoles
from dipole.data.multimodal import Reading, load_modalities, load_table
from dipole.data.multimodal import checked_sources as looking
from dipole.data.multimodal import table as tables
from dipole.data.stored import expanded, find_store, unpacked
from dipole.data.text import load_texts
from dipole.errors import InputError

READING = Reading(image_size=4)
ROWS = 12


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("DIPOLE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def picture(number, size=(6, 4)):
    buffer = io.BytesIO()
    Image.new("RGB", size, (10 * number, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def table(start=0, end=ROWS):
    rows = range(start, end)
    return pa.table(
        {
            "image": [picture(row) for row in rows],
            "text": [f"number {row}" for row in rows],
            "label": ["odd" if row % 2 else "even" for row in rows],
        }
    )


def write_tar(path, samples):
    with tarfile.open(path, "w") as file:
        for name, content in samples:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def members(start=0, end=ROWS):
    for row in range(start, end):
        yield f"{row:03}.png", picture(row)
        yield f"{row:03}.txt", f"number {row}".encode()
        yield f"{row:03}.cls", (b"odd" if row % 2 else b"even")


def make(form, folder):
    """Twelve rows in two shards; what names them."""
    folder.mkdir()
    if form == "tar":
        for shard in range(2):
            write_tar(folder / f"shard-{shard:03}.tar", members(6 * shard, 6 * shard + 6))
        return folder / "shard-{000..001}.tar"
    if form == "datasets":
        datasets = pytest.importorskip("datasets")
        found = datasets.Dataset(table()).cast_column("image", datasets.Image()).class_encode_column("label")
        found.save_to_disk(folder / "saved", num_shards=2)
        return folder / "saved"
    for shard in range(2):
        own = table(6 * shard, 6 * shard + 6)
        if form == "parquet":
            pq.write_table(own, folder / f"{shard}.parquet", row_group_size=4)
        else:
            packed = "lz4" if form == "packed arrow" else "uncompressed"
            pyarrow.feather.write_feather(own, folder / f"{shard}.arrow", compression=packed)
    return folder


FORMS = ["parquet", "arrow", "packed arrow", "datasets", "tar"]


@pytest.mark.parametrize("on_disk", [True, False], ids=["on disk", "in memory"])
@pytest.mark.parametrize("form", FORMS)
def test_rows_are_what_was_written(form, on_disk, tmp_path, monkeypatch):
    if on_disk:
        monkeypatch.setattr(unpacked, "IN_MEMORY", 0)
    rows, split = load_table(make(form, tmp_path / "set"), READING)
    assert split is None
    assert {name: column.kind for name, column in rows.columns.items()} == {"image": "image", "text": "text"}
    rows = pickle.loads(pickle.dumps(rows))  # as it goes to loading processes that are spawned
    order = torch.tensor([11, 0, 5, 6])
    fetched = rows.fetch(order)
    assert [row["text"] for row in fetched] == [[f"number {row}"] for row in order.tolist()]
    assert [int(row["image"][0, 0, 0]) for row in fetched] == [10 * row for row in order.tolist()]
    assert rows.labels == ["odd" if row % 2 else "even" for row in range(ROWS)]
    assert rows.present("image").all()


@pytest.mark.parametrize("form", FORMS)
def test_images_and_their_classes(form, tmp_path):
    train, test = load_image_sets(str(make(form, tmp_path / "set")), image_size=4)
    assert train.class_names == {"label": ("even", "odd")}
    assert len(train) + len(test) == ROWS
    for part in (train, test):
        shades = part.fetch(torch.arange(len(part)))[:, 0, 0, 0] // 10
        assert torch.equal(shades.long() % 2, part.labels["label"])
        assert torch.equal(part.select(torch.tensor([1])).fetch(torch.tensor([0]))[0, 0, 0, 0] // 10, shades[1])
    module = ImageDataModule((train, test), batch_size=4)
    assert next(iter(module.train_dataloader()))["images"].shape == (4, 3, 4, 4)
    crops = train.fetch_crops(torch.tensor([1, 2]), lambda row, height, width: torch.tensor([[0, 0, height, width]]), 8)
    assert crops.shape == (1, 2, 3, 8, 8)


@pytest.mark.parametrize("form", FORMS)
def test_texts(form, tmp_path):
    texts = load_texts(str(make(form, tmp_path / "set")))
    assert len(texts) == ROWS
    assert texts[7]["text"] == "number 7"
    assert texts[7]["label"] == "odd"
    assert "image" not in texts.columns


def test_classes_in_other_columns(tmp_path, caplog):
    found = table().append_column("species", pa.array(["cat", "dog", "cat", "cat", "dog", "cat"] * 2))
    found = found.set_column(2, "label", pa.array([None, *found["label"].to_pylist()[1:]]))
    pq.write_table(found, tmp_path / "a.parquet")
    with caplog.at_level(logging.WARNING):
        train, _ = load_image_sets(str(tmp_path / "a.parquet"), image_size=4)
    assert "the column 'label' is not used as classes: 1 of 12 images have none" in caplog.text
    assert train.class_names == {"species": ("cat", "dog")}
    named = ImageDataModule(str(tmp_path / "a.parquet"), batch_size=4, roles=ImageRoles(label_column="species"))
    assert named.num_classes == 2


def test_parts_are_found_in_names(tmp_path):
    for part, start in (("train", 0), ("validation", 8)):
        (tmp_path / "set" / part).mkdir(parents=True)
        write_tar(tmp_path / "set" / part / "0.tar", members(start, 8 if part == "train" else ROWS))
    train, test = load_modalities(str(tmp_path / "set"), reading=READING)
    assert (len(train), len(test)) == (8, 4)
    assert test[0]["text"] == ["number 8"]
    train, test = load_image_sets(str(tmp_path / "set"), image_size=4)
    assert (len(train), len(test)) == (8, 4)
    assert len(load_texts(str(tmp_path / "set"))) == 8


def test_parts_and_an_order_that_datasets_saved(tmp_path):
    datasets = pytest.importorskip("datasets")
    whole = datasets.Dataset(table())
    shuffled = whole.select([3, 1, 2])
    datasets.DatasetDict({"train": shuffled, "test": whole.select(range(4, 6))}).save_to_disk(tmp_path / "set")
    train, test = load_modalities(str(tmp_path / "set"), reading=READING)
    assert [row["text"][0] for row in train.fetch(torch.arange(3))] == ["number 3", "number 1", "number 2"]
    assert [row["text"][0] for row in test.fetch(torch.arange(2))] == ["number 4", "number 5"]


def test_unpacked_tables_are_kept_and_made_anew_when_they_change(tmp_path, monkeypatch, cache):
    monkeypatch.setattr(unpacked, "IN_MEMORY", 0)
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["one", "two"]}), path)
    assert find_store(path).cell("text", 1) == "two"
    (kept,) = (cache / "unpacked").iterdir()
    before = kept.stat().st_mtime_ns
    assert find_store(path).cell("text", 1) == "two"
    assert kept.stat().st_mtime_ns == before
    pq.write_table(pa.table({"text": ["one", "three", "four"]}), path)
    assert find_store(path).cell("text", 1) == "three"
    assert len(list((cache / "unpacked").iterdir())) == 1


def test_large_tables_are_looked_at_in_part(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(looking, "ALL_CHECKED", 10)
    monkeypatch.setattr(looking, "DRAWN", 6)
    cells = [picture(row) if row % 3 else b"no image" for row in range(ROWS)]
    pq.write_table(pa.table({"image": cells}), tmp_path / "a.parquet")
    with caplog.at_level(logging.WARNING):
        rows, _ = load_table(tmp_path / "a.parquet", READING)
    left = int((~rows.present("image")).sum())
    assert 0 < left < 4
    assert f"{left} of 6 cells that were looked at, of {ROWS}" in caplog.text
    bad = next(row for row in range(0, ROWS, 3) if rows.present("image")[row])
    with pytest.raises(InputError, match=f"cannot decode row {bad + 1}: "):
        rows.fetch(torch.tensor([bad]))
    for _ in range(2):  # looked at, then known
        everything, _ = load_table(tmp_path / "a.parquet", Reading(image_size=4, check="all"))
        assert everything.present("image").tolist() == [row % 3 > 0 for row in range(ROWS)]
        assert len(everything.skipped) == 4
        monkeypatch.setattr(looking, "_looked_at", None)


@pytest.mark.parametrize("form", ["lists", "fixed lists", "numbers", "json", "tar"])
def test_vectors_on_disk_are_those_in_memory(form, tmp_path, monkeypatch):
    generator = np.random.default_rng(0)
    values = generator.normal(size=(9, 1 if form == "numbers" else 3)).astype(np.float32)
    cells = [None if row == 4 else vector.tolist() for row, vector in enumerate(values)]
    cells[7] = [float("nan")] * len(values[0])
    path = tmp_path / ("a.tar" if form == "tar" else "a.parquet")
    if form == "tar":
        arrays = [io.BytesIO() for _ in cells]
        for array, cell in zip(arrays, cells, strict=True):
            np.save(array, np.array(cell or [], np.float32))
        write_tar(path, ((f"{row}.npy", array.getvalue()) for row, array in enumerate(arrays)))
    else:
        column = {
            "lists": pa.array(cells, pa.list_(pa.float32())),
            "fixed lists": pa.array(cells, pa.list_(pa.float32(), 3)) if form == "fixed lists" else None,
            "numbers": pa.array([cell and cell[0] for cell in cells], pa.float32()),
            "json": pa.array([cell and json.dumps(cell) for cell in cells]),
        }[form]
        pq.write_table(pa.table({"vector": column}), path)
    reading = Reading(modalities={"vector": "vector"})
    memory, _ = load_table(path, reading)
    monkeypatch.setattr(tables, "VECTORS_IN_MEMORY", 0)
    disk, _ = load_table(path, reading)
    assert type(disk.columns["vector"]) is not type(memory.columns["vector"])
    assert disk.present("vector").tolist() == memory.present("vector").tolist()
    assert disk.skipped == memory.skipped
    for part in (torch.arange(9), torch.tensor([0, 2, 8])):
        one, other = (each.select(part).facts()["vector"] for each in (memory, disk))
        assert one.pop("mean") == pytest.approx(other.pop("mean"), rel=1e-6)
        assert one.pop("std") == pytest.approx(other.pop("std"), rel=1e-6)
        assert one == other
    assert torch.equal(memory[0]["vector"], disk[0]["vector"])


def test_vectors_of_several_widths_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "VECTORS_IN_MEMORY", 0)
    for cells in ([[1.0], [1.0, 2.0]], ["[1.0]", "[1.0, 2.0]"], ["[1.0]", "word"]):
        pq.write_table(pa.table({"vector": cells}), tmp_path / "a.parquet")
        with pytest.raises(InputError, match=r"2 numbers in row 2|row 2 is 'word'"):
            load_table(tmp_path / "a.parquet", Reading(modalities={"vector": "vector"}))


def test_members_of_samples(tmp_path, caplog):
    array = io.BytesIO()
    np.save(array, np.array([1.0, 2.0], np.float32))
    record = json.dumps({"caption": "a long caption", "width": 6}).encode()
    path = write_tar(
        tmp_path / "a.tar",
        [
            ("deep/000.left.jpg", picture(1)),
            ("deep/000.npy", array.getvalue()),
            ("deep/000.json", record),
            ("deep/001.left.jpg", picture(2)),
            ("deep/001.json", b"{}"),
            ("deep/001.odd", b"?"),
            ("README", b"?"),
        ],
    )
    with caplog.at_level(logging.WARNING):
        rows, _ = load_table(path, READING)
    assert "1 odd, 1 others" in caplog.text
    assert list(rows.columns) == ["left", "vector"]
    assert rows.id(1) == "deep/001"
    assert rows[0]["vector"].tolist() == [1.0, 2.0]
    assert rows[1]["vector"] is None
    asked, _ = load_table(path, Reading(modalities={"left": None, "caption": "text"}, image_size=4))
    assert asked[0]["caption"] == ["a long caption"]
    assert asked[1]["caption"] is None


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ([("a.pyd", b"x")], "a pickle, which could run code"),
        ([("a.jpg.gz", b"x")], "packed"),
        ([("a.jpg", b"x"), ("a.png", b"x")], "two members for the column 'image'"),
        ([("a.jpg", b"x"), ("b.jpg", b"x"), ("a.txt", b"x")], "lie apart"),
        ([("README", b"x")], "holds no sample"),
    ],
)
def test_shards_that_are_refused(samples, message, tmp_path):
    with pytest.raises(InputError, match=message):
        find_store(write_tar(tmp_path / "a.tar", samples))


@pytest.mark.parametrize("left", [700, 1024, 2048 + 512])
def test_shards_that_are_broken_off(left, tmp_path):
    path = write_tar(tmp_path / "a.tar", [("a.txt", b"x"), ("b.txt", b"x" * 600)])
    path.write_bytes(path.read_bytes()[:left])
    with pytest.raises(InputError, match=r"cannot read|broken off"):
        find_store(path)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("name", ["a", "long" * 30 + "/b", "long" * 23 + "c", "über"])
def test_tars_of_all_formats(form, name, tmp_path):
    with tarfile.open(tmp_path / "a.tar", "w", format=form) as file:
        for number, content in enumerate((b"one", b"two")):
            info = tarfile.TarInfo(f"{name}{number}.txt")
            info.size, info.mtime = 3, 1.5  # a time with a fraction makes an extended header
            file.addfile(info, io.BytesIO(content))
    store = find_store(tmp_path / "a.tar")
    assert [store.cell("text", row) for row in range(2)] == ["one", "two"]
    assert [store.cell("id", row) for row in range(2)] == [f"{name}0", f"{name}1"]


def test_what_is_missing_or_mixed_is_told(tmp_path):
    write_tar(tmp_path / "s-0.tar", members(0, 2))
    with pytest.raises(InputError, match="1 of 2 files are missing"):
        load_modalities(str(tmp_path / "s-{0..1}.tar"))
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "x0.parquet")
    pq.write_table(pa.table({"body": ["a"]}), tmp_path / "x1.parquet")
    with pytest.raises(InputError, match="shards of one set have the same"):
        load_texts(str(tmp_path / "x*.parquet"))
    with pytest.raises(InputError, match="several kinds"):
        load_texts(str(tmp_path / "*"))
    with pytest.raises(InputError, match="no column of images"):
        load_image_sets(str(tmp_path / "x0.parquet"))
    assert expanded("a{1,2}-{9..10}") == ["a1-9", "a1-10", "a2-9", "a2-10"]


def test_a_folder_of_images_beside_a_table_stays_one(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for number in range(5):
            (tmp_path / "set" / name / f"{number}.png").write_bytes(picture(number))
    pq.write_table(table(), tmp_path / "set" / "metadata.parquet")
    assert find_store(tmp_path / "set") is None
    assert load_image_sets(str(tmp_path / "set"))[0].class_names == {"label": ("cat", "dog")}
