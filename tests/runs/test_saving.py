"""Runs that end within an epoch go on with the same bits; finished runs are extended; what is kept, logged, refused."""

import csv
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
import yaml

from dipole.cli import main
from dipole.errors import InputError, Terminated
from dipole.runs import Run, RunConfig, train
from dipole.runs.checkpoint import SafeCheckpointIO
from dipole.runs.saving import LastCheckpoint
from text_models import TEXTS, bert_folder

CONVNET = {"encoder": "convnet4-4", "projection_dim": 8}
SMALL = {"precision": "32-true", "epochs": 2}


class Count(lightning.Callback):
    """Count the batches."""

    def __init__(self) -> None:
        self.batches = 0

    def on_train_batch_start(self, *_: Any) -> None:
        self.batches += 1


class StopAt(lightning.Callback):
    """Interrupt a run, or tell the process to end, in the n-th call of a hook."""

    def __init__(self, call: int, hook: str = "on_train_batch_start", tell: bool = False) -> None:
        self.left, self.tell = call, tell
        setattr(self, hook, self._count)

    def _count(self, *_: Any, **__: Any) -> None:
        self.left -= 1
        if self.left == 0:
            if not self.tell:
                raise KeyboardInterrupt
            os.kill(os.getpid(), signal.SIGTERM)


def same(first: Run, second: Run) -> None:
    for name in ("model/model.safetensors", "model/method.safetensors", "metrics.csv"):
        paths = [run.path / name for run in (first, second)]
        assert [path.is_file() for path in paths] in ([True, True], [False, False]), name
        if paths[0].is_file():
            assert paths[0].read_bytes() == paths[1].read_bytes(), name


def quiet(config: RunConfig, out: Path, **options: Any) -> Run:
    return train(config, out, monitor=False, progress=False, **options)


def texts(folder: Path) -> dict[str, Any]:
    (folder / "texts.txt").write_text("\n".join(f"{text} {number}" for number in range(6) for text in TEXTS))
    method = {"encoder": str(bert_folder()), "max_length": 16}
    return {"data": str(folder / "texts.txt"), "batch_size": 4, "method": method}


