"""CUT as a method: what it trains, and its baselines."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from decoding.folder import write_model
from dipole.claims.small_language_model import VIEWS, copying_model
from dipole.data.language import JudgmentPairs, toy_judgments
from dipole.errors import InputError
from dipole.losses import cut_loss
from dipole.methods.language.cut import CUT, add_adapters
from dipole.runs import build_method

OBJECTIVES = ("cut", "hindsight", "fine_tuning", "unlikelihood")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(copying_model(tmp_path_factory.mktemp("models") / "letters", steps=0, width=16, layers=1)[0])


def build(base: str, **options: Any) -> Any:
    return build_method("cut", {"model": base, "lora_rank": 4, "lora_dropout": 0.0, **options})


def batch(method: CUT, kind: str = "mixed", n: int = 6) -> dict[str, Any]:
    records = toy_judgments(60)
    if kind != "mixed":
        records = [record for record in records if (record["judgment"] is None) == (kind == "satisfactory")]
    return {"views": JudgmentPairs(**VIEWS)(records[:n], method.tokenizer), "index": torch.arange(n)}


def logits(method: CUT, views: dict[str, Tensor], side: int) -> Tensor:
    """Row by row, without padding."""
    found = torch.zeros(*views["input_ids"][side].shape, 64)
    for row, (ids, mask) in enumerate(zip(views["input_ids"][side], views["attention_mask"][side], strict=True)):
        length = int(mask.sum())
        if length:
            one = method.language_model(input_ids=ids[None, :length]).logits[0]
            found[row, :length, : one.shape[1]] = one
            found[row, :length, one.shape[1] :] = -1e9
    return found


@pytest.mark.parametrize("kind", ["mixed", "satisfactory", "unsatisfactory"])
def test_the_loss_is_that_of_the_prompts_read_one_by_one(base: str, kind: str) -> None:
    options: dict[str, Any] = {"alpha": 0.5, "threshold": 1.02, "gamma": 0.5, "reduction": "sample", "combine": "sum"}
    method = build(base, **options)
    views = batch(method, kind)["views"]
    judged, plain = logits(method, views, 0), logits(method, views, 1)
    expected = cut_loss(judged, views["labels"][0], plain, views["labels"][1], views["is_negative"], **options)
    terms = method.loss_terms({"views": views, "index": torch.arange(6)})
    torch.testing.assert_close(terms["loss"], expected)
    torch.testing.assert_close(terms["loss"], terms["likelihood"] + terms["unlikelihood"])
    assert 0 <= float(terms["inappropriate"]) < 1


@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("kind", ["mixed", "satisfactory", "unsatisfactory"])
def test_gradients_reach_the_adapters_alone(base: str, objective: str, kind: str) -> None:
    method = build(base, objective=objective)
    terms = method.loss_terms(batch(method, kind))
    terms["loss"].backward()
    trained = {name for name, parameter in method.named_parameters() if parameter.requires_grad}
    assert all("lora_" in name for name in trained)
    assert {name for name, parameter in method.named_parameters() if parameter.grad is not None} == trained
    # B is zero at first, so that A cannot move yet.
    moved = [name for name, p in method.named_parameters() if p.grad is not None and bool(p.grad.abs().sum() > 0)]
    nothing_to_learn = objective == "fine_tuning" and kind == "unsatisfactory"
    assert set(moved) == (set() if nothing_to_learn else {name for name in trained if "lora_B" in name})


def test_baselines_are_what_they_say(base: str) -> None:
    method = build(base)
    views = batch(method)["views"]
    negative = views["is_negative"]
    every, good = torch.ones_like(negative), ~negative
    log_p = method.score(views, 0, every).log_probability
    given = {"views": views, "index": torch.arange(6)}
    method.objective = "hindsight"
    torch.testing.assert_close(method.loss_terms(given)["loss"], -log_p.mean())
    method.objective = "fine_tuning"
    satisfactory = method.score(views, 0, good).log_probability
    torch.testing.assert_close(method.loss_terms(given)["loss"], -satisfactory.mean())
    method.objective = "unlikelihood"
    bad = method.score(views, 1, negative).log_probability
    expected = torch.cat([-satisfactory, -(1 - bad.exp()).log()]).mean()
    torch.testing.assert_close(method.loss_terms(given)["loss"], expected)


def test_some_steps_make_blamed_tokens_improbable(base: str) -> None:
    method = build(base, threshold=1.0, alpha=1.0)
    given = batch(method, "unsatisfactory", 12)
    optimizer = torch.optim.AdamW([p for p in method.parameters() if p.requires_grad], lr=0.03)

    def contrast() -> float:
        with torch.no_grad():
            return float(method.loss_terms(given)["loss"])

    before = contrast()
    for _ in range(20):
        optimizer.zero_grad()
        method.loss_terms(given)["loss"].backward()
        optimizer.step()
    assert contrast() < before


def test_a_model_of_other_layers_is_adapted(tmp_path: Path) -> None:
    folder = write_model(tmp_path / "gpt2")
    method = build(str(folder))
    names = {name for name, p in method.named_parameters() if p.requires_grad}
    assert all(".mlp." in name for name in names)
    everything = build(str(folder), lora_targets="all")
    wider = {name for name, p in everything.named_parameters() if p.requires_grad}
    assert any(".attn." in name for name in wider)
    assert len(wider) > len(names)
    assert not any("lm_head" in name for name in wider)


def test_a_model_without_such_layers_is_refused() -> None:
    from transformers import GPT2Config, GPT2LMHeadModel

    model = GPT2LMHeadModel(GPT2Config(n_layer=0, n_embd=8, n_head=1, vocab_size=10))
    with pytest.raises(InputError, match="no linear layers of a block 'mlp'"):
        add_adapters(model)


def test_it_embeds_nothing(base: str) -> None:
    with pytest.raises(InputError, match="dipole generate"):
        build(base).embed({})


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"objective": "dpo"}, "objective is 'dpo'"),
        ({"alpha": -1.0}, "alpha"),
        ({"threshold": 0.0}, "threshold"),
        ({"gamma": -1.0}, "gamma"),
        ({"reduction": "none"}, "reduction"),
        ({"combine": "max"}, "combine"),
        ({"lora_rank": 0}, "lora_rank"),
        ({"lora_alpha": 0.0}, "lora_alpha=0.0"),
        ({"lora_dropout": 1.0}, "lora_dropout=1.0"),
        ({"lora_targets": "head"}, "lora_targets"),
    ],
)
def test_arguments_out_of_range(base: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        CUT(**{"model": base, **options})
