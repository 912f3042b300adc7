from typing import Any

import pytest
import torch
import torch.nn.functional as F

from dipole.errors import InputError
from dipole.nn.text import build_text_encoder, encode_texts
from dipole.nn.text import encode as encode_module
from text_models import TEXTS, bert_folder

MANY = [" ".join(TEXTS[i % 5].split()[: 1 + (7 * i) % 11]) for i in range(60)] + [""]


def encoder(**options: Any) -> Any:
    return build_text_encoder(str(bert_folder()), **{"max_length": 32, **options})


def one_by_one(built: Any, texts: list[str]) -> torch.Tensor:
    built.eval()
    with torch.no_grad():
        encoded = [built.tokenizer(text, return_tensors="pt", return_token_type_ids=False) for text in texts]
        return torch.cat([built(batch["input_ids"], batch["attention_mask"]) for batch in encoded])


@pytest.mark.parametrize("pooling", ["cls", "mean", "first_last_average"])
@pytest.mark.parametrize("block", [7, 1000])
def test_the_order_is_that_of_the_texts(pooling: str, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    built = encoder(pooling=pooling)
    expected = one_by_one(built, MANY)
    monkeypatch.setattr(encode_module, "BLOCK", block)
    for batch_size in (1, 3, 1000):
        torch.testing.assert_close(encode_texts(built, MANY, batch_size=batch_size), expected)


def test_a_static_encoder() -> None:
    built = build_text_encoder(f"static:{bert_folder()}", max_length=32)
    torch.testing.assert_close(encode_texts(built, MANY), one_by_one(built, MANY))


def test_padding_that_counts_is_the_full_length() -> None:
    built = encoder(pooling="mean_with_padding").eval()
    batch = built.tokenizer(MANY, padding="max_length", max_length=32, return_tensors="pt")
    with torch.no_grad():
        expected = built(batch["input_ids"], batch["attention_mask"])
    torch.testing.assert_close(encode_texts(built, MANY), expected)
    torch.testing.assert_close(encode_texts(built, MANY[:1]), expected[:1])


def test_modes_and_random_states_are_put_back() -> None:
    built = encoder().train()
    built.backbone.encoder.eval()
    torch.manual_seed(0)
    expected = torch.rand(2)
    torch.manual_seed(0)
    first = encode_texts(built, TEXTS)
    assert torch.equal(torch.rand(2), expected)
    assert built.training
    assert not built.backbone.encoder.training
    assert torch.equal(encode_texts(built, TEXTS), first)


def test_embeddings_can_be_trained_on() -> None:
    found = encode_texts(encoder(), TEXTS)
    weight = torch.ones(found.shape[1], requires_grad=True)
    (found @ weight).sum().backward()  # refused for tensors of inference mode
    torch.testing.assert_close(weight.grad, found.sum(dim=0))


def test_types() -> None:
    built = encoder()
    single = encode_texts(built, TEXTS)
    half = encode_texts(built, TEXTS, precision="bf16")
    assert half.dtype == single.dtype == torch.float32
    assert 0 < float((half - single).abs().max()) < 0.05
    assert next(built.parameters()).dtype == torch.float32
    double = encode_texts(built.double(), TEXTS)
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), single)


def test_options() -> None:
    built = encoder()
    plain = encode_texts(built, TEXTS)
    torch.testing.assert_close(encode_texts(built, TEXTS, normalize=True), F.normalize(plain, dim=1))
    torch.testing.assert_close(encode_texts(built, TEXTS, device="cpu", progress=True), plain)
    assert encode_texts(built, []).shape == (0, 16)
    assert encode_texts(built, tuple(TEXTS)).shape == (5, 16)


def test_long_texts_are_cut() -> None:
    built = encoder(max_length=6)
    long = " ".join(TEXTS)
    torch.testing.assert_close(encode_texts(built, [long]), encode_texts(built, [" ".join(long.split()[:9])]))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("texts", "options", "message"),
    [
        ("one text", {}, r"texts is one text: expected a sequence, e\.g\. \[text\]"),
        (["a", None], {}, "text 1 is a NoneType: expected a text"),
        (["a"], {"batch_size": 0}, "batch_size is 0: expected a number of at least 1"),
        (["a"], {"precision": "16"}, "precision is '16': expected one of '32-true', 'bf16'"),
    ],
)
def test_input_that_is_refused(texts: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        encode_texts(encoder(), texts, **options)
