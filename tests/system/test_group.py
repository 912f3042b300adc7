"""Processes that others have started: none of them waits for one that has ended."""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

import ready_python
from dipole.runs import Run

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
TINY = ["--epochs", "1", "--monitor.every", "off", "--precision", "32-true", "--trainer.accelerator", "cpu"]
TWO = [*TINY, "--trainer.devices", "2", "--trainer.strategy", "ddp"]
# In the arguments of the second process, what stands before => becomes what stands behind it.
COMMAND = """
import os, sys
from dipole.cli import main
change, *arguments = sys.argv[1:]
before, after = change.split("=>")
sys.exit(main([after if os.environ["RANK"] == "1" and each == before else each for each in arguments]))
"""


def train(*flags: str | Path, change: str = "-=>-", second: int = 60) -> list[tuple[int, str]]:
    """Train in two processes; the exit codes and messages of both, each within some seconds."""
    with tempfile.TemporaryFile("w+") as stderr:
        group = ready_python.start_group(2, "-c", COMMAND, change, "train", *flags, env=ENVIRONMENT, stderr=stderr)
        codes = [process.wait(second) for process in group]
        written = stderr.seek(0) or stderr.read()
    return [(code, written) for code in codes]


def refused(*flags: str | Path, change: str = "-=>-") -> str:
    """What two processes say, both of which end with the exit code of bad input, and without a traceback."""
    ended = train(*flags, change=change)
    assert [code for code, _ in ended] == [2, 2], ended[0][1][-3000:]
    assert "Traceback" not in ended[0][1]
    return ended[0][1]


@pytest.mark.slow
@pytest.mark.parametrize("flags", [["multistage", "--batch-size", "32"], ["teminal"]], ids=lambda flags: flags[0])
def test_stages(flags: list[str], tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert [code for code, _ in train(*flags, *TWO, "--out", out, second=200)] == [0, 0]
    assert Run(out).finished
    weights = (out / "model" / "model.safetensors").read_bytes()
    # As if it had been interrupted at the end of its first stage, and within its last.
    shutil.rmtree(out / "model")
    for left in ("config.yaml", "checkpoints", "metrics.csv"):
        path = out / left
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    assert [code for code, _ in train("--resume", "--monitor.every", "off", "--out", out, second=200)] == [0, 0]
    assert (out / "model" / "model.safetensors").read_bytes() == weights
    shutil.rmtree(out / "model")
    assert [code for code, _ in train("--resume", "--monitor.every", "off", "--out", out, second=200)] == [0, 0]
    assert (out / "model" / "model.safetensors").read_bytes() == weights


@pytest.mark.slow
@pytest.mark.parametrize("name", ["simclr", "multistage"])
def test_a_folder_that_is_there_ends_both(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    said = refused(name, *TWO, "--out", tmp_path)
    assert "exists already" in said
    assert "another process of the run has ended" in said
    assert sorted(tmp_path.iterdir()) == [tmp_path / "file"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["simclr", "multistage"])
def test_a_folder_that_cannot_be_written_ends_both(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    refused(name, *TWO, "--out", tmp_path / "file" / "run")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["simclr", "multistage"])
def test_data_that_the_second_process_does_not_find_end_both(name: str, tmp_path: Path) -> None:
    said = refused(name, *TWO, "--data", "digits", "--out", tmp_path / "run", change="digits=>absent.csv")
    assert "absent.csv" in said
    assert "another process of the run has ended" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_run_that_the_second_process_does_not_find_is_not_resumed(tmp_path: Path) -> None:
    out = tmp_path / "run"
    flags = ["simclr", "--method.encoder", "convnet4-4", "--batch-size", "256", *TWO, "--out", out]
    assert [code for code, _ in train(*flags)] == [0, 0]
    more = [*flags, "--epochs", "2", "--resume"]
    assert "one folder that all processes share" in refused(*more, change=f"{out}=>{tmp_path / 'other'}")
    assert [code for code, _ in train(*more)] == [0, 0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["simclr", "multistage"])
def test_settings_for_one_process_are_refused_in_two(name: str, tmp_path: Path) -> None:
    assert "--trainer.devices 2" in refused(name, *TINY, "--out", tmp_path / "run")
    assert not (tmp_path / "run").exists()
