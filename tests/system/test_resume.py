"""A run that is killed at any moment and resumed ends with the bits of one that was not."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import ready_python

EPOCHS = 6
FLAGS = ["--epochs", str(EPOCHS), "--batch-size", "256", "--method.encoder", "convnet4-4", "--seed", "5"]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
FILES = ("model/model.safetensors", "model/dipole.json", "metrics.csv", "diagnostics.json")


def command(method: str, out: Path, *flags: str) -> list[str]:
    return ["-m", "dipole", "train", method, "--out", str(out), *FLAGS, *flags]


def finish(method: str, out: Path, *flags: str) -> None:
    result = ready_python.run(*command(method, out, *flags), env=ENVIRONMENT)
    assert result.returncode == 0, result.stderr


def kill(method: str, out: Path, moment: Callable[[], bool]) -> None:
    """Start a run and kill it without warning when the moment has come."""
    process = ready_python.Process(*command(method, out), env=ENVIRONMENT)
    deadline = time.monotonic() + 120
    while not moment() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    assert process.poll() is None, "the run ended before it could be killed"
    process.signal_all(signal.SIGKILL)
    process.wait()


def epochs_done(out: Path) -> int:
    try:
        return len((out / "metrics.csv").read_text().splitlines()) - 1
    except FileNotFoundError:
        return 0


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The run of a method that nothing happened to."""
    done: dict[str, Path] = {}

    def of(method: str) -> Path:
        if method not in done:
            done[method] = tmp_path_factory.mktemp("whole") / method
            finish(method, done[method])
        return done[method]

    return of


def assert_same(killed: Path, whole: Path) -> None:
    for name in FILES:
        assert (killed / name).read_bytes() == (whole / name).read_bytes(), name
    left = [path.name for path in killed.rglob("*.tmp")]
    assert (killed / "checkpoints" / "last.safetensors").is_file(), left


@pytest.mark.slow
@pytest.mark.parametrize(("method", "epochs"), [("cacr", 0), ("cacr", 1), ("cacr", EPOCHS - 1), ("moco", 3)])
def test_killed_and_resumed(method: str, epochs: int, uninterrupted: Callable[[str], Path], tmp_path: Path) -> None:
    out = tmp_path / "run"
    kill(method, out, lambda: (out / "config.yaml").is_file() and epochs_done(out) >= epochs)
    finish(method, out, "--resume")
    assert_same(out, uninterrupted(method))


@pytest.mark.slow
def test_killed_twice(uninterrupted: Callable[[str], Path], tmp_path: Path) -> None:
    out = tmp_path / "run"
    kill("cacr", out, lambda: epochs_done(out) >= 2)
    resumed = ready_python.Process(*command("cacr", out, "--resume"), env=ENVIRONMENT)
    deadline = time.monotonic() + 120
    while epochs_done(out) < 4 and resumed.poll() is None and time.monotonic() < deadline:
        time.sleep(0.002)
    resumed.signal_all(signal.SIGKILL)
    resumed.wait()
    finish("cacr", out, "--resume")
    assert_same(out, uninterrupted("cacr"))
