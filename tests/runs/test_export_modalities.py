"""Towers as ONNX, against the method."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from dipole.cli import main
from dipole.errors import InputError
from dipole.nn.text import learn_tokenizer
from dipole.runs import Run, RunConfig, load, train
from dipole.runs.export import export_onnx
from text_models import bert_folder

SMALL = {"image_encoder": "convnet4-4", "text_encoder": "bag-16", "embedding_dim": 8}
TEXTS = ["a red ring", "a large blue star in the top left", "star"]


def trained(out: Path, name: str = "clip", data: str = "shape-captions", **method: Any) -> Run:
    settings = RunConfig(name, data=data, epochs=1, batch_size=500, method={**SMALL, **method})
    return train(settings, out, monitor=False, progress=False)


def embedded(method: Any, name: str, cells: list[Any]) -> tuple[Tensor, np.ndarray]:
    """Inputs of a modality, and the method's embeddings of them."""
    inputs = method.build_views().only(name)([{name: cell} for cell in cells], method.tokenizers)["inputs"][name]
    with torch.inference_mode():
        return inputs, method.embed({name: inputs}).numpy()


def computed(path: Path, **inputs: Tensor) -> np.ndarray:
    session = onnxruntime.InferenceSession(str(path))
    return session.run(["modality_embedding"], {name: value.numpy() for name, value in inputs.items()})[0]


def check(run: Run, folder: Path) -> None:
    method: Any = load(run.path)
    images = list(torch.randint(0, 256, (3, 3, 32, 32), dtype=torch.uint8))
    inputs, expected = embedded(method, "image", images)
    np.testing.assert_allclose(computed(folder / "image.onnx", images=inputs), expected, atol=1e-5)
    for texts in (TEXTS, TEXTS[2:]):
        tokens, expected = embedded(method, "caption", [[text] for text in texts])
        found = computed(folder / "caption.onnx", input_ids=tokens[:, 0], attention_mask=tokens[:, 1])
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("text", ["bag-16", "transformer-32-1", "bert", "static"])
def test_both_towers_compute_what_the_method_does(text: str, tmp_path: Path) -> None:
    encoder = {"bert": str(bert_folder()), "static": f"static:{bert_folder()}"}.get(text, text)
    run = trained(tmp_path / "run", text_encoder=encoder)
    folder = export_onnx(run.path)
    assert folder == run.model / "onnx"
    assert sorted(path.name for path in folder.iterdir()) == ["caption.onnx", "image.onnx"]
    check(run, folder)


@pytest.mark.slow
def test_the_towers_of_a_clip(tmp_path: Path) -> None:
    from transformers import CLIPConfig, CLIPModel

    size = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {**size, "vocab_size": 60, "max_position_embeddings": 16, "eos_token_id": 3}
    whole = CLIPConfig(text_config=text, vision_config={**size, "image_size": 32, "patch_size": 16}, projection_dim=12)
    CLIPModel(whole).save_pretrained(tmp_path / "clip")
    learn_tokenizer([*TEXTS, "something else"], 60, 16).save_pretrained(tmp_path / "clip")
    clip = str(tmp_path / "clip")
    run = trained(tmp_path / "run", image_encoder=clip, text_encoder=clip, embedding_dim=12)
    check(run, export_onnx(run.path, tmp_path / "onnx"))


def test_symile_with_vectors_and_what_is_left_out(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    lines = [f'word {row % 5},"[{row % 5}, 0.5]",{"even" if row % 2 else "odd"}' for row in range(40)]
    lines[3] = ',"[1, 2]",odd'
    (tmp_path / "rows.csv").write_text("\n".join(["caption,sensor,parity", *lines]))
    settings = {"modalities": "caption,sensor,parity:category"}
    config = RunConfig(
        "symile", data=str(tmp_path / "rows.csv"), epochs=1, batch_size=16, method=SMALL, loading=settings
    )
    run = train(config, tmp_path / "run", monitor=False, progress=False)
    assert main(["export", str(run.path), "--out", str(tmp_path / "onnx")]) == 0
    assert "not exported: parity (category)" in caplog.text
    inputs, expected = embedded(load(run.path), "sensor", list(torch.rand(4, 2)))
    np.testing.assert_allclose(computed(tmp_path / "onnx" / "sensor.onnx", vectors=inputs), expected, atol=1e-5)


@pytest.mark.slow
def test_a_method_that_joins_two_embeddings_is_refused(tmp_path: Path) -> None:
    run = trained(tmp_path / "run", "vlp-baselines", ensemble_weight=0.5, projector_hidden=8)
    with pytest.raises(InputError, match="by more than an encoder and a projection"):
        export_onnx(run.path)


@pytest.mark.slow
def test_a_tower_that_computes_something_else_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = trained(tmp_path / "run")
    with pytest.raises(InputError, match="expected a folder"):
        export_onnx(run.path, tmp_path / "model.onnx")
    monkeypatch.setattr("dipole.runs.export_modalities.TOLERANCE", 0.0)
    with pytest.raises(InputError, match="differs from the method"):
        export_onnx(run.path, tmp_path / "onnx")
    assert not list((tmp_path / "onnx").iterdir())
