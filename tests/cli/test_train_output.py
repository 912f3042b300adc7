"""What a person, or a log file, sees of a training run."""

import csv
from pathlib import Path

import pytest

from dipole.cli import main
from dipole.cli.train import in_words
from dipole.runs import Run, RunConfig, train

SMALL = ["--batch_size", "512", "--method.encoder", "convnet4-4"]


def rows(run: Run) -> list[dict[str, str]]:
    with run.metrics.open(newline="") as file:
        return list(csv.DictReader(file))


def test_without_a_terminal_an_epoch_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "simclr", *SMALL, "--epochs", "3", "--out", str(tmp_path / "run")]) == 0
    told = capsys.readouterr()
    lines = [line for line in told.err.splitlines() if line.startswith("epoch ")]
    assert [line.split()[1] for line in lines] == ["1/3", "2/3", "3/3"]
    assert "loss" in lines[0]
    assert "s left" in lines[0]
    assert "the untrained encoder" in told.out


@pytest.mark.parametrize(("every", "epochs"), [("2", [1, 2]), ("off", []), ("1", [0, 1, 2])])
def test_looks_while_it_trains_are_a_choice(every: str, epochs: list[int], tmp_path: Path) -> None:
    flags = ["--epochs", "3", "--monitor.every", every, "--out", str(tmp_path / "run")]
    assert main(["train", "simclr", *SMALL, *flags]) == 0
    found = rows(Run(tmp_path / "run"))
    first = epochs[0] if epochs else 3
    assert [bool(row.get("knn")) for row in found] == [epoch >= first for epoch in range(3)]
    assert (tmp_path / "run" / "diagnostics.json").is_file() == bool(epochs)


def test_looks_change_no_weight(tmp_path: Path) -> None:
    settings = RunConfig("simclr", epochs=2, batch_size=512, method={"encoder": "convnet4-4"})
    runs = [train(settings, tmp_path / str(m), monitor=m, progress=False) for m in (True, 2, False)]
    weights = [(run.model / "model.safetensors").read_bytes() for run in runs]
    assert weights[0] == weights[1] == weights[2]


def test_a_wrong_choice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for every in ("0", "often", "-1"):
        assert main(["train", "simclr", "--monitor.every", every, "--out", str(tmp_path / "run")]) == 2
        assert "expected a number of epochs, or off" in capsys.readouterr().err


def test_a_run_that_is_worse_says_so() -> None:
    assert "training has not helped yet" in in_words(0.5, 0.6)
    assert "training has not helped yet" in in_words(0.6, 0.6)
    assert "it was 50.0 %" in in_words(0.6, 0.5)
