"""A folder that was looked through once opens without reading its files again, and never by what was true before."""

import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from dipole.data import checked
from dipole.data.image_folder import load_image_folder


@pytest.fixture
def photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DIPOLE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(checked, "FEWEST_REMEMBERED", 4)
    for number in range(12):
        file = tmp_path / "photos" / f"class{number % 2}" / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(file)
    return tmp_path / "photos"


def count(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    seen: list[Path] = []
    original = checked._checked

    def looked(root: Path, paths: list[str], check: checked.Check) -> list[tuple[str, str]]:
        seen.extend(root / path for path in paths)
        return original(root, paths, check)

    monkeypatch.setattr(checked, "_checked", looked)
    return seen


def test_a_second_look_reads_what_is_new_or_changed(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = count(monkeypatch)
    first = load_image_folder(photos)
    assert len(seen) == 12
    seen.clear()
    second = load_image_folder(photos)
    assert seen == []
    assert [part.ids for part in first] == [part.ids for part in second]
    Image.new("RGB", (8, 8)).save(photos / "class0" / "new.png")
    (photos / "class1" / "1.png").write_bytes((photos / "class1" / "1.png").read_bytes()[:40])
    third = load_image_folder(photos)
    assert sorted(path.name for path in seen) == ["1.png", "new.png"]
    assert [path for path, _ in third[0].skipped] == ["class1/1.png"]
    seen.clear()
    assert load_image_folder(photos)[0].skipped == third[0].skipped, "what is damaged is told again"
    assert [path.name for path in seen] == ["1.png"]


def test_a_file_of_the_same_size_but_another_time_is_read(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    load_image_folder(photos)
    file = photos / "class0" / "2.png"
    content, times = file.read_bytes(), file.stat()
    file.write_bytes(bytes(len(content)))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns + 1))
    assert [path for path, _ in load_image_folder(photos)[0].skipped] == ["class0/2.png"]


def test_a_damaged_or_unwritable_memory_costs_time_alone(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = load_image_folder(photos)
    (kept,) = (photos.parent / "cache" / "checked").iterdir()
    for content in ("{", "[1]", '{"class0/0.png": "x"}'):
        kept.write_text(content)
        assert load_image_folder(photos)[0].ids == whole[0].ids
    shutil.rmtree(photos.parent / "cache")
    (photos.parent / "cache").write_text("a file where the folder should be")
    assert load_image_folder(photos)[0].ids == whole[0].ids
