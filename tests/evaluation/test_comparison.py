import json

import pytest
import torch

from dipole.data import TensorImageSet, load_digits
from dipole.errors import InputError
from dipole.evaluation import embed_image_set, evaluate_embeddings, knn_accuracy, linear_probe, raw_pixels


def embeddings(seed, count):
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 2
    return torch.randn(count, 4, generator=generator) + labels[:, None], labels


def test_the_table_is_what_the_protocols_say():
    (train, labels), (test, truth) = embeddings(0, 80), embeddings(1, 40)
    result = evaluate_embeddings({"trained": (train, test), "narrow": (train[:, :2], test[:, :2])}, labels, truth, k=7)
    first, second = result.rows
    assert first == {
        "encoder": "trained",
        "knn": knn_accuracy(train, labels, test, truth, k=7),
        "linear": linear_probe(train, labels, test, truth).accuracy,
    }
    assert second["encoder"] == "narrow"
    content = json.loads(json.dumps(result.to_dict()))
    assert content["protocols"] == ["knn", "linear"]
    assert content["rows"] == [first, second]
    assert content["settings"]["knn"] == {"k": 7, "temperature": 0.07}
    assert content["settings"]["linear"]["regularisation"].keys() == {"trained", "narrow"}
    assert content["settings"]["train_images"] == 80


def test_a_single_protocol_makes_a_single_column():
    (train, labels), (test, truth) = embeddings(0, 80), embeddings(1, 40)
    result = evaluate_embeddings({"trained": (train, test)}, labels, truth, ["knn"])
    assert set(result.rows[0]) == {"encoder", "knn"}
    assert "linear" not in result.settings
    assert result.settings["knn"]["k"] == 80


def test_refusals_name_the_encoder():
    (train, labels), (test, truth) = embeddings(0, 80), embeddings(1, 40)
    with pytest.raises(InputError, match=r"encoder 'broken': test_embeddings contains NaN"):
        evaluate_embeddings({"broken": (train, test * torch.nan)}, labels, truth)
    with pytest.raises(InputError, match="out of knn, linear"):
        evaluate_embeddings({"trained": (train, test)}, labels, truth, ["forest"])
    with pytest.raises(InputError, match="0 encoders"):
        evaluate_embeddings({}, labels, truth)


def test_embeddings_come_in_the_order_of_the_set():
    _, digits = load_digits()
    digits = digits.sample(50)
    whole = embed_image_set(lambda images: images.flatten(1), digits, 8, batch_size=7)
    assert torch.equal(whole, digits.fetch(torch.arange(50)).flatten(1).float() / 255)
    assert torch.equal(raw_pixels(digits, 8), whole)
    assert not embed_image_set(
        torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 2)), digits, 8
    ).requires_grad


def test_half_precision_leaves_as_single():
    _, digits = load_digits()
    embedded = embed_image_set(lambda images: images.flatten(1).bfloat16(), digits.sample(3), 8, progress=True)
    assert embedded.dtype == torch.float32


def test_images_are_resized_to_what_the_encoder_sees():
    _, digits = load_digits()
    shapes = []
    embed_image_set(lambda images: shapes.append(images.shape) or images.flatten(1), digits.sample(5), 12)
    assert shapes == [(5, 3, 12, 12)]


def test_embedders_that_return_something_else_are_refused():
    digits = load_digits()[1].sample(5)
    with pytest.raises(InputError, match=r"\(5, 3, 8, 8\) for 5 images"):
        embed_image_set(lambda images: images, digits, 8)
    with pytest.raises(InputError, match=r"\(1, 2\) for 5 images"):
        embed_image_set(lambda images: torch.zeros(1, 2), digits, 8)
    with pytest.raises(InputError, match="batches of 0"):
        embed_image_set(lambda images: images.flatten(1), digits, 8, batch_size=0)


def test_an_empty_set_is_refused():
    images = TensorImageSet("one", torch.zeros(1, 1, 4, 4, dtype=torch.uint8))
    images.ids = ()
    with pytest.raises(InputError, match="0 images"):
        raw_pixels(images, 4)
