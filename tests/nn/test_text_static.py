from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from dipole.errors import InputError
from dipole.nn.text import StaticTextEncoder, build_text_encoder
from text_models import TEXTS, bert_folder


def encoder(**options: Any) -> StaticTextEncoder:
    built = build_text_encoder(f"static:{bert_folder()}", **{"max_length": 32, **options})
    assert isinstance(built, StaticTextEncoder)
    return built


def disturbed() -> StaticTextEncoder:
    """An encoder whose weights are not those of the start."""
    built, generator = encoder(), torch.Generator().manual_seed(0)
    for parameter in built.parameters():
        if parameter.requires_grad:
            parameter.data.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return built.eval()


def inputs(built: StaticTextEncoder, texts: list[str] = TEXTS) -> dict[str, torch.Tensor]:
    return dict(built.tokenizer(texts, padding=True, return_tensors="pt", return_token_type_ids=False))


def test_it_starts_as_the_mean_of_the_table() -> None:
    built = encoder()
    stored = load_file(bert_folder() / "model.safetensors")["bert.embeddings.word_embeddings.weight"]
    assert torch.equal(built.embeddings.weight, stored)
    assert not built.embeddings.weight.requires_grad
    found = built(**inputs(built))
    for row, text in enumerate(TEXTS):
        ids = built.tokenizer(text, add_special_tokens=False)["input_ids"]
        torch.testing.assert_close(found[row], stored[ids].mean(dim=0))


def test_it_is_the_mean_of_its_exported_table() -> None:
    built = disturbed()
    table, found = built.table(), built(**inputs(built))
    for row, text in enumerate(TEXTS):
        ids = built.tokenizer(text, add_special_tokens=False)["input_ids"]
        torch.testing.assert_close(found[row], table[ids].mean(dim=0))


def test_sentence_transformers_computes_the_same() -> None:
    modules = pytest.importorskip("sentence_transformers.sentence_transformer.modules")
    built = disturbed()
    peer = modules.StaticEmbedding(built.tokenizer, embedding_weights=built.table())
    expected = peer(peer.preprocess([*TEXTS, ""]))["sentence_embedding"]
    torch.testing.assert_close(built(**inputs(built, [*TEXTS, ""])), expected.detach())


def test_texts_without_words_are_the_zero_vector() -> None:
    built = disturbed()
    batch = inputs(built, ["", "the cat"])
    assert not built(**batch)[0].any()
    batch["attention_mask"].zero_()
    assert not built.train()(**batch).any()


def test_dropout_of_token_embeddings() -> None:
    built = encoder(dropout=0.5).train()
    batch = inputs(built)
    assert not torch.equal(built(**batch), built(**batch))
    mean = torch.stack([built(**batch) for _ in range(3000)]).mean(dim=0)
    torch.testing.assert_close(mean, built.eval()(**batch), atol=2e-3, rtol=0)


@pytest.mark.parametrize("dropout", [0.0, 1e-12])
def test_gradients_reach_weights_and_the_linear_layer(dropout: float) -> None:
    built = encoder(dropout=dropout).double().train()
    found = built(**inputs(built))
    assert found.dtype == torch.float64
    found.square().sum().backward()
    assert built.embeddings.weight.grad is None
    seen = torch.unique(inputs(built)["input_ids"])
    moved = built.log_weight.grad.nonzero()[:, 0]
    assert set(moved.tolist()) == set(seen.tolist()) - set(built.tokenizer.all_special_ids)
    assert built.linear.weight.grad.abs().max() > 0


def test_both_ways_to_the_mean_have_equal_gradients() -> None:
    gradients = []
    for dropout in (0.0, 1e-12):
        built = encoder(dropout=dropout).train()
        built(**inputs(built)).square().sum().backward()
        gradients.append(built.log_weight.grad)
    torch.testing.assert_close(*gradients)


def test_other_tables_are_read_from_the_model(tmp_path: Path) -> None:
    for path in bert_folder().iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    extra = {f"{key}_copy.word_embeddings.weight": value.clone() for key, value in weights.items() if "word_emb" in key}
    save_file({**weights, **extra}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    # Two tables of that name: the model knows which is its own.
    built = build_text_encoder(f"static:{tmp_path}", max_length=32)
    assert torch.equal(built.embeddings.weight, encoder().embeddings.weight)  # type: ignore[union-attr, arg-type]


def test_what_a_static_encoder_cannot_be() -> None:
    with pytest.raises(InputError, match="a static encoder can only take the mean"):
        encoder(pooling="cls")
    with pytest.raises(InputError, match="cannot open the encoder '/no/such/folder'"):
        build_text_encoder("static:/no/such/folder")
    with pytest.raises(InputError, match=r"the tokenizer has \d+ tokens and the table 3 rows"):
        StaticTextEncoder(torch.ones(3, 2), encoder().tokenizer)
