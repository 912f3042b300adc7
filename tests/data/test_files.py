import gzip
import struct

import numpy as np
import pytest
import torch

from dipole.data import load_cifar10_binary, load_emoji, load_mnist_files, load_npz, load_torchvision
from dipole.errors import InputError

GREY = np.arange(10 * 4 * 4, dtype=np.uint8).reshape(10, 4, 4)
COLOUR = np.arange(10 * 4 * 5 * 3, dtype=np.uint16).astype(np.uint8).reshape(10, 4, 5, 3)
LABELS = np.array([0, 1] * 5, dtype=np.uint8)


def idx(array):
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def write_mnist(folder, compressed=False):
    folder.mkdir(parents=True, exist_ok=True)
    for part, count in (("train", 10), ("t10k", 4)):
        for kind, array in (("images-idx3", GREY[:count]), ("labels-idx1", LABELS[:count])):
            content = idx(array)
            name = f"{part}-{kind}-ubyte" + (".gz" if compressed else "")
            (folder / name).write_bytes(gzip.compress(content) if compressed else content)


@pytest.mark.parametrize(
    "names", ["x_train y_train x_test y_test", "train_images train_labels test_images test_labels"]
)
def test_npz_with_parts(tmp_path, names):
    path = tmp_path / "own.npz"
    np.savez(path, **dict(zip(names.split(), (COLOUR, LABELS[:, None], COLOUR[:4], LABELS[:4, None]), strict=True)))
    train, test = load_npz(path)
    assert (train.name, len(train), len(test)) == ("own", 10, 4)
    assert train.input_shape == (3, 4, 5)
    assert np.array_equal(train.images[3].numpy(), COLOUR[3].transpose(2, 0, 1))
    assert train.labels["label"].tolist() == LABELS.tolist()


def test_npz_without_parts_or_labels_is_split(tmp_path):
    np.savez(tmp_path / "own.npz", images=GREY)
    train, test = load_npz(tmp_path / "own.npz")
    assert (len(train), len(test)) == (8, 2)
    assert train.labels == {}
    assert set(train.ids).isdisjoint(test.ids)


def test_npz_labels_may_be_any_values(tmp_path):
    np.savez(tmp_path / "own.npz", x=GREY, y=np.array(["cat", "ant"] * 5))
    train, _ = load_npz(tmp_path / "own.npz")
    assert train.class_names["label"] == ("ant", "cat")
    np.savez(tmp_path / "own.npz", x_train=GREY, y_train=LABELS + 5, x_test=GREY[:1], y_test=LABELS[:1] + 9)
    train, test = load_npz(tmp_path / "own.npz")
    assert train.class_names["label"] == ("5", "6", "9")
    assert test.labels["label"].tolist() == [2]


def test_npz_class_names_belong_to_indices(tmp_path):
    np.savez(tmp_path / "own.npz", x=GREY, y=LABELS * 2, classes=np.array(["a", "b", "c"]))
    train, _ = load_npz(tmp_path / "own.npz")
    assert set(train.labels["label"].tolist()) == {0, 2}
    assert train.class_names["label"] == ("a", "b", "c")


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"pictures": GREY}, "has the keys pictures"),
        ({"x": GREY.astype(np.float32)}, "float32, expected uint8"),
        ({"x": GREY[0]}, r"have shape \(4, 4\)"),
        ({"x": COLOUR[..., :2]}, "expected"),
        ({"x": GREY, "y": LABELS[:3]}, "for each of the 10 images"),
        ({"x": GREY, "y": np.zeros((10, 3), int)}, r"shape \(10, 3\)"),
        ({"x": GREY, "y": np.zeros(10)}, "float64"),
        ({"x": GREY, "y": LABELS, "classes": np.array(["one"])}, "1 names in 'classes' for 2"),
        ({"x": GREY, "y": np.array([{}] * 10)}, "does not unpickle"),
    ],
)
def test_npz_of_another_content_is_refused(tmp_path, arrays, message):
    np.savez(tmp_path / "own.npz", **arrays)
    with pytest.raises(InputError, match=message):
        load_npz(tmp_path / "own.npz")


def test_damaged_npz_files_are_refused(tmp_path):
    path = tmp_path / "own.npz"
    np.savez_compressed(path, x=np.random.default_rng(0).integers(0, 255, (50, 20, 20), dtype=np.uint8))
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match="damaged or incomplete"):
        load_npz(path)
    path.write_bytes(content[:3000] + bytes(500) + content[3500:])
    with pytest.raises(InputError, match="damaged or incomplete"):
        load_npz(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="damaged or incomplete"):
        load_npz(path)
    path.write_text("no archive")
    with pytest.raises(InputError, match=r"no \.npz file"):
        load_npz(path)
    with path.open("wb") as file:
        np.save(file, GREY)
    with pytest.raises(InputError, match="one bare array"):
        load_npz(path)
    with pytest.raises(InputError, match="does not exist"):
        load_npz(tmp_path / "missing.npz")


