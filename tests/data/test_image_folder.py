import logging
import os
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

from dipole.data import load_image_folder, load_image_sets, unreadable_images
from dipole.data.decode import UnreadableImageError, check_image_file, decode_image
from dipole.data.image_folder import class_folders
from dipole.errors import InputError


def save(path, value=128, mode="RGB", size=(12, 10), **options):
    """Save an image of one value."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fill = tuple([value] * len(mode)) if mode in ("RGB", "RGBA", "LA", "CMYK") else value
    Image.new(mode, size, fill).save(path, **options)


def classes(root, counts):
    for name, count in counts.items():
        for index in range(count):
            save(root / name / f"{index:02}.png", value=10 * index)


def damaged_png(path):
    """Flip bytes in the middle of the compressed pixels: header and end stay sound."""
    noise = np.random.default_rng(0).integers(0, 255, (40, 40, 3), dtype=np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(noise).save(path)
    content = bytearray(path.read_bytes())
    content[1000:1400] = bytes(400)
    path.write_bytes(content)


def test_class_folders_become_labels(tmp_path):
    classes(tmp_path, {"cat": 10, "dog": 5, "größe": 5})
    train, test = load_image_folder(tmp_path, size=8)
    assert train.class_names == {"label": ("cat", "dog", "größe")}
    assert torch.bincount(train.labels["label"]).tolist() == [8, 4, 4]
    assert torch.bincount(test.labels["label"]).tolist() == [2, 1, 1]
    assert set(train.ids).isdisjoint(test.ids)
    assert train.input_shape == (3, 8, 8)
    for row, path in enumerate(train.ids):
        assert train.class_names["label"][int(train.labels["label"][row])] == path.split("/")[0]
        assert int(train.fetch(torch.tensor([row]))[0, 0, 0, 0]) == 10 * int(path[-6:-4])
    assert load_image_folder(tmp_path, size=8)[1].ids == test.ids


def test_train_and_test_folders_become_the_parts(tmp_path, caplog):
    classes(tmp_path / "train", {"a": 3, "b": 3})
    classes(tmp_path / "val", {"b": 2, "c": 1})
    save(tmp_path / "extra" / "0.png")
    train, test = load_image_folder(tmp_path, size=8)
    assert train.class_names["label"] == test.class_names["label"] == ("a", "b", "c")
    assert train.labels["label"].tolist() == [0, 0, 0, 1, 1, 1]
    assert test.labels["label"].tolist() == [1, 1, 2]
    assert test.ids[0] == "val/b/00.png"
    assert train.skipped == (("extra", "lies beside the folders train and val, which are the two parts"),)
    assert "extra" in caplog.text


def test_a_lone_train_folder_is_split_and_a_train_among_cars_is_a_class(tmp_path):
    classes(tmp_path / "lone" / "train", {"a": 5, "b": 5})
    train, test = load_image_folder(tmp_path / "lone", size=8)
    assert (len(train), len(test)) == (8, 2)
    assert train.class_names["label"] == ("a", "b")
    classes(tmp_path / "vehicles", {"train": 5, "car": 5})
    assert load_image_folder(tmp_path / "vehicles", size=8)[0].class_names["label"] == ("car", "train")


def test_a_flat_folder_has_no_labels(tmp_path):
    for index in range(10):
        save(tmp_path / f"{index}.png")
    train, test = load_image_sets(str(tmp_path))
    assert (len(train), len(test)) == (8, 2)
    assert train.labels == {}
    assert train.num_classes == 0
    assert train.input_shape == (3, 96, 96)


def test_what_cannot_be_used_is_named(tmp_path, caplog):
    classes(tmp_path, {"a": 4, "b": 4})
    (tmp_path / "a" / "empty.png").touch()
    (tmp_path / "a" / "text.jpg").write_text("no picture")
    (tmp_path / "b" / "notes.txt").write_text("notes")
    (tmp_path / "b" / ".hidden").write_text("ignored")
    save(tmp_path / "beside.png")
    whole = tmp_path / "b" / "whole.jpg"
    save(whole, size=(200, 200))
    (tmp_path / "b" / "broken off.jpg").write_bytes(whole.read_bytes()[:700])
    with caplog.at_level(logging.WARNING):
        train, test = load_image_folder(tmp_path, size=8)
    assert len(train) + len(test) == 9
    reasons = dict(train.skipped)
    assert reasons.keys() == {"a/empty.png", "a/text.jpg", "b/notes.txt", "beside.png", "b/broken off.jpg"}
    assert reasons["a/empty.png"] == "the file is empty"
    assert reasons["a/text.jpg"] == "its content is no image that Pillow knows"
    assert reasons["b/notes.txt"] == "not an image (.txt)"
    assert reasons["beside.png"] == "lies beside the class folders"
    assert "truncated" in reasons["b/broken off.jpg"]
    assert len(caplog.records) == 1
    assert "9 images, 5 files left out" in caplog.text
    assert train.select(torch.tensor([0])).skipped == train.skipped


def test_a_single_class_gives_no_labels_and_says_so(tmp_path, caplog):
    classes(tmp_path, {"only": 5})
    train, _ = load_image_folder(tmp_path, size=8)
    assert train.labels == {}
    assert "single class 'only'" in caplog.text


def test_labels_in_one_part_only_are_not_used(tmp_path, caplog):
    classes(tmp_path / "train", {"a": 2, "b": 2})
    save(tmp_path / "test" / "0.png")
    train, test = load_image_folder(tmp_path, size=8)
    assert train.labels == test.labels == {}
    assert "only one of the parts" in caplog.text


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ([], "is empty"),
        (["notes.txt"], r"no image that can be read. Left out: notes.txt \(not an image"),
        (["a.png"], "at least 2 and 1"),
    ],
)
def test_folders_that_cannot_work_are_refused(tmp_path, files, message):
    for name in files:
        save(tmp_path / name) if name.endswith("png") else (tmp_path / name).write_text("text")
    with pytest.raises(InputError, match=message):
        load_image_folder(tmp_path, size=8)


def test_a_missing_folder_and_a_bad_size_are_refused(tmp_path):
    with pytest.raises(InputError, match="cannot read the folder"):
        load_image_folder(tmp_path / "missing")
    with pytest.raises(InputError, match="image size is 0"):
        load_image_folder(tmp_path, size=0)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_class_folder_is_named(tmp_path):
    classes(tmp_path, {"a": 3, "b": 3, "locked": 1})
    (tmp_path / "locked").chmod(0)
    try:
        train, _ = load_image_folder(tmp_path, size=8)
    finally:
        (tmp_path / "locked").chmod(0o755)
    assert train.skipped == (("locked", "Permission denied"),)


def test_links_are_followed_but_not_in_circles(tmp_path):
    classes(tmp_path / "store", {"a": 3})
    classes(tmp_path / "data", {"b": 3})
    (tmp_path / "data" / "a").symlink_to(tmp_path / "store" / "a")
    (tmp_path / "data" / "b" / "circle").symlink_to(tmp_path / "data")
    train, test = load_image_folder(tmp_path / "data", size=8)
    assert train.class_names["label"] == ("a", "b")
    assert len(train) + len(test) == 6


def test_damage_inside_a_file_is_told_when_it_is_decoded(tmp_path):
    classes(tmp_path, {"a": 3, "b": 3})
    damaged_png(tmp_path / "b" / "damaged.png")
    train, test = load_image_folder(tmp_path, size=8)
    part = train if "b/damaged.png" in train.ids else test
    with pytest.raises(InputError, match=r"cannot decode .*damaged\.png.*unreadable_images"):
        part.fetch(torch.arange(len(part)))
    ((path, reason),) = unreadable_images(tmp_path)
    assert path == "b/damaged.png"
    assert reason


def test_every_mode_becomes_rgb(tmp_path):
    save(tmp_path / "grey.png", 200, "L")
    save(tmp_path / "bits.png", 1, "1")
    save(tmp_path / "cmyk.jpg", 0, "CMYK")
    Image.fromarray(np.full((6, 6), 51400, np.uint16)).save(tmp_path / "deep.png")
    Image.fromarray(np.full((6, 6), 51400, np.uint16)).save(tmp_path / "deep.tif")
    palette = Image.new("P", (6, 6), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    palette.save(tmp_path / "palette.gif")
    palette.save(tmp_path / "clear.png", transparency=1)
    Image.new("RGBA", (6, 6), (255, 0, 0, 0)).save(tmp_path / "transparent.png")
    expected = {
        "grey.png": (200, 200, 200),
        "bits.png": (255, 255, 255),
        "cmyk.jpg": (255, 255, 255),
        "deep.png": (200, 200, 200),
        "deep.tif": (200, 200, 200),
        "palette.gif": (10, 20, 30),
        "clear.png": (255, 255, 255),
        "transparent.png": (255, 255, 255),
    }
    for name, colour in expected.items():
        assert check_image_file(tmp_path / name) is None, name
        pixels = decode_image(tmp_path / name, 4)
        assert pixels.shape == (3, 4, 4)
        assert np.abs(pixels[:, 2, 2].astype(int) - colour).max() <= 1, name


def test_pixels_of_unknown_range_are_refused(tmp_path):
    Image.fromarray(np.full((6, 6), 0.5, np.float32)).save(tmp_path / "float.tif")
    assert "save it with 8 bits" in check_image_file(tmp_path / "float.tif")
    with pytest.raises(UnreadableImageError, match="32-bit"):
        decode_image(tmp_path / "float.tif", 4)


def test_the_centre_square_is_taken_and_exif_obeyed(tmp_path):
    pixels = np.zeros((20, 60, 3), np.uint8)
    pixels[:, 20:40] = 255
    Image.fromarray(pixels).save(tmp_path / "wide.png")
    assert decode_image(tmp_path / "wide.png", 10).min() == 255
    halves = np.zeros((32, 32, 3), np.uint8)
    halves[:16] = 255
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180 degrees
    Image.fromarray(halves).save(tmp_path / "turned.jpg", exif=exif, quality=95)
    turned = decode_image(tmp_path / "turned.jpg", 32)
    assert turned[:, :12].max() < 60
    assert turned[:, 20:].min() > 195


@pytest.mark.parametrize("extension", ["png", "jpg", "gif", "webp", "bmp", "tif"])
def test_a_file_cut_short_never_passes(tmp_path, extension):
    noise = np.random.default_rng(0).integers(0, 255, (30, 30, 3), dtype=np.uint8)
    path = tmp_path / f"noise.{extension}"
    Image.fromarray(noise).save(path)
    assert check_image_file(path) is None
    content = path.read_bytes()
    for share in (0.3, 0.9):
        path.write_bytes(content[: int(len(content) * share)])
        assert check_image_file(path) is not None


def test_bytes_after_the_end_do_no_harm(tmp_path):
    save(tmp_path / "photo.jpg")
    with (tmp_path / "photo.jpg").open("ab") as file:
        file.write(b"written by a camera")
    assert check_image_file(tmp_path / "photo.jpg") is None


def test_a_bomb_is_left_out(tmp_path):
    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    chunk = b"IHDR" + header
    content = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    (tmp_path / "bomb.png").write_bytes(content + b"\x00\x00\x00\x00IEND\xaeB`\x82")
    assert "decompression bomb" in check_image_file(tmp_path / "bomb.png")


def test_the_class_of_an_image_is_its_folder_behind_the_split() -> None:
    assert class_folders("x", ["Train/cat/1.png", "Test/dog/2.png"]) == ["cat", "dog"]
    assert class_folders("x", ["train/1.png", "bus/2.png", "3.png"]) == ["train", "bus", None]


def test_eight_bits_in_sixteen_stay_visible(tmp_path):
    for name, white in (("8", 255), ("12", 4095), ("16", 65535)):
        Image.fromarray(np.linspace(0, white, 36, dtype=np.uint16).reshape(6, 6)).save(tmp_path / f"{name}.png")
        pixels = decode_image(tmp_path / f"{name}.png", 6)[0]
        assert (int(pixels.min()), int(pixels.max())) == (0, 255)


def test_classes_that_only_test_images_have_are_named(tmp_path, caplog):
    for part, names in (("train", {"cat": 2, "caf\u00e9": 2}), ("test", {"Cat": 2, "cafe\u0301": 2})):
        classes(tmp_path / part, names)
    with caplog.at_level(logging.WARNING):
        train, _ = load_image_folder(tmp_path, size=8)
    assert train.class_names == {"label": ("Cat", "caf\u00e9", "cat")}
    assert "1 of 3 classes have test images and no training images ('Cat')" in caplog.text
