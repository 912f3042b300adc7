"""What holds for every decoder that runs dipole's loop, and what the loop refuses."""

from typing import Any

import pytest
import torch
from torch import Tensor
from transformers import (
    DynamicCache,
    LogitsProcessorList,
    PreTrainedModel,
    StoppingCriteriaList,
    T5Config,
    T5ForConditionalGeneration,
)
from transformers.generation.streamers import BaseStreamer

from decoding.tiny import IDS, VOCABULARY, build, gpt2, left_padded, llama, prompts
from dipole.decoding import AdaCAD, ContextAwareDecoding, ContrastiveSearch, Decoder
from dipole.decoding.streams import Prompt, Streams
from dipole.errors import InputError

DECODERS: dict[str, Decoder] = {
    "contrastive-search": ContrastiveSearch(),
    "adacad": AdaCAD(),
    "cad": ContextAwareDecoding(),
}
NEW = 6


class Collector(BaseStreamer):
    def __init__(self) -> None:
        self.parts: list[Tensor] = []
        self.ended = 0

    def put(self, value: Tensor) -> None:
        self.parts.append(value)

    def end(self) -> None:
        self.ended += 1


def arguments(decoder: Decoder, rows: list[list[int]]) -> dict[str, Any]:
    ids, mask = left_padded(rows)
    result = {"input_ids": ids, "attention_mask": mask, "max_new_tokens": NEW, "eos_token_id": None}
    if decoder.uses_context:
        result |= {"plain_input_ids": ids[:, -1:], "plain_attention_mask": mask[:, -1:]}
    return result


def generate(model: PreTrainedModel, decoder: Decoder, rows: list[list[int]], **options: Any) -> Any:
    return decoder.generate(model, **{**arguments(decoder, rows), **options})


each_decoder = pytest.mark.parametrize("name", DECODERS)


@each_decoder
def test_tokens_are_streamed_as_they_come(name: str) -> None:
    rows, streamer = prompts(3), Collector()
    output = generate(gpt2(), DECODERS[name], rows, streamer=streamer)
    prompt, *tokens = streamer.parts
    assert torch.equal(torch.cat([prompt, torch.stack(tokens, dim=1)], dim=1), output)
    assert len(tokens) == NEW
    assert streamer.ended == 1


@each_decoder
def test_the_output_object_holds_what_was_asked_for(name: str) -> None:
    model, rows = gpt2(), prompts(3)
    ids = generate(model, DECODERS[name], rows)
    output = generate(model, DECODERS[name], rows, return_dict_in_generate=True, output_scores=True, output_logits=True)
    assert torch.equal(output.sequences, ids)
    assert len(output.scores) == len(output.logits) == NEW
    assert output.scores[0].shape == (3, VOCABULARY)
    new = ids[:, -NEW:]
    for step in range(NEW):
        expected = output.scores[step].softmax(dim=-1).gather(1, new[:, step : step + 1])[:, 0]
        torch.testing.assert_close(output.confidence[:, step], expected)
    detail = "degeneration_penalty" if name == "contrastive-search" else "context_weight"
    assert output[detail].shape == (3, NEW)
    assert generate(model, DECODERS[name], rows, return_dict_in_generate=True).scores is None


@each_decoder
def test_processors_and_criteria_of_the_call_are_obeyed(name: str) -> None:
    model, rows = gpt2(), prompts(2)

    def only_even(ids: Tensor, scores: Tensor) -> Tensor:
        scores[:, 1::2] = -torch.inf  # in place, as a processor may
        return scores

    def after_three(ids: Tensor, scores: Any) -> Tensor:
        return torch.full((len(ids),), ids.shape[1] >= len(arguments(DECODERS[name], rows)["input_ids"][0]) + 3)

    output = generate(
        model,
        DECODERS[name],
        rows,
        logits_processor=LogitsProcessorList([only_even]),
        stopping_criteria=StoppingCriteriaList([after_three]),
        return_dict_in_generate=True,
        output_logits=True,
    )
    new = output.sequences[:, arguments(DECODERS[name], rows)["input_ids"].shape[1] :]
    assert new.shape[1] == 3
    assert not bool((new % 2).any())
    assert bool(output.logits[0].isfinite().all())


@each_decoder
def test_the_smallest_length_is_obeyed(name: str) -> None:
    model, rows = gpt2(), prompts(4)
    start = arguments(DECODERS[name], rows)["input_ids"].shape[1]
    ends = generate(model, DECODERS[name], rows)[:, start].unique()
    output = generate(model, DECODERS[name], rows, eos_token_id=ends.tolist(), min_new_tokens=3)
    assert not bool(torch.isin(output[:, start : start + 3], ends).any())


