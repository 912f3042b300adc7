import numpy as np
import pytest
from PIL import Image

from dipole.data import available, load_image_sets
from dipole.errors import InputError

GREY = np.zeros((10, 4, 4), np.uint8)
LABELS = np.array([0, 1] * 5)


def save_npz(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(path, x_train=GREY, y_train=LABELS, x_test=GREY, y_test=LABELS)


def test_the_built_in_sets_are_as_large_as_announced():
    for info in available():
        if info.where == "built in":
            train, test = load_image_sets(info.name)
            assert info.images == f"{len(train)} + {len(test)}"
            assert info.classes == train.num_classes
            assert train.name == test.name == info.name


def test_the_rows_are_unique_and_complete():
    rows = available()
    assert len({row.name for row in rows}) == len(rows)
    assert all(row.description and row.where for row in rows)
    assert {"digits", "shapes", "mnist", "cifar10", "emoji"} <= {row.name for row in rows}


@pytest.mark.parametrize(
    ("name", "place"),
    [("mnist", "mnist/mnist.npz"), ("mnist", "mnist.npz"), ("cifar10", "cifar10_subset/cifar10_12k.npz")],
)
def test_sets_are_found_below_the_data_root(tmp_path, name, place):
    save_npz(tmp_path / place)
    train, _ = load_image_sets(name, tmp_path)
    assert train.name == name
    assert load_image_sets(place, tmp_path)[0].num_classes == 2
    with pytest.raises(InputError, match=f"{name} is read from files: give --data-root.*{place}"):
        load_image_sets(name)
    (tmp_path / place).unlink()
    with pytest.raises(InputError, match=f"{name} is not in .*{place}"):
        load_image_sets(name, tmp_path)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("digit", "Did you mean 'digits'.*Known: digits, shapes"),
        ("Shapes", "Did you mean 'shapes'"),
        ("", "neither a known set nor a path"),
        ("nothing-like-it", r"path\. Known"),
        ("./images", "no such file or folder"),
        ("missing.npz", "no such file or folder"),
        ("torchvision:CIFAR10", "give --data-root"),
    ],
)
def test_unknown_data_are_refused_with_advice(data, message):
    with pytest.raises(InputError, match=message):
        load_image_sets(data)


def test_a_missing_data_root_is_refused(tmp_path):
    with pytest.raises(InputError, match="is no folder"):
        load_image_sets("mnist", tmp_path / "missing")


def test_pickled_cifar_is_refused_with_a_way_out(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "data_batch_1").write_bytes(b"\x80")
    for data, root in ((str(folder), None), ("cifar10", tmp_path)):
        with pytest.raises(InputError, match=r"does not load.*cifar-10-batches-bin.*\.npz"):
            load_image_sets(data, root)


def test_a_single_file_that_is_no_npz_is_refused(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "photo.png")
    with pytest.raises(InputError, match="a folder of images, an"):
        load_image_sets(str(tmp_path / "photo.png"))


def test_a_folder_is_decoded_at_the_size_asked_for(tmp_path):
    for index in range(4):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{index}.png")
    train, _ = load_image_sets(str(tmp_path), image_size=20)
    assert train.input_shape == (3, 20, 20)
    assert load_image_sets(tmp_path.name, tmp_path.parent)[0].name == tmp_path.name
