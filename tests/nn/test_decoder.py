"""Decoders as text encoders."""

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from dipole.errors import InputError
from dipole.nn.text import DecoderEncoder, add_lora, encode_texts, without_adapters
from dipole.runs import RunConfig, load, train
from text_models import TEXTS, llama_folder

PROMPT = "Instruct: find it\nQuery: "


def encoder(**options: Any) -> DecoderEncoder:
    torch.manual_seed(0)
    folder = llama_folder()
    given = {"latents": {"num_latents": 4, "num_heads": 2}, "max_length": 32, **options}
    return DecoderEncoder(AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder), **given).eval()


@pytest.mark.parametrize("pooling", ["latent_attention", "mean", "last"])
def test_padding_changes_nothing(pooling: str) -> None:
    model = encoder(pooling=pooling, latents={"num_latents": 4, "num_heads": 2} if pooling[1] == "a" else None)
    alone = torch.cat([encode_texts(model, [text]) for text in TEXTS])
    torch.testing.assert_close(encode_texts(model, TEXTS), alone)


def test_every_text_ends_in_the_end_token_even_if_it_is_cut() -> None:
    model = encoder(max_length=8)
    for ids in model.tokenizer([*TEXTS, ""], truncation=True, max_length=8)["input_ids"]:
        assert ids[-1] == model.tokenizer.eos_token_id
        assert len(ids) <= 8


def test_tokens_of_a_prompt_are_seen_and_do_not_count() -> None:
    model = encoder(prompts={"query": PROMPT}, pooling="mean", latents=None)
    rows = model.tokenizer([PROMPT + "the cat", "the cat"], padding=True, return_tensors="pt")
    counted = model.pool_mask(rows["input_ids"], rows["attention_mask"])
    prefix = model.prefix(PROMPT)
    assert counted[0].tolist() == [False] * len(prefix) + [True] * (rows["input_ids"].shape[1] - len(prefix))
    assert torch.equal(counted[1], rows["attention_mask"][1].bool())
    decoded = model.tokenizer.decode(rows["input_ids"][0][counted[0]], skip_special_tokens=True)
    assert decoded.strip() == "the cat"
    assert not torch.allclose(encode_texts(model, ["the cat"], prompt="query"), encode_texts(model, ["the cat"]))


def test_adapters_are_all_that_is_trained_and_become_part_of_the_weights() -> None:
    model = encoder(pooling="mean", latents=None)
    before = encode_texts(model, TEXTS)
    add_lora(model.backbone, rank=2, alpha=4.0, dropout=0.1)
    torch.testing.assert_close(encode_texts(model, TEXTS), before)
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert trained
    assert all("lora_" in name for name in trained)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1)
    adapted = encode_texts(model, TEXTS)
    assert not torch.allclose(adapted, before)
    plain = without_adapters(model.backbone)
    assert not any("lora" in name or "base_layer" in name for name in plain.state_dict())
    model.backbone = plain
    torch.testing.assert_close(encode_texts(model, TEXTS), adapted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("pooling", "prompt"), [("latent_attention", PROMPT), ("mean", PROMPT), ("last", "")])
def test_sentence_transformers_gives_the_same_embeddings(pooling: str, prompt: str, tmp_path: Path) -> None:
    from sentence_transformers import SentenceTransformer

    method = {"encoder": str(llama_folder()), "pooling": pooling, "query_prompt": prompt, "max_length": 32}
    method |= {"num_latents": 4, "num_heads": 2, "lora_rank": 2, "learning_rate": 1e-3}
    config = RunConfig("nv-embed", data="toy-triplets", epochs=1, batch_size=256, method=method)
    done = train(config, tmp_path / "run", monitor=False, progress=False)
    ours = load(done.path).encoder
    other = SentenceTransformer(str(done.model), device="cpu", local_files_only=True, trust_remote_code=True)
    texts = [*TEXTS, "", "word " * 60]
    for name in ("query", None) if prompt else (None,):
        theirs = other.encode(texts, prompt_name=name, convert_to_tensor=True)
        torch.testing.assert_close(encode_texts(ours, texts, prompt=name), theirs, rtol=0, atol=1e-5)


def test_a_second_stage_begins_with_the_adapters_of_the_first(tmp_path: Path) -> None:
    from dipole.runs.initialise import initialise
    from dipole.runs.model import build_method

    method = {"encoder": str(llama_folder()), "max_length": 32, "num_latents": 4, "num_heads": 2, "lora_rank": 2}
    config = RunConfig(
        "nv-embed", data="toy-triplets", epochs=1, batch_size=256, method={**method, "learning_rate": 1e-2}
    )
    done = train(config, tmp_path / "run", monitor=False, progress=False)
    second: Any = build_method("nv-embed", method)
    assert not torch.allclose(encode_texts(second.encoder, TEXTS), encode_texts(load(done.path).encoder, TEXTS))
    initialise(second, done.path)
    torch.testing.assert_close(
        encode_texts(second.encoder, TEXTS), encode_texts(load(done.path).encoder, TEXTS), rtol=1e-4, atol=1e-5
    )


def test_a_tokenizer_without_an_end_token_is_refused() -> None:
    tokenizer = AutoTokenizer.from_pretrained(llama_folder())
    tokenizer.pad_token = "a"
    tokenizer.eos_token = None
    with pytest.raises(InputError, match="no end token"):
        DecoderEncoder(AutoModel.from_pretrained(llama_folder()), tokenizer, max_length=32)