@pytest.mark.parametrize("compressed", [False, True])
def test_mnist_files(tmp_path, compressed):
    write_mnist(tmp_path, compressed)
    train, test = load_mnist_files(tmp_path)
    assert np.array_equal(train.images[:, 0].numpy(), GREY)
    assert test.labels["label"].tolist() == [0, 1, 0, 1]


def test_damaged_mnist_files_are_refused(tmp_path):
    write_mnist(tmp_path, compressed=True)
    path = tmp_path / "train-images-idx3-ubyte.gz"
    content = path.read_bytes()
    path.write_bytes(content[:-20])
    with pytest.raises(InputError, match="damaged or incomplete"):
        load_mnist_files(tmp_path)
    path.write_bytes(gzip.compress(idx(GREY)[:-3]))
    with pytest.raises(InputError, match="header announces 160"):
        load_mnist_files(tmp_path)
    path.write_bytes(gzip.compress(b"something else"))
    with pytest.raises(InputError, match="no IDX file"):
        load_mnist_files(tmp_path)
    path.write_bytes(gzip.compress(idx(GREY[:9])))
    with pytest.raises(InputError, match="9 images but"):
        load_mnist_files(tmp_path)
    path.unlink()
    with pytest.raises(InputError, match="has no train-images"):
        load_mnist_files(tmp_path)


def write_cifar(folder):
    folder.mkdir()
    rows = np.random.default_rng(0).integers(0, 255, (6, 3, 3073), dtype=np.uint8)
    rows[:, :, 0] = [0, 9, 4]
    for name, batch in zip([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"], rows, strict=True):
        batch.tofile(folder / f"{name}.bin")
    return rows


def test_cifar_binary(tmp_path):
    rows = write_cifar(tmp_path / "bin")
    train, test = load_cifar10_binary(tmp_path / "bin")
    assert (len(train), len(test)) == (15, 3)
    assert train.labels["label"][:3].tolist() == [0, 9, 4]
    assert train.class_names["label"][9] == "truck"
    assert np.array_equal(test.images[1].flatten().numpy(), rows[5, 1, 1:])


def test_damaged_cifar_files_are_refused(tmp_path):
    rows = write_cifar(tmp_path / "bin")
    path = tmp_path / "bin" / "data_batch_3.bin"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="9218 bytes, expected a multiple of 3073"):
        load_cifar10_binary(tmp_path / "bin")
    (rows[0] + 10).tofile(path)
    with pytest.raises(InputError, match="not CIFAR-10"):
        load_cifar10_binary(tmp_path / "bin")
    path.unlink()
    with pytest.raises(InputError, match="all six"):
        load_cifar10_binary(tmp_path / "bin")


def test_emoji_keep_both_drawings_in_one_part(tmp_path):
    np.savez(
        tmp_path / "emoji.npz",
        image_twitter=COLOUR[:, :, :4],
        image_google=255 - COLOUR[:, :, :4],
        category=np.array(["Food", "Flags"] * 5),
        codepoint=np.array([f"{index:X}" for index in range(10)]),
    )
    train, test = load_emoji(tmp_path / "emoji.npz")
    assert (len(train), len(test)) == (16, 4)
    emoji = [{name.split("/")[0] for name in part.ids} for part in (train, test)]
    assert emoji[0].isdisjoint(emoji[1])
    assert test.class_names == {"label": ("Flags", "Food"), "style": ("twitter", "google")}
    assert [name.split("/")[1] for name in test.ids] == [test.class_names["style"][i] for i in test.labels["style"]]
    row = test.ids.index(next(name for name in test.ids if name.endswith("google")))
    number = int(test.ids[row].split("/")[0], 16)
    assert torch.equal(test.images[row], torch.from_numpy(255 - COLOUR[number, :, :4].transpose(2, 0, 1)))
    np.savez(tmp_path / "emoji.npz", category=np.array(["a"]))
    with pytest.raises(InputError, match="lacks codepoint, image_google, image_twitter"):
        load_emoji(tmp_path / "emoji.npz")


def test_torchvision_reads_what_is_there(tmp_path):
    write_mnist(tmp_path / "FashionMNIST" / "raw")
    train, test = load_torchvision("FashionMNIST", tmp_path)
    assert (len(train), len(test)) == (10, 4)
    assert np.array_equal(train.images[:, 0].numpy(), GREY)
    assert train.class_names["label"][1] == "Trouser"
    assert train.name == "torchvision:FashionMNIST"


def test_a_failed_download_is_one_clear_error(tmp_path, monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with pytest.raises(InputError, match="could not download or read CIFAR100"):
        load_torchvision("CIFAR100", tmp_path)


def test_torchvision_names_are_suggested(tmp_path):
    with pytest.raises(InputError, match=r"Did you mean CIFAR100\? Known: CIFAR10"):
        load_torchvision("cifar-100", tmp_path)
    with pytest.raises(InputError, match="ImageNet is unknown"):
        load_torchvision("ImageNet", tmp_path)
