"""Decoders whose tokens see the whole text."""

from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModel, GPT2Config, GPT2Model

from dipole.errors import InputError
from dipole.nn.text import BIDIRECTIONAL, make_bidirectional

SIZES = {
    "vocab_size": 30,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "max_position_embeddings": 32,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}


def tiny(kind: str, **options: Any) -> Any:
    torch.manual_seed(0)
    return AutoModel.from_config(AutoConfig.for_model(kind, **{**SIZES, **options})).eval()


@torch.no_grad()
def influence(model: Any, mask: torch.Tensor) -> torch.Tensor:
    """How much the last token changes the states of the others."""
    ids = torch.tensor([[3, 4, 5, 6, 7, 8]])
    other = torch.tensor([[3, 4, 5, 6, 7, 9]])
    first, second = (model(input_ids=x, attention_mask=mask).last_hidden_state for x in (ids, other))
    return (first - second).abs().amax(dim=2)[0]


@pytest.mark.parametrize("kind", BIDIRECTIONAL)
def test_every_token_sees_every_other_one(kind: str) -> None:
    model = tiny(kind)
    mask = torch.ones(1, 6, dtype=torch.long)
    assert bool((influence(model, mask)[:-1] == 0).all())
    make_bidirectional(model)
    assert bool((influence(model, mask) > 0).all())
    assert bool((influence(model, torch.tensor([[1, 1, 1, 1, 1, 0]]))[:-1] == 0).all())


@pytest.mark.parametrize("kind", ["mistral", "qwen2"])
def test_windows_go(kind: str) -> None:
    options = {"use_sliding_window": True, "max_window_layers": 0} if kind == "qwen2" else {}
    model = make_bidirectional(tiny(kind, sliding_window=2, num_hidden_layers=1, **options))
    assert bool((influence(model, torch.ones(1, 6, dtype=torch.long)) > 0).all())


def test_a_saved_model_stays_bidirectional(tmp_path: Any) -> None:
    make_bidirectional(tiny("llama")).save_pretrained(tmp_path)
    again = AutoModel.from_pretrained(tmp_path).eval()
    assert bool((influence(again, torch.ones(1, 6, dtype=torch.long)) > 0).all())


def test_other_architectures_are_refused_by_name() -> None:
    with pytest.raises(InputError, match=r"a gpt2 cannot be made bidirectional: expected one of gemma, .*llama"):
        make_bidirectional(GPT2Model(GPT2Config(n_layer=1, n_head=1, n_embd=4, vocab_size=9)))
