import copy
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from dipole.errors import InputError
from dipole.nn.text import DropHead, TextEncoder, add_drophead, build_text_encoder, drop_heads, pool, set_dropout
from text_models import TEXTS, bert_folder

POOLINGS = ["cls", "mean", "mean_with_padding", "first_last_average"]


def encoder(**options: Any) -> TextEncoder:
    return build_text_encoder(str(bert_folder()), **{"max_length": 32, **options}).eval()


def inputs(built: TextEncoder, texts: list[str] = TEXTS) -> dict[str, torch.Tensor]:
    return dict(built.tokenizer(texts, padding=True, return_tensors="pt", return_token_type_ids=False))


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 4), t=st.integers(1, 6), seed=st.integers(0, 1000))
def test_pooling_by_definition(n: int, t: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    hidden, first = torch.randn(2, n, t, 3, generator=generator, dtype=torch.float64)
    lengths = torch.randint(0, t + 1, (n,), generator=generator)
    mask = (torch.arange(t) < lengths[:, None]).long()
    for row, length in enumerate(lengths.tolist()):
        kept, kept_first = hidden[row, :length], first[row, :length]
        expected = {
            "cls": hidden[row, 0],
            "mean": kept.mean(dim=0),
            "mean_with_padding": hidden[row].mean(dim=0),
            "first_last_average": (kept + kept_first).mean(dim=0) / 2,
        }
        for pooling, value in expected.items():
            pooled = pool(hidden, mask, pooling, first_hidden=first)[row]
            torch.testing.assert_close(pooled, value if length else torch.zeros(3, dtype=torch.float64))


def test_half_precision_is_summed_in_single() -> None:
    hidden = torch.full((1, 1000, 1), 1.01, dtype=torch.bfloat16)
    pooled = pool(hidden, torch.ones(1, 1000, dtype=torch.long))
    assert pooled.dtype == torch.float32
    torch.testing.assert_close(pooled[0], hidden[0, 0].float())


@pytest.mark.usefixtures("unchecked")
def test_poolings_that_are_refused() -> None:
    hidden, mask = torch.ones(1, 2, 3), torch.ones(1, 2)
    with pytest.raises(InputError, match="pooling is 'max': expected one of 'cls', 'mean'"):
        pool(hidden, mask, "max")
    with pytest.raises(InputError, match="needs the states of the first layer"):
        pool(hidden, mask, "first_last_average")


@pytest.mark.parametrize("pooling", POOLINGS)
def test_an_encoder_pools_the_states_of_its_model(pooling: Any) -> None:
    built = encoder(pooling=pooling)
    batch = inputs(built)
    output = built.backbone(**batch, output_hidden_states=True)
    expected = pool(output.last_hidden_state, batch["attention_mask"], pooling, first_hidden=output.hidden_states[1])
    torch.testing.assert_close(built(**batch), expected)
    assert built(**batch).shape == (len(TEXTS), built.width)


@pytest.mark.parametrize("pooling", ["cls", "mean", "first_last_average"])
def test_padding_does_not_matter(pooling: Any) -> None:
    built = encoder(pooling=pooling)
    short, padded = inputs(built, TEXTS[-1:]), inputs(built)
    assert padded["input_ids"].shape[1] > short["input_ids"].shape[1]
    torch.testing.assert_close(built(**padded)[-1:], built(**short))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_row_without_tokens_is_the_zero_vector(pooling: Any) -> None:
    built = encoder(pooling=pooling)
    batch = inputs(built)
    expected = built(**batch)
    batch["attention_mask"][1] = 0
    found = built(**batch)
    assert not found[1].any()
    torch.testing.assert_close(found[[0, 2, 3, 4]], expected[[0, 2, 3, 4]])
    found.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in built.parameters())


def test_every_parameter_has_a_part_in_the_embedding() -> None:
    built = encoder().train()
    built(**inputs(built)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in built.parameters())


COMPILED = """
import sys
import torch
from dipole.nn.text import add_drophead, build_text_encoder
encoder = build_text_encoder(sys.argv[1], max_length=32).eval()
add_drophead(encoder, 0.5)
compiled = torch.compile(encoder, backend="eager")
with torch.no_grad():
    for texts in (["one text", "a longer text with more words"], ["another text"]):
        batch = encoder.tokenizer(texts, padding=True, return_tensors="pt", return_token_type_ids=False)
        torch.testing.assert_close(compiled(**batch), encoder(**batch))
compiled.train()(**batch).sum().backward()
"""


@pytest.mark.slow
def test_an_encoder_compiles() -> None:
    # In a process of its own: the checks of signatures in tests cannot be traced.
    command = [sys.executable, "-W", "error::FutureWarning", "-c", COMPILED, str(bert_folder())]
    subprocess.run(command, check=True, capture_output=True)


def test_an_encoder_of_the_caller_keeps_its_settings() -> None:
    built = encoder(pooling="cls", max_length=20)
    again = build_text_encoder(built, pooling="mean", max_length=8, dropout=0.3)
    assert again is built
    assert (built.pooling, built.max_length) == ("cls", 20)
    assert {part.p for part in built.modules() if isinstance(part, nn.Dropout)} == {0.3}
    assert "pooling='cls', max_length=20" in repr(built)


