"""Methods of recognition from the command line: interrupted runs end with the same bits; categories are discovered."""

import csv
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from dipole.cli import main
from dipole.methods.registry import get_method
from dipole.runs import RunConfig, train

SMALL = {"encoder": "convnet4-2", "projection_dim": 8}
RUNS: dict[str, dict[str, Any]] = {
    "sbcl": {"loading": {"imbalance": 20.0}, "method": {**SMALL, "class_epochs": 1, "step": 1}},
    "beclr": {
        "method": {**SMALL, "clusters": 4, "memory_scale": 60, "memory_start_epoch": 1, "cluster_every": 2, "patch": 4}
    },
    "bacon": {"loading": {"known": "first 5", "imbalance": 10.0}, "method": {**SMALL, "num_classes": 10, "step": 1}},
}


@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_interrupted_runs_end_with_the_same_bits(name: str, tmp_path: Path) -> None:
    config = RunConfig(name, epochs=4, image_size=8, batch_size=64, precision="32-true", **RUNS[name])
    whole = train(config, tmp_path / "whole", monitor=False, progress=False)
    cls, calls = get_method(name), []
    original = cls.loss_terms

    def stop(self: Any, batch: Any) -> Any:
        calls.append(self.current_epoch)
        if self.current_epoch == 3:
            raise KeyboardInterrupt
        return original(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cls, "loss_terms", stop)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "run", monitor=False, progress=False)
    assert max(calls) == 3
    resumed = train(config, tmp_path / "run", resume=True, monitor=False, progress=False)
    for file in ("model/model.safetensors", "metrics.csv"):
        assert (resumed.path / file).read_bytes() == (whole.path / file).read_bytes(), file


@pytest.mark.slow
def test_categories_are_discovered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = RunConfig("bacon", epochs=1, image_size=8, batch_size=64, precision="32-true", **RUNS["bacon"])
    run = str(train(config, tmp_path / "run", monitor=False, progress=False).path)
    for suffix in ("csv", "parquet"):
        assert main(["discover", run, "--out", str(tmp_path / f"found.{suffix}")]) == 0
    found = pq.read_table(tmp_path / "found.parquet").to_pydict()
    with (tmp_path / "found.csv").open() as file:
        assert [row["class"] for row in csv.DictReader(file)] == found["class"]
    assert set(found["class"]) <= {*map(str, range(5)), *(f"new {number}" for number in range(1, 6))}
    assert all(0 < value <= 1 for value in found["confidence"])
    capsys.readouterr()
    assert main(["discover", run, "--out", str(tmp_path / "x.txt")]) == 2
    assert "ends in .parquet or .csv" in capsys.readouterr().err
    assert main(["discover", run, "--out", str(tmp_path / "x.csv"), "--clusters", "3"]) == 2
    assert "5 classes are known: ask for more" in capsys.readouterr().err
    assert main(["evaluate", run]) == 0
    assert "new" in capsys.readouterr().out
    assert main(["report", run]) == 0
