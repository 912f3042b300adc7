"""The installed command: exit codes, one line for every mistake, nothing left behind."""

import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from dipole.cli import main, train

COMMAND = Path(sys.executable).with_name("dipole")


def dipole(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=300,
        stdin=subprocess.DEVNULL,
        check=False,
    )


def fails(*arguments: str | Path) -> str:
    """The one line that a mistake is answered with."""
    result = dipole(*arguments)
    assert result.returncode == 2, result.stderr
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("dipole: ")
    return lines[0]


def test_help_needs_no_torch() -> None:
    code = (
        "import sys, dipole.cli; dipole.cli.main(['--help']); "
        "assert not {'torch', 'lightning', 'numpy', 'jsonargparse'} & set(sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def test_help_is_quick() -> None:
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        assert dipole("--help").returncode == 0
        seconds.append(time.perf_counter() - start)
    assert statistics.median(seconds) < 0.5


def test_the_installed_command_ends_with_exit_code_2() -> None:
    assert "Did you mean 'train'?" in fails("trian")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["train", "simclrr"], "Did you mean 'simclr'?"),
        (["train"], "name a recipe or a method"),
        (["train", "simclr"], "out"),
        (["train", "simclr", "--method.temp", "1"], "--method.temperature"),
        (["train", "simclr", "--method.temperature", "warm"], "temperature"),
        (["train", "simclr", "--method.temperature", "-1"], "above 0"),
        (["train", "simclr", "--views.flip", "3"], "flip"),
        (["train", "simclr", "--data", "digitz"], "Did you mean 'digits'?"),
        (["train", "simclr", "--data", "no/such/folder"], "no such file or folder"),
        (["train", "simclr", "--data", "EMPTY"], "is empty"),
        (["train", "simclr", "--data", "mnist"], "--data-root"),
        (["train", "simclr", "--epochs", "0"], "epochs"),
        (["train", "simclr", "--batch-size", "1"], "batch_size"),
        (["train", "simclr", "--precision", "8bit"], "precision"),
        (["train", "simclr", "--method.encoder", "resnet19"], "timm"),
        (["train", "simclr", "--trainer.strategy", "bogus"], "strategy"),
        (["train", "simclr", "--config", "no/such.yaml"], "no/such.yaml"),
        (["train", "--config", "NOTYAML"], "YAML"),
        (["evaluate", "no/such/run"], "no run at"),
        (["evaluate", "EMPTY"], "not a run"),
        (["embed", "no/such/run", "digits", "--out", "x.parquet"], "no run or model"),
        (["report", "EMPTY"], "not a run"),
        (["analyse", "EMPTY", "--temperatures", "a,b"], "numbers"),
        (["methods", "cacrr"], "Did you mean 'cacr'?"),
        (["data", "digitz"], "Did you mean 'digits'?"),
        (["methods", "--loud"], "--loud"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_end_with_one_line(
    arguments: list[str], reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken.yaml").write_text("{ name: [")
    places = {"EMPTY": str(tmp_path / "empty"), "NOTYAML": str(tmp_path / "broken.yaml")}
    command = [places.get(argument, argument) for argument in arguments]
    out = tmp_path / "out"
    if arguments[0] == "train" and reason != "out":
        command += ["--out", str(out)]
    assert main(command) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("dipole: ")
    assert reason in lines[0]
    assert not out.exists()


@pytest.mark.slow
def test_the_five_verbs(tmp_path: Path) -> None:
    run = tmp_path / "run"
    flags = ["--epochs", "1", "--method.encoder", "convnet4-4", "--batch-size", "256", "--seed", "3"]
    trained = dipole("train", "cacr", "--data", "digits", "--out", run, *flags, "--method.t-negative", "1.5")
    assert trained.returncode == 0, trained.stderr
    assert "attraction" in trained.stdout
    assert "t_negative: 1.5" in (run / "config.yaml").read_text()
    assert "exists already" in fails("train", "cacr", "--out", run)
    assert "finished" in fails("train", "--resume", "--out", run)
    evaluated = dipole("evaluate", run, "--protocol", "knn")
    assert evaluated.returncode == 0, evaluated.stderr
    assert "raw pixels" in evaluated.stdout
    assert dipole("embed", run, "digits", "--out", tmp_path / "e.parquet").returncode == 0
    assert (tmp_path / "e.parquet").stat().st_size > 10_000
    assert dipole("report", run).returncode == 0
    assert (run / "report.html").stat().st_size > 1_000_000
    assert dipole("analyse", run).returncode == 0
    again = dipole("train", "--config", run / "config.yaml", "--out", tmp_path / "again")
    assert again.returncode == 0, again.stderr
    weights = [folder / "model" / "model.safetensors" for folder in (run, tmp_path / "again")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_recipe_serves_the_data_it_is_for() -> None:
    # The recipe for digits crops and sizes for digits; photographs get the method's own defaults.
    assert train._settings("simclr", [])["image_size"] == 16
    assert train._settings("simclr", ["--data", "digits"])["image_size"] == 16
    assert train._settings("simclr", ["--data", "photos"]) == {"name": "simclr"}
