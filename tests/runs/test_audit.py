"""The robustness audit, from a run to its page."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from dipole.cli import main
from dipole.data import load_image_sets
from dipole.errors import InputError
from dipole.runs import Run, RunConfig, train
from dipole.runs.audit import AuditSettings, audit_poisoning
from dipole.runs.audit.images import PoisonedImages, Trigger, fixed_noise, visible_patch
from dipole.runs.audit.trigger import Search

QUICK: dict[str, Any] = {"seeds": 1, "patch_steps": 3, "search": Search(2, 1, 1, 1, width=2, blocks=1)}


def trained(folder: Path, **changes: Any) -> Run:
    method = {"encoder": "convnet4-2", "projection_dim": 6}
    settings = {"epochs": 1, "batch_size": 256, "image_size": 8, "precision": "32-true", "method": method, **changes}
    return train(RunConfig("simclr", **settings), folder / "run", monitor=False, progress=False)


def test_an_audit_measures_and_writes_no_changed_training_image(tmp_path: Path) -> None:
    run = trained(tmp_path)
    said: list[str] = []
    settings = AuditSettings("3", rate=0.02, noise=True, **QUICK)
    found = audit_poisoning(run.path, settings, report=said.append)
    assert len(said) == settings.parts
    assert found["self_test"] is True
    assert found["changed_images"] == 26
    assert set(found["triggers"]) == {"optimised", "visible patch", "fixed noise"}
    for row in found["triggers"].values():
        assert row["uplift"] == pytest.approx(row["success"] - row["reference"])
        assert row["intervals"]["success"][0] <= row["success"] <= row["intervals"]["success"][1]
        assert "3" not in row["by_class"]
    train_set, _ = load_image_sets("digits")
    first = found["manifest"][0]
    index = torch.tensor([train_set.ids.index(first["id"])])
    assert first["sha256"] == hashlib.sha256(train_set.fetch(index)[0].numpy().tobytes()).hexdigest()
    assert int(train_set.labels["label"][index]) == 3
    written = sorted(path.name for path in (run.path / "audit").iterdir())
    assert written == ["poison.html", "poison.json"]
    assert json.loads((run.path / "audit" / "poison.json").read_text())["verdict"] == found["verdict"]
    page = (run.path / "audit" / "poison.html").read_text()
    assert all(word in page for word in ("DECREE", "visible patch", "repeats the clean encoder bit for bit"))


def test_changes_are_whole_grey_levels_within_the_budget() -> None:
    images, _ = load_image_sets("digits")
    clean = images.fetch(torch.arange(50))
    for budget in (0.0, 8 / 255, 0.1):
        trigger = fixed_noise(images.input_shape, budget, seed=0)
        assert int((trigger(clean).int() - clean.int()).abs().max()) <= budget * 255 + 1e-6
    poisoned = PoisonedImages(images, torch.tensor([1, 4]), Trigger("patch", visible_patch, None))
    changed = (poisoned.fetch(torch.arange(6)) != images.fetch(torch.arange(6))).flatten(1).any(dim=1)
    assert changed.tolist() == [False, True, False, False, True, False]


def test_what_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = trained(tmp_path)
    for flags, message in (
        (["--target-class", "cat"], "there is no class 'cat'"),
        (["--target-class", "3", "--rate", "2"], "expected shares"),
        (["--target-class", "3", "--budget", "-1"], "expected shares"),
        (["--target-class", "3", "--seeds", "0"], "seeds is 0"),
        (["--target-class", "3", "--rounds", "0"], "rounds is 0"),
        ([], "target_class"),
    ):
        assert main(["audit", "poison", str(run.path), *flags]) == 2
        assert message in " ".join(capsys.readouterr().err.split())
    assert main(["audit", "steal", str(run.path), "--target-class", "3"]) == 2
    assert main(["audit", "poison", str(tmp_path / "nowhere"), "--target-class", "3"]) == 2
    np.savez(tmp_path / "bare.npz", images=np.zeros((40, 8, 8), np.uint8))
    bare = train(
        RunConfig("simclr", data=str(tmp_path / "bare.npz"), epochs=1, batch_size=16, method={"encoder": "convnet4-2"}),
        tmp_path / "bare",
        monitor=False,
        progress=False,
    )
    with pytest.raises(InputError, match="no classes"):
        audit_poisoning(bare.path, AuditSettings(0, **QUICK))
    assert not (bare.path / "audit").exists()