@each_decoder
def test_half_precision_models_are_decoded(name: str) -> None:
    output = generate(llama().bfloat16(), DECODERS[name], prompts(3), return_dict_in_generate=True)
    assert output.confidence.dtype == torch.float32


@each_decoder
def test_a_decoder_keeps_nothing_between_calls(name: str) -> None:
    decoder, rows = DECODERS[name], prompts(3)
    first = generate(gpt2(), decoder, rows)
    generate(llama(), decoder, prompts(5, seed=8))
    assert torch.equal(generate(gpt2(), decoder, rows), first)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_beams": 2}, "num_beams is 2"),
        ({"use_cache": False}, "there is no cache"),
        ({"cache_implementation": "static"}, "StaticCache"),
        ({"return_dict_in_generate": True, "output_hidden_states": True}, "output_hidden_states"),
        ({"prefill_chunk_size": 2}, "prefill_chunk_size"),
        ({"token_type_ids": torch.zeros(2, 9, dtype=torch.long)}, "token_type_ids"),
    ],
)
@each_decoder
def test_what_would_be_ignored_is_refused(name: str, options: dict[str, Any], message: str) -> None:
    rows = [[5] * 9, [6] * 4]
    with pytest.raises(InputError, match=message):
        generate(gpt2(), DECODERS[name], rows, **options)


def test_a_filled_cache_is_refused() -> None:
    model = gpt2()
    ids = torch.tensor([[4, 5, 6]])
    cache = DynamicCache(config=model.config)
    model(ids[:, :2], past_key_values=cache)
    with pytest.raises(InputError, match="past_key_values holds 2 tokens"):
        model.generate(ids, past_key_values=cache, max_new_tokens=2, custom_generate=ContrastiveSearch())


def test_a_cache_outside_of_the_device_is_refused() -> None:
    model = gpt2()
    cache = DynamicCache(config=model.config)
    cache.offloading = True
    with pytest.raises(InputError, match="default DynamicCache"):
        Streams(model, [Prompt(torch.tensor([[4]]), None)], cache)


@each_decoder
def test_prompts_without_tokens_are_refused(name: str) -> None:
    decoder, model = DECODERS[name], gpt2()
    with pytest.raises(InputError, match=r"shape \(2, 0\): expected"):
        decoder.generate(model, torch.ones(2, 0, dtype=torch.long), max_new_tokens=2)
    with pytest.raises(InputError, match="padding throughout"):
        generate(model, decoder, [[4, 5], []])


def test_an_empty_prompt_is_refused_by_the_callable_too() -> None:
    with pytest.raises(InputError, match="expected \\(rows, length\\)"):
        gpt2().generate(torch.ones(1, 0, dtype=torch.long), max_new_tokens=2, custom_generate=ContrastiveSearch())


def test_padding_on_the_right_is_refused() -> None:
    ids, mask = torch.tensor([[4, 5], [6, 1]]), torch.tensor([[1, 1], [1, 0]])
    with pytest.raises(InputError, match="pad on the left"):
        ContrastiveSearch().generate(gpt2(), ids, attention_mask=mask, max_new_tokens=2)
    with pytest.raises(InputError, match="the attention mask of input_ids has shape"):
        ContrastiveSearch().generate(gpt2(), ids, attention_mask=mask[:, :1], max_new_tokens=2)


@each_decoder
def test_broken_logits_are_refused(name: str) -> None:
    model = gpt2()
    with torch.no_grad():
        model.transformer.ln_f.weight.fill_(torch.nan)
    with pytest.raises(InputError, match="logits are broken"):
        generate(model, DECODERS[name], prompts(2))


def test_a_call_that_bans_everything_is_refused() -> None:
    with pytest.raises(InputError, match="ban every token"):
        generate(
            gpt2(), ContrastiveSearch(), prompts(2), logits_processor=LogitsProcessorList([lambda i, s: s - torch.inf])
        )


def test_a_model_with_an_encoder_is_refused() -> None:
    config = T5Config(vocab_size=VOCABULARY, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2, **IDS)
    model = build(lambda: T5ForConditionalGeneration(config), 0)
    with pytest.raises(InputError, match="an encoder and a decoder"):
        model.generate(
            torch.tensor([[4, 5]]), decoder_start_token_id=1, max_new_tokens=2, custom_generate=ContrastiveSearch()
        )