RUNS: dict[str, dict[str, Any]] = {
    "simclr": {"data": "digits", "batch_size": 256, "method": CONVNET},
    "moco": {"data": "digits", "batch_size": 256, "method": {**CONVNET, "queue_size": 300}},
    "simcse": {},
    "clip": {"data": "shape-captions", "batch_size": 512, "method": {"image_encoder": "convnet4-4"}},
    "autotcl": {
        "batch_size": 4,
        "loading": {"window": 100},
        "method": {"hidden": 8, "depth": 2, "features": 8, "longest_kernel": 8},
    },
    "mclrec": {
        "data": "toy-interactions",
        "batch_size": 512,
        "num_workers": 2,
        "method": {"width": 8, "layers": 1, "inner_width": 8},
    },
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_interrupted_within_an_epoch_after_a_checkpoint_of_steps(name: str, tmp_path: Path) -> None:
    given = texts(tmp_path) if name == "simcse" else RUNS[name]
    config = RunConfig(name, **{**SMALL, **given, "checkpoint": {"every_steps": 1}})
    whole = quiet(config, tmp_path / "whole")
    steps = SafeCheckpointIO().load_checkpoint(whole.checkpoint)["loops"]["fit_loop"]["epoch_loop.batch_progress"][
        "total"
    ]["ready"]
    within = steps // 2 + 2  # the second batch of the second epoch
    with pytest.raises(KeyboardInterrupt):
        quiet(config, tmp_path / "run", callbacks=[StopAt(within)])
    saved = SafeCheckpointIO().load_checkpoint(Run(tmp_path / "run").checkpoint)
    assert saved["loops"]["fit_loop"]["epoch_loop.batch_progress"]["current"]["ready"] == 1
    count = Count()
    same(quiet(config, tmp_path / "run", resume=True, callbacks=[count]), whole)
    assert count.batches == steps - within + 1, "no batch twice, none left out"


HOOKS = ("on_train_batch_start", "on_before_backward", "on_after_backward", "on_before_zero_grad", "on_train_epoch_end")


@pytest.mark.slow
def test_told_to_end_at_ten_moments(tmp_path: Path) -> None:
    config = RunConfig("simclr", data="digits", batch_size=128, method=CONVNET, **SMALL)
    whole = quiet(config, tmp_path / "whole")
    draws = random.Random(0)
    for moment in range(10):
        hook, out = draws.choice(HOOKS), tmp_path / str(moment)
        stop = StopAt(draws.randint(1, 1 if hook == "on_train_epoch_end" else 19), hook, tell=True)
        with pytest.raises(Terminated, match="in epoch"):
            quiet(config, out, callbacks=[stop])
        same(quiet(config, out, resume=True), whole)


def test_accumulated_gradients_are_not_cut(tmp_path: Path) -> None:
    config = RunConfig(
        "simclr", data="digits", batch_size=128, method=CONVNET, trainer={"accumulate_grad_batches": 4}, **SMALL
    )
    whole = quiet(config, tmp_path / "whole")
    with pytest.raises(Terminated):
        quiet(config, tmp_path / "run", callbacks=[StopAt(16, tell=True)])
    same(quiet(config, tmp_path / "run", resume=True), whole)


@pytest.mark.slow
def test_the_command_line_ends_with_the_code_of_the_signal(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "dipole", "train", "simclr", "--data", "digits", "--epochs", "500"]
    command += ["--method.encoder", "convnet4-4", "--monitor.every", "off", "--out", str(tmp_path / "run")]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while not (tmp_path / "run" / "metrics.csv").is_file() and process.poll() is None:
            time.sleep(0.1)
        process.terminate()
        told = process.communicate(timeout=60)[1]
    assert process.returncode == 143
    assert "told to end in epoch" in told
    assert "Traceback" not in told


@pytest.mark.parametrize("seconds", [(2.0,), (2.0, 1.0, 9.0)])
@pytest.mark.parametrize(("parameters", "first"), [(1, 33.0), (25_000_000, 152.0)])  # which take a guessed 3 seconds
def test_checkpoints_by_time_cost_a_fiftieth(
    parameters: int, first: float, seconds: tuple[float, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now, written = [0.0], []

    def write(self: Any, path: Path) -> None:
        now[0] += seconds[len(written) % len(seconds)]
        written.append(now[0])

    monkeypatch.setattr(lightning.Trainer, "save_checkpoint", write)
    options: dict[str, Any] = {"accelerator": "cpu", "logger": False, "enable_checkpointing": False}
    trainer = lightning.Trainer(barebones=False, enable_progress_bar=False, **options)
    trainer.fit_loop.max_batches = 10**9
    last = LastCheckpoint(tmp_path / "last", None, clock=lambda: now[0])
    module = lightning.LightningModule()
    module.register_parameter("weight", torch.nn.Parameter(torch.empty(parameters)))
    last.on_train_start(trainer, module)
    for batch in range(10000):
        now[0] += 1.0
        last.on_train_batch_end(trainer, None, None, None, batch)
    spent = sum(seconds[number % len(seconds)] for number in range(len(written)))
    assert 0.01 < spent / now[0] <= 0.02
    assert written[0] == first, "not before half a minute, nor before it is a fiftieth"


def test_a_finished_run_is_extended(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--method.encoder", "convnet4-4", "--batch_size", "256", "--monitor.every", "off"]
    out = tmp_path / "run"
    assert main(["train", "simclr", "--data", "digits", "--epochs", "2", *flags, "--out", str(out)]) == 0
    before = (out / "model" / "model.safetensors").read_bytes()
    assert main(["train", "--resume", "--out", str(out)]) == 2
    assert "--epochs with more than 2 extends it" in " ".join(capsys.readouterr().err.split())
    run = Run(out)
    config = run.settings()
    config.epochs = 4
    with pytest.raises(KeyboardInterrupt):
        quiet(config, out, resume=True, callbacks=[StopAt(8)])
    assert not run.finished
    assert (out / "model" / "model.safetensors").read_bytes() == before, "the model of before stays until the end"
    assert main(["train", "--resume", "--out", str(out), "--epochs", "4"]) == 0
    assert run.finished
    assert (out / "metrics.csv").read_text().count("\n") == 5
    assert (out / "model" / "model.safetensors").read_bytes() != before
    capsys.readouterr()
    assert main(["train", "--resume", "--out", str(out), "--epochs", "5"]) == 0
    assert "5 epochs in place of 4" in capsys.readouterr().err
    rows = list(csv.DictReader((out / "metrics.csv").read_text().splitlines()))
    rates = [float(row["learning_rate"]) for row in rows]
    assert len(rates) == 5
    assert rates[4] < rates[2]
    assert main(["train", "--resume", "--out", str(out), "--epochs", "3"]) == 2


def test_the_best_are_kept_and_training_starts_from_one(tmp_path: Path) -> None:
    config = RunConfig("simclr", data="digits", batch_size=256, method=CONVNET, **{**SMALL, "epochs": 4})
    config.checkpoint = {"keep": 2, "monitor": "loss"}
    run = quiet(config, tmp_path / "run")
    kept = sorted(path.name for path in run.checkpoint.parent.iterdir() if path.name != run.checkpoint.name)
    rows = [line.split(",") for line in run.metrics.read_text().splitlines()]
    losses = [float(row[rows[0].index("loss")]) for row in rows[1:]]
    best = sorted(range(4), key=losses.__getitem__)[:2]
    assert {int(name.partition("=")[2].partition("-")[0]) for name in kept} == set(best)
    file = run.checkpoint.parent / kept[0]
    started = RunConfig("simclr", data="digits", batch_size=256, method={**CONVNET, "learning_rate": 1e-9}, **SMALL)
    started.init_from = str(file)
    weights = quiet(started, tmp_path / "second").checkpoint
    name = "encoder.0.weight"
    states = [SafeCheckpointIO().load_checkpoint(path)["state_dict"] for path in (file, weights)]
    name = next(key for key in states[0] if key.endswith("weight"))
    torch.testing.assert_close(states[0][name], states[1][name], atol=1e-4, rtol=0)


def test_loggers_and_callbacks_by_name(tmp_path: Path) -> None:
    config = RunConfig("simclr", data="digits", batch_size=256, method=CONVNET, **{**SMALL, "epochs": 9})
    stop = {"name": "EarlyStopping", "monitor": "loss", "min_delta": 1000.0, "patience": 2}
    config.trainer = {"logger": "csv", "callbacks": [stop, {"name": "LearningRateMonitor"}]}
    run = quiet(config, tmp_path / "run")
    assert run.finished
    assert run.metrics.read_text().count("\n") == 4, "the first epoch, and two that are no better"
    logged = (run.path / "csv" / "metrics.csv").read_text()
    assert "loss" in logged
    assert yaml.safe_load(run.config.read_text())["trainer"]["callbacks"][0]["patience"] == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trainer": {"logger": "paper"}}, "there is no logger 'paper'"),
        ({"trainer": {"callbacks": [{"name": "os.system"}]}}, "Lightning has no callback 'os.system'"),
        ({"trainer": {"callbacks": [{"name": "EarlyStopping"}]}}, "EarlyStopping refuses its arguments"),
        ({"trainer": {"callbacks": ["EarlyStopping"]}}, "a callback is 'EarlyStopping'"),
        ({"checkpoint": {"every_steps": -1}}, "checkpoint.every_steps is -1"),
        ({"checkpoint": {"mode": "best"}}, "checkpoint.mode"),
        ({"checkpoint": {"every": 1}}, "unexpected keyword"),
        ({"checkpoint": {"monitor": "beauty"}}, "beauty"),
    ],
)
def test_what_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    config = RunConfig("simclr", data="digits", batch_size=256, method=CONVNET, **{**SMALL, "epochs": 1}, **changes)
    with pytest.raises(InputError, match=message):
        quiet(config, tmp_path / "run")
