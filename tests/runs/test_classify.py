"""A classifier on top of another run."""

from pathlib import Path
from typing import Any

import pytest
import torch

from dipole.errors import InputError
from dipole.methods.registry import get_method
from dipole.runs import RunConfig, load, train
from dipole.runs.evaluate import evaluate


@pytest.mark.parametrize("frozen", [True, False])
def test_classifier_keeps_a_frozen_encoder_as_it_is(frozen: bool, tmp_path: Path) -> None:
    small = {"encoder": "convnet4-4"}
    start = train(RunConfig("simclr", epochs=2, batch_size=64, method=small), tmp_path / "start", monitor=False)
    own = {**small, "frozen": frozen, "optimizer": "adam", "learning_rate": 0.01}
    settings = RunConfig("classify", epochs=4, batch_size=64, init_from=str(start.path), method=own)
    run = train(settings, tmp_path / "run", monitor=True, progress=False)
    method: Any = load(run.path)
    assert method.num_classes == 10
    before = load(start.path).encoder.state_dict()  # type: ignore[union-attr]
    kept = [torch.equal(value, before[name]) for name, value in method.encoder.state_dict().items()]
    assert all(kept) == frozen
    rows = {row["encoder"]: row for row in evaluate(run.path, protocols=["classifier"]).rows}
    assert set(rows["trained"]) == {"encoder", "classifier", "macro F1"}
    assert rows["trained"]["classifier"] > 0.2 > rows["most frequent class"]["classifier"]


def test_classifier_needs_classes() -> None:
    with pytest.raises(InputError, match="2 or more"):
        get_method("classify")(num_classes=1)
    with pytest.raises(InputError, match="label_smoothing"):
        get_method("classify")(label_smoothing=1.0)
