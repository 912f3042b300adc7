import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from jaxtyping import TypeCheckError
from PIL import Image

import dipole
from dipole.data import load_images
from dipole.errors import InputError
from dipole.nn.text import build_text_encoder, encode_texts
from dipole.runs import Run, RunConfig, load, train
from dipole.views import resize
from text_models import bert_folder

TEXTS = ["a bird sings", "short text", "a long book about the history of the town"]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Run:
    settings = RunConfig("simclr", epochs=1, batch_size=512, method={"encoder": "convnet4-4", "projection_dim": 8})
    return train(settings, tmp_path_factory.mktemp("runs") / "run", monitor=False, progress=False)


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Run:
    small = {"image_encoder": "convnet4-2", "text_encoder": "bag-8", "embedding_dim": 8}
    settings = RunConfig("clip", data="shape-captions", epochs=1, batch_size=500, method=small)
    return train(settings, tmp_path_factory.mktemp("runs") / "pairs", monitor=False, progress=False)


def photo(path: Path, seed: int = 0) -> Path:
    pixels = np.random.default_rng(seed).integers(0, 256, (20, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_texts_are_embedded_after_a_journey_to_another_process() -> None:
    embedder = dipole.Embedder(bert_folder())
    batch = {"text": np.array(TEXTS, dtype=object), "price": np.arange(3)}
    first = embedder(batch)
    again = pickle.loads(pickle.dumps(embedder))(batch)
    expected = encode_texts(build_text_encoder(str(bert_folder()), max_length=64).eval(), TEXTS)
    np.testing.assert_allclose(first["vector"], expected.numpy(), atol=1e-6)
    np.testing.assert_array_equal(first["vector"], again["vector"])
    assert first["price"].tolist() == [0, 1, 2]


def test_forms_of_an_image_give_the_same_embedding(images: Run, tmp_path: Path) -> None:
    path = photo(tmp_path / "a.png")
    opened = Image.open(path)
    forms: list[Any] = [
        str(path),
        path.read_bytes(),
        {"bytes": path.read_bytes(), "path": None},
        np.asarray(opened),
        opened,
    ]
    rows = dipole.Embedder(images.path, batch_size=2)({"image": forms})["vector"]
    with torch.inference_mode():
        expected = load(images.path).embed(resize(load_images(path, 16).fetch(torch.tensor([0])), 16))
    for row in rows:
        np.testing.assert_allclose(row, expected[0].numpy(), atol=1e-6)


def test_rows_that_cannot_be_decoded(images: Run, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    batch = {"image": [photo(tmp_path / "a.png").read_bytes(), b"no image"], "name": np.array(["a", "b"])}
    with pytest.raises(InputError, match="row 2 of the batch"):
        dipole.Embedder(images.path)(batch)
    found = dipole.Embedder(images.path, unreadable="drop")(batch)
    assert found["name"].tolist() == ["a"]
    assert found["vector"].shape[0] == 1
    assert "1 images are left out" in caplog.text


def test_one_modality_of_several(pairs: Run) -> None:
    method: Any = load(pairs.path)
    kinds = {name: facts["kind"] for name, facts in method.modalities.items()}
    text = next(name for name, kind in kinds.items() if kind == "text")
    rows = dipole.Embedder(pairs.path, text, batch_size=2)({text: TEXTS})["vector"]
    views = method.build_views().only(text)
    batch = views([{text: [line]} for line in TEXTS], method.tokenizers)
    with torch.inference_mode():
        np.testing.assert_allclose(rows, method.embed({text: batch["inputs"][text]}).numpy(), atol=1e-6)
    with pytest.raises(InputError, match="several modalities"):
        dipole.Embedder(pairs.path)({text: TEXTS})


@pytest.mark.parametrize(
    ("batch", "message"), [({"line": TEXTS}, "has the columns line"), ({"text": [1]}, "expected a text")]
)
def test_other_batches_are_refused(batch: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        dipole.Embedder(bert_folder())(batch)


def test_other_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no run or model"):
        dipole.Embedder(tmp_path / "none")
    # The shape checker of the tests, where it is on, comes before dipole's own check.
    with pytest.raises((InputError, TypeCheckError), match="unreadable"):
        dipole.Embedder(bert_folder(), unreadable="ignore")  # type: ignore[arg-type]
