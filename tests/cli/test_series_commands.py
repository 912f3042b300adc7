"""The commands on time series: from a table to forecasts, and the mistakes on the way."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from dipole.cli import main
from dipole.data.timeseries import toy_load

SIZES = {"hidden": 4, "depth": 2, "features": 8, "longest-kernel": 4}
SMALL = [f"--method.{name}={size}" for name, size in SIZES.items()] + ["--batch-size", "4", "--epochs", "1"]
SHORT = ["--loading.window", "100"]


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A table of a user, and a run of it."""
    folder = tmp_path_factory.mktemp("series")
    table = toy_load(1000)
    assert table.times is not None
    rows = [f"{time},{load:.4f},{warm:.4f}" for time, (load, warm) in zip(table.times, table.values, strict=True)]
    (folder / "load.csv").write_text("date,load,temperature\n" + "\n".join(rows), encoding="utf-8")
    (folder / "words.csv").write_text("date,x\n2020-01-01,one\n")
    (folder / "short.csv").write_text("date,x\n2020-01-01,1\n2020-01-02,2\n")
    (folder / "twice.csv").write_text("date,x\n2020-01-01,1\n2020-01-01,2\n")
    (folder / "damaged.npz").write_bytes(b"PK\x03\x04")
    np.save(folder / "objects.npy", np.array([{}], dtype=object), allow_pickle=True)
    trained = ["train", "autotcl", "--data", str(folder / "load.csv"), *SMALL, *SHORT, "--loading.target", "load"]
    assert main([*trained, "--out", str(folder / "run")]) == 0
    return folder


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0
    return capsys.readouterr().out


def test_data_are_counted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = printed(capsys, "data", str(folder / "load.csv"))
    assert "load, temperature" in shown
    assert "600" in shown
    assert "slow wave" in printed(capsys, "data", "toy-patterns")
    assert "toy-load" in printed(capsys, "data")


def test_from_a_table_to_forecasts(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(folder / "run")
    shown = printed(capsys, "evaluate", run)
    assert "last value" in shown
    assert "MAE 24" in shown
    printed(capsys, "embed", run, str(folder / "load.csv"), "--out", str(tmp_path / "e.parquet"))
    assert pq.read_table(tmp_path / "e.parquet").num_rows == 1000
    printed(capsys, "report", run)
    assert "Forecasts beside what came" in (folder / "run" / "report.html").read_text(encoding="utf-8")


def test_the_data_decide_the_channels(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "autotcl", "--help"])
    page = capsys.readouterr().out
    assert "--method.channels" not in page
    assert "--loading.target" in page
    with pytest.raises(SystemExit):
        main(["train", "series-contrast", "--help"])
    assert "--views.jitter" in capsys.readouterr().out


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ("--data words.csv", "column 'x' holds '"),
        ("--data short.csv", "2 steps are too few"),
        ("--data twice.csv", "two rows of the time"),
        ("--data damaged.npz", "damaged.npz"),
        ("--data objects.npy", "cannot read"),
        ("--data load.csv --loading.target lod", "has no column 'lod': choose from load"),
        ("--data toy-patterns --loading.target x", "toy-patterns holds many series"),
        ("--data toy-lod", "Did you mean 'toy-load'?"),
        ("--data nowhere.csv", "no such file or folder"),
        ("--data ETTh1", "give --data-root"),
        ("--loading.window 0", "window is 0"),
        ("--loading.window many", 'Parser key "loading.window"'),
        ("--method.channels 3", "unrecognized arguments"),
        ("--method.ratio-step -1", "ratio_step is -1"),
        ("--method.gumbel-bias 0", "bias is 0.0"),
        ("--method.depth 0", "depth is 0"),
        ("--method.consistency inverted", "consistency"),
        ("--trainer.accumulate-grad-batches 2", "several optimiser steps on a batch"),
        ("--trainer.gradient-clip-val 1", "several optimiser steps on a batch"),
        ("--trainer.accelerator cpu --trainer.devices 2", "train it in one process"),
    ],
)
def test_mistakes(
    folder: Path, flags: str, message: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    before = sorted(folder.rglob("*"))
    assert main(["train", "autotcl", "--out", "out", *flags.split()]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("dipole: ")
    assert message in line
    assert captured.out == ""
    assert sorted(folder.rglob("*")) == before


@pytest.mark.usefixtures("unchecked")
def test_mistakes_with_a_run(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, out = str(folder / "run"), str(tmp_path / "e.parquet")
    for arguments, message in (
        (["evaluate", run, "--protocol", "classification"], "it is one long series: choose 'forecast'"),
        (["evaluate", run, "--data", "toy-patterns"], "holds many series"),
        (["evaluate", run, "--data", str(folder / "short.csv")], "has no column 'load'"),
        (["embed", run, "toy-patterns", "--out", out], "holds many series"),
        (["embed", run, "nowhere.csv", "--out", out], "no such file"),
    ):
        assert main(arguments) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert message in line
    assert not Path(out).exists()
