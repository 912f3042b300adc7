"""Signals and pipes: what a user's terminal does to a command."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).with_name("dipole")
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_an_interrupted_run_says_how_to_go_on(tmp_path: Path) -> None:
    out = tmp_path / "run"
    flags = ["--epochs", "500", "--batch-size", "256", "--method.encoder", "convnet4-4"]
    process = subprocess.Popen(
        [COMMAND, "train", "simclr", "--out", out, *flags],
        stderr=subprocess.PIPE,
        text=True,
        env=ENVIRONMENT,
        # Tests that a shell runs in the background inherit that the signal is ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        deadline = time.monotonic() + 120
        while not (out / "checkpoints" / "last.safetensors").is_file() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert (
        error.strip().splitlines()[-1]
        == "dipole: interrupted; with --resume a training run goes on from its latest checkpoint."
    )
    assert "Traceback" not in error
    assert not (out / "model").exists()


@pytest.mark.slow
def test_a_reader_that_leaves_is_no_error() -> None:
    command = [COMMAND, "methods"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=ENVIRONMENT) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_importing_dipole_imports_no_torch() -> None:
    code = "import sys, dipole; print(len({'torch', 'lightning', 'numpy', 'jsonargparse'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout == "0\n"


@pytest.mark.slow
def test_the_module_is_the_command() -> None:
    results = [
        subprocess.run([*start, "methods", "cacr"], capture_output=True, text=True, env=ENVIRONMENT, check=True).stdout
        for start in ([COMMAND], [sys.executable, "-m", "dipole"])
    ]
    assert results[0] == results[1]
    assert "2105.03746" in results[0]
