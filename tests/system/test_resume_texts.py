"""Text methods with tables, teachers, adapters and experts: killed after an epoch and resumed, the same bits."""

import json
import os
import signal
import time
from pathlib import Path

import pytest

import ready_python
from dipole.data.text import toy_dialogues, toy_triplets
from text_models import bert_folder, llama_folder

SMALL = ["--method.max_length", "32", "--batch_size", "32", "--epochs", "3", "--method.learning_rate", "1e-3"]
DOMAINS = "[cooking,music,medicine,sailing,farming,football]"
METHODS = {
    "debcse": ["--method.neighbours", "5", "--views.positive_threshold", "0.1"],
    "multicsr": ["--method.false_negative_threshold", "0.9", "--method.pooling", "mean"],
    "nv-embed": ["--method.num_latents", "4", "--method.num_heads", "2", "--method.lora_rank", "2"],
    "cocitation-moe": ["--method.domains", DOMAINS, "--method.router", "switch"],
    "curved-cl": ["--method.window", "4"],
}


def data(method: str, folder: Path) -> Path:
    records = toy_dialogues(30) if method == "curved-cl" else toy_triplets(200)
    path = folder / "data.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def command(method: str, source: Path, out: Path) -> list[str]:
    encoder = llama_folder() if method == "nv-embed" else bert_folder()
    given = ["--data", str(source), "--method.encoder", str(encoder), "--out", str(out)]
    return ["-m", "dipole", "train", method, *SMALL, *METHODS[method], *given]


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_a_killed_run_ends_with_the_same_bits(method: str, tmp_path: Path) -> None:
    source, environment = data(method, tmp_path), {**os.environ, "OMP_NUM_THREADS": "1"}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    done = ready_python.run(*command(method, source, whole), env=environment)
    assert done.returncode == 0, done.stderr
    process = ready_python.Process(*command(method, source, killed), env=environment)
    deadline = time.monotonic() + 120
    # Of a run in stages, the checkpoints of the first stage lie below it.
    while not list(killed.glob("**/checkpoints/*")):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.002)
    process.signal_all(signal.SIGKILL)
    process.wait()
    resumed = [*command(method, source, killed), "--resume"]
    again = ready_python.run(*resumed, env=environment)
    assert again.returncode == 0, again.stderr
    for name in ("model/model.safetensors", "model/method.safetensors", "metrics.csv"):
        if (whole / name).is_file():
            assert (whole / name).read_bytes() == (killed / name).read_bytes(), name
