"""`dipole detect`: boxes by name in a picture, and their average precision."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from dipole.cli import main
from dipole.data.coco import read_coco
from dipole.data.multimodal import ModalitySet
from dipole.data.multimodal.columns import ImageArray, Texts
from dipole.errors import InputError
from dipole.evaluation.average_precision import boxes_precision
from dipole.runs import RunConfig, train

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 60), "blue": (40, 60, 220)}


def scene(name: str, place: tuple[int, int], side: int = 16) -> np.ndarray:
    picture = np.full((32, 32, 3), 128, dtype=np.uint8)
    picture[place[0] : place[0] + side, place[1] : place[1] + side] = COLOURS[name]
    return picture


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run on 24 squares, for two epochs: it finds boxes, not the right ones."""
    draw = np.random.default_rng(0)
    names = [list(COLOURS)[number % 3] for number in range(24)]
    pictures = [scene(name, tuple(draw.integers(0, 17, 2))) for name in names]  # type: ignore[arg-type]
    rows = ModalitySet(
        "squares",
        {
            "image": ImageArray(torch.from_numpy(np.stack(pictures).transpose(0, 3, 1, 2).copy())),
            "caption": Texts([[f"a {name} square"] for name in names]),
        },
    )
    folder = tmp_path_factory.mktemp("detect")
    method = {"vit_width": 8, "vit_heads": 2, "vit_blocks": 1, "pyramid_channels": 4, "head_hidden": 8, "boxes": 2}
    method |= {"text_encoder": "bag-16", "embedding_dim": 8, "crop_size": 3}
    config = RunConfig("dito", data="squares", epochs=1, batch_size=8, method=method)
    train(config, folder / "run", sets=(rows, None), monitor=False, progress=False)
    return folder / "run"


def test_a_picture_is_drawn_into_and_written(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(scene("red", (4, 8))).resize((96, 64)).save(tmp_path / "one.png")
    flags = ["--names", "red square, blue square", "--score", "0", "--most", "5", "--out", str(tmp_path / "found")]
    assert main(["detect", str(run), str(tmp_path / "one.png"), *flags]) == 0
    content: dict[str, Any] = json.loads((tmp_path / "found" / "one.detections.json").read_text())
    assert 0 < len(content["found"]) <= 5
    for one in content["found"]:
        x1, y1, x2, y2 = one["box"]
        assert 0 <= x1 < x2 <= 96.01
        assert 0 <= y1 < y2 <= 64.01
        assert one["name"] in ("red square", "blue square")
        assert 0 <= one["score"] <= 1
    with Image.open(tmp_path / "found" / "one.detections.png") as drawn:
        assert drawn.size == (96, 64)
    assert "red square" in capsys.readouterr().out or content["found"]


def test_boxes_of_a_file_are_measured(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Image.fromarray(scene("red", (4, 8))).save(tmp_path / "one.png")
    content = {
        "images": [{"id": 7, "file_name": "one.png"}],
        "categories": [{"id": 1, "name": "red"}, {"id": 5, "name": "blue"}],
        "annotations": [{"image_id": 7, "category_id": 1, "bbox": [8, 4, 16, 16]}],
    }
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    flags = ["--coco", str(tmp_path / "boxes.json"), "--base", "red", "--out", str(tmp_path / "out")]
    assert main(["detect", str(run), *flags]) == 0
    found = json.loads((tmp_path / "out" / "boxes.json").read_text())
    assert set(found["names"]) == {"red"}
    assert 0 <= found["base"] <= 1
    assert found["novel"] is None
    content["annotations"][0]["category_id"] = 9
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    with pytest.raises(InputError, match="COCO"):
        read_coco(tmp_path / "boxes.json")


def test_base_and_novel_names_have_means_of_their_own() -> None:
    box = torch.tensor([[0.0, 0.0, 9.0, 9.0], [20.0, 20.0, 29.0, 29.0]])
    target = {"boxes": box, "labels": torch.tensor([0, 1])}
    prediction = {"boxes": box, "labels": torch.tensor([0, 0]), "scores": torch.tensor([0.9, 0.8])}
    found = boxes_precision([prediction], [target], ["cat", "dog"], ["cat"])
    assert (found.base, found.novel, found.all) == (1.0, 0.0, 0.5)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "one of the two"),
        (["none.png"], "names are none"),
        (["none.png", "--names", "red"], "no file none.png"),
        (["none.png", "--names", "red,red"], "each once"),
        (["none.png", "--names", "red", "--base", "blue"], "not looked for"),
    ],
)
def test_mistakes_are_told(run: Path, flags: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["detect", str(run), *flags]) == 2
    assert said in capsys.readouterr().err
