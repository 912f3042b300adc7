"""Encoders as folders of other libraries, opened by the card's own example where dipole cannot be imported."""

import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml

from dipole.cli import main
from dipole.errors import InputError
from dipole.files import write_json
from dipole.nn.text import encode_texts
from dipole.runs import load
from dipole.runs.export_folders import export_folder
from dipole.runs.model import build_method, save_model
from dipole.runs.text_model import save_text_model
from text_models import TEXTS, bert_folder

# What a stranger has: no dipole, and the inputs that the card's example names.
STRANGER = """
import sys
sys.modules["dipole"] = None
import numpy, torch
images = torch.from_numpy(numpy.load("images.npy"))
texts = open("texts.txt").read().splitlines()
with torch.inference_mode():
{example}
{result}
numpy.save("found.npy", numpy.asarray(found))
"""
SIDE = 72  # above the side to which the first convolution is made smaller


def image_model(folder: Path, encoder: str = "resnet10t", side: int = SIDE) -> Path:
    arguments = {"encoder": encoder, "image_size": side}
    save_model(
        build_method("simclr", arguments),
        folder / "model",
        name="simclr",
        arguments=arguments,
        facts={"image_size": side},
    )
    return folder


def text_model(folder: Path, **more: Any) -> Path:
    arguments = {"encoder": str(bert_folder()), **more}
    method: Any = build_method("simcse", arguments)
    save_text_model(method, folder / "model", name="simcse", arguments=arguments)
    return folder


@cache
def images(side: int = SIDE) -> torch.Tensor:
    return torch.rand(3, 3, side, side, generator=torch.Generator().manual_seed(1))


def as_a_stranger(folder: Path, result: str, side: int = SIDE) -> np.ndarray:
    """Run the example of a card, and return what it computes."""
    card = (folder / "README.md").read_text(encoding="utf-8")
    [example] = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    code = example.replace("this folder", str(folder))
    indented = "\n".join(f"    {line}" for line in code.splitlines())
    program = STRANGER.format(example=indented, result=result)
    np.save(folder.parent / "images.npy", images(side).numpy())
    (folder.parent / "texts.txt").write_text("\n".join(TEXTS), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=folder.parent, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found: np.ndarray = np.load(folder.parent / "found.npy")
    return found


def close(found: np.ndarray, expected: torch.Tensor) -> None:
    np.testing.assert_allclose(found, expected.numpy(), atol=1e-5 * float(expected.abs().max()))


@pytest.mark.slow
@pytest.mark.parametrize("to", ["timm", "transformers", "torch.export"])
def test_images_open_without_dipole(to: str, tmp_path: Path) -> None:
    run = image_model(tmp_path / "run")
    assert main(["export", str(run), "--to", to, "--out", str(tmp_path / "out")]) == 0
    method: Any = load(run)
    with torch.inference_mode():
        expected = method.encoder(images())
    result = "found = embeddings" if to == "torch.export" else "found = features"
    close(as_a_stranger(tmp_path / "out", result), expected)


@pytest.mark.slow
@pytest.mark.parametrize("to", ["sentence-transformers", "transformers", "torch.export"])
def test_texts_open_without_dipole(to: str, tmp_path: Path) -> None:
    run = text_model(tmp_path / "run", pooling="mean")
    export_folder(run, to, tmp_path / "out", license_name="mit")
    method: Any = load(run)
    expected = encode_texts(method.encoder, TEXTS)
    mean = "mask = tokens['attention_mask'][:, :, None]\nfound = (states * mask).sum(1) / mask.sum(1)"
    tokens = f"""
from transformers import AutoTokenizer
{"tokens = AutoTokenizer.from_pretrained('run/model')(texts, padding=True, return_tensors='pt')"}
"""
    if to == "torch.export":
        card = tmp_path / "out" / "README.md"
        text = card.read_text(encoding="utf-8").replace(
            "```python", f"```python{tokens}input_ids, attention_mask = tokens['input_ids'], tokens['attention_mask']"
        )
        card.write_text(text, encoding="utf-8")
    else:
        text = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
        if to == "sentence-transformers":
            (tmp_path / "out" / "README.md").write_text(
                text.replace('["a sentence", "another one"]', "texts"), encoding="utf-8"
            )
    result = mean if to == "transformers" else "found = embeddings"
    close(as_a_stranger(tmp_path / "out", result), expected)
    header = yaml.safe_load(text.split("---")[1])
    assert header["license"] == "mit"
    assert header["pipeline_tag"] == "sentence-similarity"
    assert not (tmp_path / "out" / "dipole.json").exists()


def test_a_card_says_what_is_known(tmp_path: Path) -> None:
    run = image_model(tmp_path / "run", "convnet4-4", 32)
    settings = {"name": "simclr", "data": "/secret/place/birds", "epochs": 3, "method": {"temperature": 0.2}}
    (run / "config.yaml").write_text(yaml.safe_dump(settings), encoding="utf-8")
    rows = [{"encoder": "trained", "kNN": 0.5}, {"encoder": "raw | pixels", "kNN": None}]
    write_json(run / "evaluation.json", {"protocols": ["kNN"], "rows": rows, "data": "/secret/place/birds"})
    export_folder(run, "torch.export", tmp_path / "out")
    card = (tmp_path / "out" / "README.md").read_text(encoding="utf-8")
    assert "| temperature | `0.2` |" in card
    assert '| data | `"birds"` |' in card
    assert "| trained | 0.500 |\n| raw / pixels |  |" in card
    assert "secret" not in card
    assert "No licence is stated." in card
    assert "eprint = {2002.05709}" in card


def test_what_has_no_such_form_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    small = image_model(tmp_path / "small", "resnet18", 32)
    own = image_model(tmp_path / "own", "convnet4-4", 32)
    texts = text_model(tmp_path / "texts", pooling="first_last_average")
    for run, to, reason in (
        (small, "timm", "its first convolution was made smaller"),
        (own, "timm", "no encoder of timm's"),
        (own, "sentence-transformers", "no encoder of texts"),
        (texts, "timm", "no encoder of images"),
        (texts, "sentence-transformers", "no encoder of texts that sentence-transformers"),
        (small, "elsewhere", "expected onnx"),
    ):
        with pytest.raises(InputError, match=reason):
            export_folder(run, to, tmp_path / "out")
    with pytest.raises(InputError, match="is there already"):
        export_folder(own, "torch.export", own)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own", "small", "texts"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--to", "timm"], "name one that is new by --out"),
        (["--to", "hub"], "belong together"),
        (["--to", "onnx", "--repository", "user/name"], "belong together"),
        (["--to", "hub", "--repository", "no-user"], "expected user/name"),
    ],
)
def test_options_that_do_not_fit(
    arguments: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = image_model(tmp_path / "run", "convnet4-4", 32)
    assert main(["export", str(run), *arguments]) == 2
    assert said in capsys.readouterr().err
