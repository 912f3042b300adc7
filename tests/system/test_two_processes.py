"""Two processes compute what one process computes from the joined batch."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import ready_python
from dipole.runs import Run, load
from text_models import bert_folder

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}
TWO = ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--trainer.accelerator", "cpu"]


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command in two processes."""
    return ready_python.run_group(2, *command, env=ENVIRONMENT)


def run_once(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command that starts its processes itself."""
    return subprocess.run(
        [sys.executable, *map(str, command)], capture_output=True, text=True, timeout=300, env=ENVIRONMENT, check=False
    )


@pytest.mark.slow
def test_losses_and_gradients_equal_one_process() -> None:
    script = Path(__file__).with_name("two_processes.py")
    result = run(script)
    assert result.returncode == 0, result.stderr[-3000:]
    assert "objectives agree" in result.stdout


@pytest.mark.slow
def test_methods_between_modalities_equal_one_process() -> None:
    script = Path(__file__).with_name("two_processes_modalities.py")
    result = run(script)
    assert result.returncode == 0, result.stderr[-3000:]
    assert "methods agree" in result.stdout


@pytest.mark.slow
def test_training_with_two_processes(tmp_path: Path) -> None:
    flags = ["--epochs", "2", "--batch-size", "128", "--method.encoder", "convnet4-4"]
    result = run("-m", "dipole", "train", "simclr", "--out", tmp_path / "run", *flags, *TWO)
    assert result.returncode == 0, result.stderr[-3000:]
    rows = (tmp_path / "run" / "metrics.csv").read_text().splitlines()
    assert len(rows) == 3
    assert rows[-1].startswith("1,10,")  # 1347 images in steps of 2 × 128
    with torch.inference_mode():
        assert load(tmp_path / "run").embed(torch.rand(2, 3, 16, 16)).isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags", [["multistage", "--method.stages", "3"], ["mlcd", "--method.clusters", "21"]], ids=["stages", "classes"]
)
def test_stages_and_shared_classes_in_two_processes(flags: list[str], tmp_path: Path) -> None:
    options = ["--epochs", "1", "--batch-size", "32", "--monitor.every", "off"]
    result = run_once("-m", "dipole", "train", *flags, "--out", tmp_path / "run", *options, *TWO)
    assert result.returncode == 0, result.stderr[-3000:]
    with torch.inference_mode():
        assert load(tmp_path / "run").embed(torch.rand(2, 3, 16, 16)).isfinite().all()


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_two_processes_with_workers_go_on_within_an_epoch(sign: signal.Signals, tmp_path: Path) -> None:
    flags = ["--epochs", "4", "--batch-size", "32", "--method.encoder", "convnet4-4", "--num_workers", "2"]
    flags += ["--monitor.every", "off", "--checkpoint.every_steps", "2", "--precision", "32-true"]
    command = ["-m", "dipole", "train", "simclr", *flags, *TWO, "--out"]
    whole, out = tmp_path / "whole", tmp_path / "run"
    assert run(*command, whole).returncode == 0
    group = ready_python.start_group(2, *command, out, env=ENVIRONMENT)
    while group[0].poll() is None and not Run(out).metrics.is_file():
        time.sleep(0.05)
    time.sleep(0.2)
    for process in group:
        process.signal_all(sign)
    assert {process.wait(120) for process in group} == {-signal.SIGKILL if sign == signal.SIGKILL else 143}
    assert not Run(out).finished
    assert run(*command, out, "--resume").returncode == 0
    for name in ("model/model.safetensors", "metrics.csv"):
        assert (out / name).read_bytes() == (whole / name).read_bytes(), name


@pytest.mark.slow
def test_losses_between_sounds_and_texts_equal_one_process() -> None:
    script = Path(__file__).with_name("two_processes_audio.py")
    result = run(script)
    assert result.returncode == 0, result.stderr[-3000:]
    assert "audio losses agree" in result.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    "flags",
    [
        ["cacr-moco-v3", "--method.encoder", "convnet4-16", "--batch-size", "256"],  # a momentum encoder
        ["simcse", "--data", "toy-sentences", "--batch-size", "256"],  # blocks of a transformer
    ],
    ids=["images", "texts"],
)
def test_divided_weights_equal_whole_ones(flags: list[str], tmp_path: Path) -> None:
    if flags[0] == "simcse":
        flags = [*flags, "--method.encoder", str(bert_folder(width=128))]
    flags = [*flags, "--epochs", "2", "--monitor.every", "off", "--precision", "32-true"]
    flags += ["--trainer.devices", "2", "--trainer.accelerator", "cpu", "--checkpoint.every_steps", "2"]
    whole, divided, resumed = (tmp_path / name for name in ("whole", "divided", "resumed"))
    assert run("-m", "dipole", "train", *flags, "--out", whole, "--trainer.strategy", "ddp").returncode == 0
    command = ["-m", "dipole", "train", *flags, "--trainer.strategy", "fsdp2", "--out"]
    result = run(*command, divided)
    assert result.returncode == 0, result.stderr[-3000:]
    curves = [torch.tensor([float(row.split(",")[2]) for row in _rows(out)]) for out in (whole, divided)]
    torch.testing.assert_close(curves[0], curves[1], rtol=0, atol=1e-5)
    for name, weight in load(whole).state_dict().items():
        torch.testing.assert_close(weight, load(divided).state_dict()[name], rtol=1e-3, atol=1e-4, msg=name)

    group = ready_python.start_group(2, *command, resumed, env=ENVIRONMENT)
    while group[0].poll() is None and not Run(resumed).checkpoint.is_file():
        time.sleep(0.02)
    for process in group:
        process.signal_all(signal.SIGKILL)
        process.wait(120)
    assert not Run(resumed).finished
    assert run(*command, resumed, "--resume").returncode == 0
    for name in ("model/model.safetensors", "metrics.csv"):
        assert (resumed / name).read_bytes() == (divided / name).read_bytes(), name


def _rows(out: Path) -> list[str]:
    return Run(out).metrics.read_text().splitlines()[1:]


@pytest.mark.slow
def test_torchrun_and_slurm_give_the_weights_of_lightnings_own_processes(tmp_path: Path) -> None:
    flags = ["--epochs", "1", "--batch-size", "256", "--method.encoder", "convnet4-4", "--monitor.every", "off"]
    flags += ["--trainer.devices", "2", "--trainer.strategy", "ddp", "--trainer.accelerator", "cpu"]
    flags += ["--precision", "32-true"]
    command = ["-m", "dipole", "train", "simclr", *flags, "--out"]
    assert run_once(*command, tmp_path / "own").returncode == 0
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2", *command]
    assert run_once(*torchrun, tmp_path / "torchrun").returncode == 0

    # As `srun` sets it for its tasks.
    job = {"SLURM_JOB_ID": "7", "SLURM_JOB_NAME": "train", "SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2"}
    job |= {"SLURM_NODEID": "0", "SLURM_NODELIST": "localhost", "MASTER_ADDR": "localhost", "OMP_NUM_THREADS": "1"}
    tasks = [
        subprocess.Popen(
            [sys.executable, *command, str(tmp_path / "slurm")],
            env={**os.environ, **job, "SLURM_PROCID": str(task), "SLURM_LOCALID": str(task)},
        )
        for task in range(2)
    ]
    assert [task.wait(300) for task in tasks] == [0, 0]
    weights = [(tmp_path / name / "model" / "model.safetensors").read_bytes() for name in ("own", "torchrun", "slurm")]
    assert weights[0] == weights[1] == weights[2]
