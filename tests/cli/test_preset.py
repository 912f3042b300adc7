"""What `dipole train simclr --data …` is set to, and who wins."""

import numpy as np
import pytest
import yaml

from dipole.cli import main
from dipole.cli.weights import with_weights
from dipole.errors import InputError
from dipole.files import write_json
from dipole.runs import Run


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    path = tmp_path_factory.mktemp("images") / "grey.npz"
    pixels = np.random.default_rng(0).integers(0, 256, (70, 12, 12), np.uint8)
    labels = np.arange(70) % 2
    np.savez(path, x_train=pixels[:50], y_train=labels[:50], x_test=pixels[50:], y_test=labels[50:])
    return path


def train(*flags):
    return main(["train", "simclr", "--method.encoder", "convnet4-2", "--monitor.every", "off", *map(str, flags)])


def test_images_of_ones_own_choose_the_settings(images, tmp_path, capsys):
    out = tmp_path / "run"
    assert train("--data", images, "--epochs", 2, "--views.flip", 0.25, "--out", out) == 0
    printed = capsys.readouterr().out
    assert printed.count("preset standard for 50 training images of 12 pixels, grey: image_size 16") == 1
    assert "2 epochs" in printed
    assert "flip 0.25" in printed
    settings = Run.open(out).settings()
    assert (settings.image_size, settings.batch_size, settings.epochs) == (16, 4, 2)
    assert (settings.method["optimizer"], settings.method["learning_rate"]) == ("adamw", 0.001)
    assert settings.method["encoder"] == "convnet4-2"
    assert (settings.views["flip"], settings.views["hue"]) == (0.25, 0.0)
    # The run's file says it all: nothing is chosen again, and the weights are the same.
    assert main(["train", "--config", str(out / "config.yaml"), "--out", str(tmp_path / "again")]) == 0
    assert "preset" not in capsys.readouterr().out
    weights = [run / "model" / "model.safetensors" for run in (out, tmp_path / "again")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_run_is_extended_with_what_was_chosen_for_it(images, tmp_path):
    out, own = tmp_path / "run", tmp_path / "own.npz"
    own.write_bytes(images.read_bytes())
    assert train("--data", own, "--epochs", 1, "--out", out) == 0
    arrays = dict(np.load(own))
    twice = {name: np.concatenate([values, values]) for name, values in arrays.items()}
    np.savez(own, **twice)  # for as many images, other settings would be chosen
    assert train("--data", own, "--epochs", 2, "--out", out, "--resume") == 0
    assert Run.open(out).settings().batch_size == 4


def test_a_file_of_settings_wins_and_an_optimiser_brings_its_own_rate(images, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"batch_size": 10, "method": {"temperature": 0.7}, "epochs": 1}))
    flags = ["--config", file, "--data", images, "--method.optimizer", "sgd"]
    assert train(*flags, "--preset", "quick", "--out", tmp_path / "quick") == 0
    settings = Run.open(tmp_path / "quick").settings()
    assert (settings.batch_size, settings.method["temperature"], settings.image_size) == (10, 0.7, 16)
    assert (settings.method["optimizer"], settings.method["learning_rate"]) == ("sgd", 0.06)


def test_paper_leaves_everything_as_published(images, tmp_path, capsys):
    assert train("--data", images, "--preset", "paper", "--epochs", 1, "--out", tmp_path / "run") == 0
    assert "preset" not in capsys.readouterr().out
    settings = Run.open(tmp_path / "run").settings()
    assert (settings.batch_size, settings.method["optimizer"], settings.views["flip"]) == (128, "sgd", 0.5)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["simclr", "--preset", "fast"], "expected one of 'quick', 'standard', 'paper'"),
        (["moco", "--preset", "quick"], "--preset is for simclr"),
        (["simclr-cifar10", "--preset", "quick"], "--preset is for simclr"),
        (["--preset", "quick", "--config", "x.yaml"], "a method that is named"),
        (["simclr", "--weights", "nowhere.safetensors"], "cannot read the weights nowhere.safetensors"),
    ],
)
def test_wrong_presets_are_one_line(arguments, message, tmp_path, capsys):
    assert main(["train", *arguments, "--out", str(tmp_path / "run")]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert message in line
    assert not (tmp_path / "run").exists()


def test_two_words_start_from_a_trained_encoder(images, tmp_path):
    first, second = tmp_path / "first", tmp_path / "second"
    assert train("--data", images, "--epochs", 1, "--out", first) == 0
    flags = ["--data", str(images), "--epochs", "1", "--method.learning_rate", "1e-12", "--monitor.every", "off"]
    assert main(["train", "simclr", *flags, "--weights", str(first), "--out", str(second)]) == 0
    settings = Run.open(second).settings()
    assert settings.method["encoder"] == "convnet4-2"
    from safetensors.torch import load_file

    before, after = (load_file(run / "model" / "model.safetensors") for run in (first, second))
    name = "network.encoder.backbone.0.weight"
    assert (before[name] - after[name]).abs().max() < 1e-6


def test_a_folder_of_timm_names_its_encoder(tmp_path):
    (tmp_path / "model.safetensors").touch()
    with pytest.raises(InputError, match=r"does not name its encoder: add --method\.encoder"):
        with_weights(["--weights", str(tmp_path)])
    write_json(tmp_path / "config.json", {"architecture": "resnet18"})
    file = ["--method.weights", str(tmp_path / "model.safetensors")]
    assert with_weights(["x", f"--weights={tmp_path}"]) == ["x", *file, "--method.encoder", "resnet18"]
    own = ["--method.encoder", "resnet34"]
    assert with_weights([*own, "--weights", str(tmp_path)]) == [*own, *file]
    assert with_weights(["--weights", "a.safetensors"]) == ["--method.weights", "a.safetensors"]
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"holds no model\.safetensors"):
        with_weights(["--weights", str(tmp_path)])
