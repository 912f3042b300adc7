import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from dipole.data import load_image_sets
from dipole.data.tensor_image_set import TensorImageSet
from dipole.errors import InputError
from dipole.runs.presets import BATCH, BUDGET, EPOCHS, PRESETS, Measured, fitting, in_a_line, measure


@given(number=st.integers(2, 10**7), side=st.integers(1, 5000), grey=st.booleans(), preset=st.sampled_from(PRESETS[:2]))
def test_the_rules_hold_for_any_images(number, side, grey, preset):
    settings = fitting(Measured(number, side, grey), preset)
    assert settings["image_size"] == (16 if side <= 16 else 32 if side <= 128 else 64)
    assert 2 <= settings["batch_size"] <= min(BATCH, max(number, 2))
    fewest, most = EPOCHS[preset]
    assert fewest <= settings["epochs"] <= most
    passed = settings["epochs"] * number * (settings["image_size"] / 32) ** 2
    if fewest < settings["epochs"] < most:
        assert 0.85 * BUDGET[preset] < passed < 1.15 * BUDGET[preset]
    views = settings["views"]
    assert (views["hue"] == views["saturation"] == views["grayscale"] == 0) is grey


def test_quick_is_less_than_standard_and_paper_chooses_nothing():
    images = Measured(3000, 32, False)
    assert fitting(images, "quick")["epochs"] < fitting(images, "standard")["epochs"]
    assert fitting(images, "paper") == {}
    with pytest.raises(InputError, match="preset is 'fast': expected one of 'quick', 'standard', 'paper'"):
        fitting(images, "fast")


def test_epochs_follow_a_size_of_the_callers():
    images = Measured(2000, 100, False)
    small, large = (fitting(images, "standard", image_size=size) for size in (32, 64))
    assert (small["image_size"], large["image_size"]) == (32, 64)
    assert small["epochs"] > large["epochs"]


def test_photos_are_measured_at_their_own_size(tmp_path):
    for number in range(5):
        for name, colour in (("grey", (90, 90, 90)), ("red", (200, 10, 10))):
            (tmp_path / name / "a").mkdir(parents=True, exist_ok=True)
            width = 60 + number  # the shorter side is 50
            Image.new("RGB", (width, 50), colour).save(tmp_path / name / "a" / f"{number}.png")
            Image.new("RGB", (50, width), colour).save(tmp_path / name / "a" / f"{number}-turned.png")
    for name, grey in (("grey", True), ("red", False)):
        train, _ = load_image_sets(str(tmp_path / name))
        assert measure(train) == Measured(len(train), 50, grey)


def test_one_image_in_colour_is_enough():
    pixels = np.full((40, 3, 20, 20), 7, np.uint8)
    grey = TensorImageSet("grey", torch.from_numpy(pixels))
    assert measure(grey) == Measured(40, 20, True)
    pixels[13, 0] = 90
    assert not measure(TensorImageSet("one", torch.from_numpy(pixels))).grey


def test_the_line_says_what_the_run_is_set_to():
    images = Measured(500, 28, True)
    settings = fitting(images, "quick")
    line = in_a_line(images, "quick", {**settings, "epochs": 7})
    assert "\n" not in line
    assert "500 training images of 28 pixels, grey" in line
    for part in ("image_size 32", "convnet4-16", "batch_size 32", "adamw at 0.001", "7 epochs", "crops from 0.3"):
        assert part in line


def test_a_trained_encoder_is_fitted_gently():
    settings = fitting(Measured(4000, 32, False), "standard", started=True)
    assert (settings["image_size"], settings["epochs"], settings["method"]["learning_rate"]) == (96, 5, 0.0001)
    assert "encoder" not in settings["method"]
    assert fitting(Measured(4000, 32, False), "standard", started=True, image_size=64)["image_size"] == 64
