from typing import Any

import pytest
import torch

from decoding.folder import write_model
from dipole.decoding import (
    AdaCAD,
    BeamSearch,
    ContextAwareDecoding,
    ContrastiveSearch,
    Decoder,
    Greedy,
    LanguageModel,
    NucleusSampling,
    complete,
    last_hidden_states,
    load_language_model,
)
from dipole.errors import InputError

PROMPTS = ["w3 w4 w5", "w20", "w7 w8 w9 w10 w11", "w12 w30", "w31 w33"]
CONTEXTS = ["w21 w22", "w13 w14 w15 w16", "w6", "w37 w36 w35", "w3"]


@pytest.fixture(scope="module")
def language_model(tmp_path_factory: pytest.TempPathFactory) -> LanguageModel:
    folder = write_model(tmp_path_factory.mktemp("models") / "tiny")
    return load_language_model(folder, device="cpu", dtype=torch.float64)


@pytest.mark.parametrize("decoder", [Greedy(), ContrastiveSearch(), AdaCAD()], ids=lambda d: d.card.name)
def test_texts_do_not_depend_on_the_batch(language_model: LanguageModel, decoder: Decoder) -> None:
    one, three = (
        complete(*language_model, PROMPTS, decoder, contexts=CONTEXTS, max_new_tokens=9, batch_size=size)
        for size in (1, 3)
    )
    assert [each.tokens for each in one] == [each.tokens for each in three]
    for text, prompt, context in zip(one, PROMPTS, CONTEXTS, strict=True):
        assert (text.prompt, text.context) == (prompt, context)
        assert text.text.replace(" ", "") == "".join(f"w{token}" for token in text.tokens if 3 <= token < 39)
        assert all(len(values) == len(text.tokens) for values in text.details.values())


@pytest.mark.parametrize("decoder", [Greedy(), BeamSearch(), NucleusSampling()], ids=lambda d: d.card.name)
def test_the_loops_of_transformers_tell_their_confidence_too(language_model: LanguageModel, decoder: Decoder) -> None:
    model, tokenizer = language_model
    for text in complete(*language_model, PROMPTS, decoder, max_new_tokens=9, batch_size=3, seed=0):
        prompt = tokenizer(text.prompt)["input_ids"]
        with torch.no_grad():
            logits = model(torch.tensor([prompt + text.tokens])).logits[0, len(prompt) - 1 : -1]
        expected = logits.softmax(dim=1)[torch.arange(len(text.tokens)), text.tokens]
        torch.testing.assert_close(torch.tensor(text.details["confidence"], dtype=torch.float64), expected)


def test_a_text_ends_with_its_end_token(language_model: LanguageModel) -> None:
    found = complete(*language_model, PROMPTS, NucleusSampling(top_p=1.0), max_new_tokens=50, seed=0)
    assert all(39 not in each.tokens[:-1] for each in found)
    assert any(each.tokens[-1] == 39 for each in found)
    assert not any("<eos>" in each.text for each in found)


def test_the_context_stands_before_the_prompt(language_model: LanguageModel) -> None:
    joined = [f"{context}\n{prompt}" for context, prompt in zip(CONTEXTS, PROMPTS, strict=True)]
    with_context = complete(*language_model, PROMPTS, Greedy(), contexts=CONTEXTS, max_new_tokens=6)
    assert [each.tokens for each in with_context] == [
        each.tokens for each in complete(*language_model, joined, Greedy(), max_new_tokens=6)
    ]
    unweighted = complete(
        *language_model, PROMPTS, ContextAwareDecoding(context_weight=0.0), contexts=CONTEXTS, max_new_tokens=6
    )
    assert [each.tokens for each in unweighted] == [each.tokens for each in with_context]


def test_a_seed_repeats_samples_which_differ_between_batches(language_model: LanguageModel) -> None:
    same = ["w3 w4"] * 6
    first, again = (
        complete(*language_model, same, NucleusSampling(), max_new_tokens=8, batch_size=2, seed=5) for _ in range(2)
    )
    assert first == again
    assert len({tuple(each.tokens) for each in first}) == 6


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompts": []}, "there are no prompts"),
        ({"prompts": ["w3", ""]}, "has no tokens"),
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"contexts": ["w3"]}, "5 prompts and 1 contexts"),
        ({"decoder": AdaCAD()}, "adacad compares prompts with and without a context"),
    ],
)
def test_wrong_input(language_model: LanguageModel, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        complete(*language_model, **{"prompts": PROMPTS, "decoder": Greedy(), **arguments})


def test_last_hidden_states_are_those_of_the_model(language_model: LanguageModel) -> None:
    model, tokenizer = language_model
    found = last_hidden_states(model, tokenizer, PROMPTS, max_length=3)
    assert [len(states) for states in found] == [3, 1, 3, 2, 2]
    ids = torch.tensor([tokenizer(PROMPTS[0])["input_ids"]])
    with torch.no_grad():
        expected = model(ids, output_hidden_states=True).hidden_states[-1][0]
        torch.testing.assert_close(found[0], expected)
        begun = last_hidden_states(model, tokenizer, PROMPTS[:1], start_with_bos=True)[0]
        with_bos = torch.cat([torch.tensor([[0]]), ids], dim=1)
        torch.testing.assert_close(begun, model(with_bos, output_hidden_states=True).hidden_states[-1][0])


@pytest.mark.parametrize("decoder", [Greedy(), ContrastiveSearch(), NucleusSampling()], ids=lambda d: d.card.name)
def test_a_text_ends_with_its_stop_string(language_model: LanguageModel, decoder: Decoder) -> None:
    free = complete(*language_model, PROMPTS, decoder, max_new_tokens=12, seed=0)
    row = max(range(len(free)), key=lambda row: len(free[row].text))
    stop = free[row].text.split()[1]
    stopped = complete(*language_model, PROMPTS, decoder, max_new_tokens=12, seed=0, stop_strings=[stop])[row]
    assert stopped.text.rstrip().endswith(stop)
    assert stopped.text.count(stop) == 1
    assert stopped.tokens == free[row].tokens[: len(stopped.tokens)]
    assert {len(values) for values in stopped.details.values()} == {len(stopped.tokens)}


def test_an_empty_stop_string_is_refused(language_model: LanguageModel) -> None:
    with pytest.raises(InputError, match="stop_strings"):
        complete(*language_model, PROMPTS, Greedy(), stop_strings=[""])
