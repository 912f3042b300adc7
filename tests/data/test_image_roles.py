"""Labels from tables, long tails, known classes, populations, and Omniglot's zips."""

import io
import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image

from dipole.data import ImageDataModule, load_image_sets
from dipole.data.annotated_set import AnnotatedSet
from dipole.data.image_roles import ImageRoles, with_roles
from dipole.data.omniglot import load_omniglot, load_one_shot_runs
from dipole.data.tensor_image_set import TensorImageSet
from dipole.errors import InputError


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photos")
    for number in range(20):
        Image.new("L", (9, 9), 10 * number).save(folder / f"{number:03d}.png")
    return folder


def table(folder: Path, lines: list[str], name: str = "labels.csv") -> str:
    path = folder.parent / f"{folder.name}-{name}"
    path.write_text("file,age,diagnosis\n" + "".join(f"{line}\n" for line in lines))
    return str(path)


def rows(count: int = 20) -> list[str]:
    return [f"{number:03d}.png,{20 + number / 2},{'ill' if number % 2 else 'healthy'}" for number in range(count)]


def test_numbers_belong_to_their_images(photos: Path) -> None:
    roles = ImageRoles(labels=table(photos, rows()), label_column="age")
    for images in with_roles(load_image_sets(str(photos)), roles, "numbers"):
        assert isinstance(images, AnnotatedSet)
        expected = [20 + int(Path(name).stem) / 2 for name in images.ids]
        assert images.numbers["target"].tolist() == expected
        assert images[0]["target"] == expected[0]


def test_images_are_found_by_file_name_or_stem(photos: Path) -> None:
    for spelling in ("data/{:03d}.png", "{:03d}"):
        lines = [f"{spelling.format(number)},{number},x" for number in range(20)]
        roles = ImageRoles(labels=table(photos, lines), label_column="age")
        train, _ = with_roles(load_image_sets(str(photos)), roles, "numbers")
        assert train.numbers["target"].tolist() == [int(Path(name).stem) for name in train.ids]  # type: ignore[attr-defined]


def test_what_has_no_row_is_left_out_and_counted(photos: Path, caplog: pytest.LogCaptureFixture) -> None:
    roles = ImageRoles(labels=table(photos, [*rows(15), "ghost.png,1,ill"]), label_column="age")
    sets = with_roles(load_image_sets(str(photos)), roles, "numbers")
    assert sum(map(len, sets)) == 15
    assert "1 rows belong to no image" in caplog.text
    assert "have no number in 'age' and are left out" in caplog.text


@pytest.mark.parametrize(
    ("lines", "roles", "role", "message"),
    [
        (["000.png,nan,x", *rows()[1:]], {"label_column": "age"}, "numbers", "row 2 is 'nan'"),
        (["000.png,old,x", *rows()[1:]], {"label_column": "age"}, "numbers", "not numbers"),
        ([f"{n:03d}.png,3,x" for n in range(20)], {"label_column": "age"}, "numbers", "have the target 3"),
        (rows(), {"label_column": "agee"}, "numbers", "no column 'agee'"),
        (rows(), {"label_column": "age", "id_column": "fil"}, "numbers", "no column 'fil'"),
        ([*rows(), rows()[0]], {"label_column": "age"}, "numbers", "keep one row for each image"),
        (["x,1,y", "z,2,y"], {"label_column": "age"}, "numbers", "names none of the images"),
        (rows(), {"background": "diagnosis=dead"}, "classes", "leaves the background population empty"),
        ([f"{n:03d}.png,1,ill" for n in range(20)], {"background": "diagnosis=ill"}, "classes", "the target popu"),
        (rows(), {"background": "diagnosis"}, "classes", "expected COLUMN=VALUE"),
        (rows(), {"background": "sex=f"}, "classes", "no column 'sex'"),
        ([f"{n:03d}.png,1,ill" for n in range(20)], {"label_column": "diagnosis"}, "classes", "two are needed"),
        (rows(), {"label_column": "diagnosis", "known": "2"}, "classes", "names '2'"),
        (rows(), {"label_column": "diagnosis", "known": "first 2"}, "classes", "some must be left"),
    ],
)
def test_wrong_tables(photos: Path, lines: list[str], roles: dict[str, str], role: str, message: str) -> None:
    given = ImageRoles(labels=table(photos, lines, "wrong.csv"), **roles)
    with pytest.raises(InputError, match=message):
        with_roles(load_image_sets(str(photos)), given, role)  # type: ignore[arg-type]


def test_a_set_without_numbers_says_what_to_do() -> None:
    with pytest.raises(InputError, match="the classes of 'label' are no numbers"):
        with_roles(load_image_sets("shapes"), ImageRoles(), "numbers")
    train, _ = with_roles(load_image_sets("digits"), ImageRoles(), "numbers")
    assert torch.equal(train.numbers["target"].long(), train.labels["label"])  # type: ignore[attr-defined]


def test_targets_that_are_given_stay() -> None:
    base = load_image_sets("digits")[0].select(torch.arange(6))
    own = AnnotatedSet(base, base.labels, base.class_names, {"target": torch.arange(6.0)})
    assert with_roles((own, own), ImageRoles(), "numbers")[0] is own


