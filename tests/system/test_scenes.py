"""DITO's recipe on pictures of one's own: captions to train on, boxes of COCO's format to measure by."""

import json
from pathlib import Path

import pytest
import torch
from PIL import Image

from dipole.cli import main
from dipole.runs import Run, load
from scenes import NAMES, write_scenes

SMALL = ["--method.vit_width", "8", "--method.vit_heads", "2", "--method.vit_blocks", "1", "--method.crop_size", "3"]
SMALL += ["--method.text_encoder", "bag-16", "--method.embedding_dim", "8", "--method.head_hidden", "8"]


@pytest.mark.slow
def test_dito_from_captions_to_average_precision(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    train, test = write_scenes(tmp_path / "train", 48), write_scenes(tmp_path / "test", 6, test=True)
    out = tmp_path / "run"
    loading = ["--loading.image_size", "32"]
    flags = ["--data", str(train / "scenes.csv"), *loading, *SMALL, "--epochs", "1", "--out", str(out)]
    assert main(["train", "dito", *flags]) == 0
    first, last = Run(out / "stages" / "1").settings().method, Run(out).settings().method
    assert (first["objective"], last["objective"]) == ("image", "regions")
    assert (first["boxes"], last["boxes"]) == (8, 8)
    assert (first["vit_width"], last["vit_width"]) == (8, 8)
    before, after = (load(each).state_dict() for each in (out / "stages" / "1", out))
    kept = [name for name in before if name.startswith("encoders.")]
    assert kept
    assert all(torch.equal(before[name], after[name]) for name in kept), "the second stage leaves the encoders alone"
    assert any(not torch.equal(before[name], after[name]) for name in before if name.startswith("pyramid."))

    picture = test / "0.png"
    found = tmp_path / "found"
    names = ["--names", "three,seven", "--score", "0", "--out", str(found)]
    assert main(["detect", str(out), str(picture), *names]) == 0
    content = json.loads((found / "0.detections.json").read_text())["found"]
    assert {one["name"] for one in content} <= {"three", "seven"}
    with Image.open(found / "0.detections.png") as drawn:
        assert drawn.size == (32, 32)

    base = ",".join(NAMES[:7])
    assert main(["detect", str(out), "--coco", str(test / "boxes.json"), "--base", base, "--out", str(found)]) == 0
    measured = json.loads((found / "boxes.json").read_text())
    assert set(measured["names"]) <= set(NAMES)
    for side in ("base", "novel", "all"):
        assert measured[side] is None or 0 <= measured[side] <= 1
    assert "base names" in capsys.readouterr().out
    assert main(["evaluate", str(out), "--data", str(test / "scenes.csv"), "--protocol", "retrieval"]) == 0
    boxes = ["--protocol.boxes", str(test / "boxes.json"), "--protocol.base", base]
    flags = ["--data", str(test / "scenes.csv"), "--protocol", "detection", *boxes]
    assert main(["evaluate", str(out), *flags]) == 0
    trained, untrained = json.loads((out / "evaluation.json").read_text())["rows"]
    assert (trained["encoder"], untrained["encoder"]) == ("trained", "untrained")
    assert trained["AP50"] == pytest.approx(measured["all"])
    for column, side in (("AP50 base", "base"), ("AP50 novel", "novel")):
        assert trained.get(column) == (None if measured[side] is None else pytest.approx(measured[side]))
    assert main(["evaluate", str(out), "--data", str(test / "scenes.csv"), "--protocol", "detection"]) == 2
    assert "needs --protocol.boxes" in capsys.readouterr().err
