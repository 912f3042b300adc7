"""What the commands print and write, in one process."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from dipole import __version__
from dipole.cli import main
from dipole.methods.registry import methods

QUICK = ["--epochs", "1", "--batch-size", "512", "--method.encoder", "convnet4-2", "--method.projection-dim", "8"]


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0
    return capsys.readouterr().out


def settings(run: Path) -> dict[str, Any]:
    return yaml.safe_load((run / "config.yaml").read_text())


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys, "--version") == f"dipole {__version__}\n"


def test_methods(capsys: pytest.CaptureFixture[str]) -> None:
    table = printed(capsys, "methods")
    assert all(name in table for name in methods())


@pytest.mark.parametrize("name", methods())
def test_a_card(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    card = methods()[name].card
    shown = printed(capsys, "methods", name)
    for text in (card.title, card.arxiv, str(card.year), card.summary):
        assert text[:60] in shown


def test_data(capsys: pytest.CaptureFixture[str]) -> None:
    listed = printed(capsys, "data")
    assert all(name in listed for name in ("digits", "shapes", "mnist", "cifar10"))
    counted = printed(capsys, "data", "digits")
    for text in ("1347", "450", "3×8×8"):
        assert text in counted


def test_flags_overrule_a_file_which_overrules_a_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("seed: 7\nmethod:\n  temperature: 0.3\n  learning_rate: 0.5\n")
    out = tmp_path / "run"
    flags = [*QUICK, "--config", str(file), "--method.learning_rate", "0.25", "--out", str(out)]
    assert "last epoch" in printed(capsys, "train", "simclr", *flags)
    found = settings(out)
    assert found["seed"] == 7
    assert found["method"]["temperature"] == 0.3
    assert found["method"]["learning_rate"] == 0.25
    assert found["method"]["optimizer"] == "adam"  # of the recipe
    assert found["views"]["crop_scale"] == [0.4, 1.0]
    assert found["trainer"] == {}


def test_trainer_flags_are_kept_also_where_they_equal_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    flags = ["--trainer.gradient-clip-val", "1", "--trainer.accumulate-grad-batches", "2", "--trainer.devices", "1"]
    printed(capsys, "train", "simclr", *QUICK, *flags, "--trainer.accelerator", "cpu", "--out", str(out))
    assert settings(out)["trainer"] == {
        "accelerator": "cpu",
        "devices": 1,
        "accumulate_grad_batches": 2,
        "gradient_clip_val": 1.0,
    }


def test_a_run_can_be_repeated_from_its_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    flags = ["--views.crop_scale", "[0.3,0.9]", "--trainer.devices", "1", "--seed", "9"]
    printed(capsys, "train", "cacr", *QUICK, "--method.num_positives", "1", *flags, "--out", str(one))
    printed(capsys, "train", "--config", str(one / "config.yaml"), "--out", str(two))
    assert settings(one) == settings(two)
    weights = [run / "model" / "model.safetensors" for run in (one, two)]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_evaluate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    printed(capsys, "train", "simclr", *QUICK, "--out", str(out))
    table = printed(capsys, "evaluate", str(out), "--protocol", "knn")
    assert all(row in table for row in ("trained", "untrained", "raw pixels", "knn accuracy"))
    assert "linear" not in table
    assert (out / "evaluation.json").is_file()
    # Other data than it was trained on:
    assert "raw pixels" in printed(capsys, "evaluate", str(out), "--protocol", "knn", "--data", "shapes")
