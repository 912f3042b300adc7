"""Built-in sets of several modalities, those of files with files made here."""

import numpy as np
import pytest
import torch

from dipole.data.multimodal import Reading, available_modalities, load_modalities
from dipole.data.multimodal.built_in import load_shape_captions, load_xor
from dipole.errors import InputError


def test_captions_tell_the_shape():
    train, test = load_shape_captions(30, 10)
    for part in (train, test):
        for row, label in enumerate(part.labels):
            captions = part[row]["caption"]
            assert all(label in caption for caption in captions)
            assert len(set(captions)) == 3
    assert not torch.equal(train[0]["image"], test[0]["image"])


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_xor(probability):
    train, _ = load_xor(probability, bits=2, train=50)
    a, b, c = (train.columns[name].values.bool() for name in "abc")
    assert torch.equal(c, a ^ b if probability else a)


def test_digits_of_a_row_are_alike(tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "fsdd").mkdir()
    (tmp_path / "mnist").mkdir()
    labels = np.repeat(np.arange(10), 12).astype(np.uint8)
    np.savez(
        tmp_path / "fsdd" / "fsdd_8k.npz",
        audio=rng.integers(-5, 5, 1200).astype(np.int16),
        offsets=np.arange(0, 1201, 10),
        label=labels,
        index=np.tile(np.arange(12), 10),
        sample_rate=8000,
    )
    # The grey value is the digit.
    digits = np.repeat(np.arange(10), 3).astype(np.uint8)
    images = np.broadcast_to(digits[:, None, None], (30, 4, 4)).copy()
    np.savez(tmp_path / "mnist" / "mnist.npz", x_train=images, y_train=digits, x_test=images, y_test=digits)
    train, test = load_modalities("digit-trios", tmp_path)
    assert (len(train), len(test)) == (70, 50)
    numbers = sorted(set(train.labels), key=lambda word: train.labels.index(word))
    for part in (train, test):
        for row, word in zip(part.fetch(torch.arange(len(part))), part.labels, strict=True):
            assert row["word"] == [word]
            assert int(row["image"].unique()) == numbers.index(word)
            assert row["sound"].shape == (8000,)
            assert row["sound"][10:].abs().max() == 0 < row["sound"].abs().max()
    only, _ = load_modalities("digit-trios", tmp_path, reading=Reading({"word": None, "sound": "sound"}))
    assert list(only.columns) == ["word", "sound"]
    np.savez(tmp_path / "fsdd" / "fsdd_8k.npz", audio=np.zeros(3))
    with pytest.raises(InputError, match="lacks index, label, offsets, sample_rate"):
        load_modalities("digit-trios", tmp_path)


def test_emoji(tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (10, 6, 6, 3)).astype(np.uint8)
    np.savez(
        tmp_path / "emoji_48.npz",
        image_twitter=images,
        image_google=255 - images,
        caption=[f"emoji {number}" for number in range(10)],
        tags=["", *(["tag"] * 9)],
        category=["Food", "Flags"] * 5,
        codepoint=[f"1F60{number}" for number in range(10)],
    )
    train, test = load_modalities("emoji-captions", tmp_path)
    assert (len(train), len(test)) == (8, 2)
    row = train[1]
    assert torch.equal(row["twitter"], 255 - row["google"])
    assert train.id(1) == row["caption"][0].replace("emoji ", "1F60")
    assert set(train.labels) == {"Food", "Flags"}


def test_a_set_is_listed():
    assert {info.name for info in available_modalities()} >= {"shape-captions", "xor", "emoji-captions", "digit-trios"}
