"""Decoders that contrast models and layers: a batch with caches equals the algorithm written out row by row."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import PreTrainedModel

from decoding.folder import write_model
from decoding.tiny import MODELS, gpt2, left_padded, prompts
from dipole.decoding import Greedy, complete, load_language_model
from dipole.decoding.contrast import lol_logits
from dipole.decoding.hallucination import ICD, LOL, ContrastiveDecoding, DoLa
from dipole.decoding.scoring import answer_log_probs
from dipole.decoding.several_models import ContrastDecoder, all_logits, final_norm
from dipole.errors import InputError

NEW = 8


def decoders(amateur: PreTrainedModel) -> dict[str, ContrastDecoder]:
    return {
        "cd": ContrastiveDecoding(amateur_temperature=0.7).use_amateur(amateur),
        "icd": ICD(beta=1.2).use_amateur(amateur),
        "dola": DoLa(layers=[0, 1]),
        "lol": LOL(layers=[0, 1]).use_amateur(amateur),
        "dynamic": LOL(layers=[0, 1], dynamic=True, apply_final_norm=True).use_amateur(amateur),
    }


@torch.no_grad()
def literal(decoder: ContrastDecoder, model: PreTrainedModel, forms: dict[str, list[int]]) -> list[int]:
    """Without cache, batch or padding."""
    new: list[int] = []
    for _ in range(NEW):
        found = []
        for source in decoder.sources(model):
            for form in source.forms:
                ids = torch.tensor([[*forms.get(form, forms["plain"]), *new]])
                found.append(all_logits(source.model, source.layers, decoder.apply_final_norm, input_ids=ids)[:, :, -1])
        new.append(int(decoder.combine(torch.cat(found))[0].argmax()))
    return new


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", ["cd", "icd", "dola", "lol", "dynamic"])
def test_a_batch_equals_the_literal_algorithm_row_by_row(name: str, kind: str) -> None:
    model, decoder = MODELS[name](0), decoders(MODELS[name](1))[kind]
    plain, guides, lies = prompts(4), prompts(4, seed=9), prompts(4, seed=8)
    (ids, mask), (told, told_mask) = (
        left_padded(plain),
        left_padded([g + p for g, p in zip(guides, plain, strict=True)]),
    )
    lying, lying_mask = left_padded([lie + p for lie, p in zip(lies, plain, strict=True)])
    output = model.generate(
        ids,
        attention_mask=mask,
        guided_input_ids=told,
        guided_attention_mask=told_mask,
        amateur_input_ids=lying,
        amateur_attention_mask=lying_mask,
        custom_generate=decoder,
        max_new_tokens=NEW,
        eos_token_id=None,
    )
    for row, prompt in enumerate(plain):
        forms = {"plain": prompt, "guided": guides[row] + prompt, "amateur": lies[row] + prompt}
        assert output[row, -NEW:].tolist() == literal(decoder, model, forms)


def test_an_amateur_that_is_the_model_leaves_greedy_search() -> None:
    model = gpt2(0)
    ids, mask = left_padded(prompts(4))
    options: dict[str, Any] = {"attention_mask": mask, "max_new_tokens": NEW, "eos_token_id": None}
    greedy = model.generate(ids, do_sample=False, **options)
    for decoder in (ICD().use_amateur(model), LOL(instruction="").use_amateur(model)):
        assert torch.equal(model.generate(ids, custom_generate=decoder, **options), greedy)


def test_weights_of_lol_have_their_limits() -> None:
    draw = torch.Generator().manual_seed(0)
    own, amateur, low, other, told = 3 * torch.randn(5, 2, 9, generator=draw, dtype=torch.float64)
    lower = (low[None], other[None])
    icd = ICD(alpha=0.1).combine(torch.stack([own, amateur]))[0]
    torch.testing.assert_close(lol_logits(own, amateur, *lower, omega=0.0).scores, icd)
    guided = lol_logits(own, amateur, *lower, told, omega=0.0, lam=0.0)
    torch.testing.assert_close(guided.final, told.log_softmax(dim=1) - amateur.log_softmax(dim=1))
    assert bool(guided.valid.any(dim=1).all())
    lone = lol_logits(own, amateur, *lower, alpha=1.0)
    assert torch.equal(lone.scores.argmax(dim=1), own.argmax(dim=1))


def test_early_exits_with_the_final_norm_end_in_the_last_layer() -> None:
    for name in MODELS:
        model = MODELS[name](0)
        ids = torch.tensor([prompts(1)[0]])
        states: Tensor = model(ids, output_hidden_states=True).hidden_states[1]
        found = all_logits(model, [1], True, input_ids=ids)
        torch.testing.assert_close(found[1], model.get_output_embeddings()(final_norm(model)(states)))


def test_texts_and_answers(tmp_path: Path) -> None:
    model, tokenizer = load_language_model(write_model(tmp_path / "model"), device="cpu")
    decoder = LOL(amateur=str(tmp_path / "model"), amateur_instruction="w9 w8", instruction="w4 w5")
    texts = complete(model, tokenizer, ["w3 w4", "w7"], decoder, max_new_tokens=4)
    assert [len(text.tokens) for text in texts] == [4, 4]
    assert set(texts[0].details) == {"confidence", "plausible"}
    alone = complete(model, tokenizer, ["w7"], decoder, max_new_tokens=4)
    assert alone[0].tokens == texts[1].tokens
    greedy = answer_log_probs(Greedy(), model, tokenizer, "w3 w4", ["w5", "w6 w7"])
    ids = torch.tensor([tokenizer("w3 w4 w6 w7")["input_ids"]])
    with torch.no_grad():
        log_probability = model(ids).logits.log_softmax(dim=-1)
    expected = log_probability[0, 1, ids[0, 2]] + log_probability[0, 2, ids[0, 3]]
    torch.testing.assert_close(greedy[1], expected.double())
    scores = answer_log_probs(decoder, model, tokenizer, "w3 w4", ["w5", "w6 w7"])
    assert bool(scores.isfinite().all())


def test_what_does_not_fit_is_refused() -> None:
    model = gpt2(0)
    ids = torch.tensor([[3, 4]])
    with pytest.raises(InputError, match="give --amateur FOLDER"):
        model.generate(ids, custom_generate=ICD(), max_new_tokens=2)
    with pytest.raises(InputError, match="layer 7 was asked for"):
        model.generate(ids, custom_generate=DoLa(layers=[7]), max_new_tokens=2)
    with pytest.raises(InputError, match="layers are"):
        LOL(layers=[])
    for options in ({"alpha": 1.5}, {"beta": -1.0}, {"omega": -0.1}):
        with pytest.raises(InputError):
            LOL(**options)