def test_labels_of_novel_classes_never_reach_a_batch() -> None:
    module = ImageDataModule(
        "digits", batch_size=64, roles=ImageRoles(known="first 5", imbalance=10.0), unlabelled=True
    )
    train = module.train_set
    seen = train.seen_labels
    assert seen is not None
    assert getattr(train, "known", None) == 5
    assert int(seen.max()) == 4
    counts = torch.bincount(train.labels["label"])
    assert counts.tolist() == 2 * [130, 73, 41, 23, 13]
    assert torch.bincount(seen[seen >= 0]).tolist() == [65, 36, 20, 11, 6]
    for batch in module.train_dataloader():
        assert torch.equal(batch["label"], seen[batch["index"]])
        assert torch.equal(batch["labelled"], batch["label"] >= 0)


def test_known_classes_come_first() -> None:
    train, test = with_roles(load_image_sets("digits"), ImageRoles(known="7,2"))
    assert train.class_names["label"][:3] == ("7", "2", "0")
    plain = load_image_sets("digits")[1].labels["label"]
    assert torch.equal(test.labels["label"] == 0, plain == 7)


def test_a_share_that_leaves_a_class_without_labels() -> None:
    with pytest.raises(InputError, match="class '0' has 134 training images"):
        with_roles(load_image_sets("digits"), ImageRoles(known="first 5", labelled=0.001))


def test_held_out_classes_are_those_of_the_test_images() -> None:
    train, test = with_roles(load_image_sets("digits"), ImageRoles(held_out="last 4"))
    assert train.labels["label"].unique().tolist() == [0, 1, 2, 3, 4, 5]
    assert test.labels["label"].unique().tolist() == [6, 7, 8, 9]


def test_indices_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "kept.txt"
    path.write_text("5\n3\n")
    train, _ = with_roles(load_image_sets("digits"), ImageRoles(indices=str(path)))
    assert train.ids == tuple(load_image_sets("digits")[0].ids[place] for place in (5, 3))
    for text, message in (("", "holds nothing"), ("3\n3", "a number twice"), ("99999", "'99999'"), ("x", "'x'")):
        path.write_text(text)
        with pytest.raises(InputError, match=message):
            with_roles(load_image_sets("digits"), ImageRoles(indices=str(path)))


def test_populations_of_labels() -> None:
    train, _ = with_roles(load_image_sets("shapes"), ImageRoles(background="texture=plain"))
    plain = train.class_names["texture"].index("plain")
    assert torch.equal(train.labels["population"] == 0, train.labels["texture"] == plain)


def drawing(shade: int) -> bytes:
    content = io.BytesIO()
    Image.new("1", (105, 105), shade).save(content, "PNG")
    return content.getvalue()


def test_omniglot(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "images_background_small1.zip", "w") as archive:
        for alphabet in "ABCDE":
            for number in range(3):
                archive.writestr(f"images_background_small1/{alphabet}/character01/{number}.png", drawing(number % 2))
    train, test = load_omniglot(tmp_path)
    assert {name.split("/")[0] for name in train.ids} == set("ABCE")
    assert {name.split("/")[0] for name in test.ids} == {"D"}
    assert isinstance(train, TensorImageSet)
    assert train.images.unique().tolist() == [0, 255]
    with pytest.raises(InputError, match=r"has no images_background\*\.zip"):
        load_omniglot(tmp_path.parent)
    (tmp_path / "images_background_small1.zip").write_bytes(b"no zip")
    with pytest.raises(InputError, match="Download it again"):
        load_omniglot(tmp_path)


def test_one_shot_runs(tmp_path: Path) -> None:
    path = tmp_path / "all_runs.zip"
    pairs = "run01/test/item01.png run01/training/class02.png\nrun01/test/item02.png run01/training/class01.png\n"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("training/class01", "training/class02", "test/item01", "test/item02"):
            archive.writestr(f"run01/{name}.png", drawing(int(name in ("training/class02", "test/item01"))))
        archive.writestr("run01/class_labels.txt", pairs)
    (run,) = load_one_shot_runs(path)
    assert run.answers.tolist() == [1, 0]
    assert torch.equal(run.support[run.answers], run.queries)
    with pytest.raises(InputError, match="is missing"):
        load_one_shot_runs(tmp_path / "other.zip")


def test_an_accent_is_one_letter_however_it_is_written(tmp_path: Path) -> None:
    for name in ("e\u0301", "a"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(4):
            Image.new("RGB", (4, 4)).save(tmp_path / "photos" / name / f"{name}{index}.png")
    lines = [f"{name}{index}.png,30,{name} " for name in ("\u00e9", "a") for index in range(4)]
    sets = load_image_sets(str(tmp_path / "photos"), None, 4)
    found, _ = with_roles(sets, ImageRoles(labels=table(tmp_path, lines), label_column="diagnosis"))
    assert tuple(found.class_names["label"]) == ("a", "\u00e9")