def test_a_copy_is_independent() -> None:
    built = encoder()
    add_drophead(built, 0.5)
    twin = copy.deepcopy(built)
    for part in twin.modules():
        if isinstance(part, DropHead):
            part.probability = 0.0
    twin.train()
    set_dropout(twin, 0.0)
    batch = inputs(built)
    torch.testing.assert_close(twin(**batch), built(**batch))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (lambda: str(bert_folder()), {"pooling": "max"}, "pooling is 'max'"),
        (lambda: str(bert_folder()), {"max_length": 1}, "max_length is 1: expected a number of at least 2"),
        (lambda: str(bert_folder()), {"max_length": 65}, "max_length is 65: the encoder has positions for 64 tokens"),
        (
            lambda: str(bert_folder()),
            {"max_length": 32, "dropout": 1.0},
            "dropout is 1.0: expected a probability from 0 to below 1",
        ),
        (lambda: nn.Linear(2, 2), {}, r"encoder is a Linear: expected a folder, a name or a TextEncoder"),
        (lambda: None, {}, "encoder is missing: expected a folder, a name"),
    ],
)
def test_arguments_that_are_refused(name: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build_text_encoder(name(), **options)


def test_folders_that_hold_no_model(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot open the encoder .*Expected a folder with config\.json"):
        build_text_encoder(str(tmp_path))
    for path in bert_folder().iterdir():
        if path.name != "model.safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(InputError, match="cannot open the encoder"):
        build_text_encoder(str(tmp_path))
    (tmp_path / "model.safetensors").write_bytes(b"not a model")
    with pytest.raises(InputError, match="cannot open the encoder"):
        build_text_encoder(str(tmp_path))


def test_pickled_weights_are_not_opened(tmp_path: Path) -> None:
    for path in bert_folder().iterdir():
        if path.name != "model.safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    torch.save(encoder().backbone.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(InputError, match="cannot open the encoder"):
        build_text_encoder(str(tmp_path))


def test_a_hub_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"cannot open the encoder 'no-one/no-model' .*in the cache or within reach"):
        build_text_encoder("no-one/no-model")


def test_every_dropout_is_set() -> None:
    built = build_text_encoder(str(bert_folder()), max_length=32, dropout=0.25)
    found = [part for part in built.modules() if isinstance(part, nn.Dropout)]
    # Embeddings; attention, its output and the feed-forward output of two layers.
    assert [part.p for part in found] == [0.25] * 7
    batch = inputs(built)
    assert not torch.equal(built.train()(**batch), built(**batch))
    set_dropout(built, 0.0)
    torch.testing.assert_close(built(**batch), built(**batch), rtol=0, atol=0)
    config = nn.Module()
    config.attention_dropout = 0.1  # type: ignore[assignment]
    set_dropout(config, 0.5)
    assert config.attention_dropout == 0.5


def test_dropped_heads_by_definition() -> None:
    x = torch.randn(2, 3, 8, dtype=torch.float64)
    keep = torch.tensor([[1, 0, 1, 1], [0, 0, 1, 0]], dtype=torch.bool)
    y = drop_heads(x, keep).unflatten(2, (4, 2))
    for row, head in ((0, 0), (0, 1), (1, 2), (1, 3)):
        scale = 4 / int(keep[row].sum()) * bool(keep[row, head])
        torch.testing.assert_close(y[row, :, head], scale * x.unflatten(2, (4, 2))[row, :, head])


def test_drophead_draws_for_each_text_and_keeps_a_head() -> None:
    part, x = DropHead(0.3, heads=4), torch.ones(20000, 1, 4)
    generator = torch.Generator().manual_seed(0)
    kept = part(x, generator=generator)[:, 0] > 0
    assert abs(float(kept.float().mean()) - 0.7) < 0.01
    assert kept.any(dim=1).all()
    assert kept.float().std(dim=0).min() > 0.4  # not one draw for all texts
    often = DropHead(0.99, heads=4)(x, generator=generator)[:, 0]
    assert set((often > 0).sum(dim=1).tolist()) <= {1, 2, 3, 4}
    torch.testing.assert_close(often.sum(dim=1), torch.full((20000,), 4.0))
    assert torch.equal(part.eval()(x), x)
    assert torch.equal(DropHead(0.0, heads=4)(x), x)
    assert repr(part) == "DropHead(0.3, heads=4)"


def test_drophead_in_an_encoder() -> None:
    built = encoder(dropout=0.0)
    batch = inputs(built)
    expected = built(**batch)
    parts = add_drophead(built, 0.5)
    assert [part.heads for part in parts] == [4, 4]
    torch.testing.assert_close(built(**batch), expected)
    built.train()
    assert not torch.allclose(built(**batch), expected)
    # Whole heads are silent before the output projection, the same ones for all tokens of a text.
    context, *_ = built.backbone.encoder.layer[0].attention.self(torch.randn(50, 3, 16))
    silent = (context.unflatten(2, (4, 4)) == 0).all(dim=3)
    assert torch.equal(silent.any(dim=1), silent.all(dim=1))
    assert abs(float(silent.float().mean()) - 0.5) < 0.2


@pytest.mark.parametrize("probability", [-0.1, 1.0, math.nan])
def test_dropheads_out_of_range(probability: float) -> None:
    with pytest.raises(InputError, match="expected a probability from 0 to below 1"):
        DropHead(probability, heads=2)


def test_drophead_needs_attention_of_its_kind() -> None:
    with pytest.raises(InputError, match="drophead found no self-attention of BERT's"):
        add_drophead(nn.Linear(2, 2), 0.1)
