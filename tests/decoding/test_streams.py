"""What the cache holds while candidates are proposed and accepted."""

import pytest
import torch
from transformers import DynamicCache

from decoding.tiny import MODELS, left_padded, prompts
from dipole.decoding.streams import Prompt, Streams
from dipole.losses.common import unit_rows

ROWS = 3
SLIDING_WINDOW = 6


def opened(name: str, keep_states: bool = True, streams: int = 1) -> Streams:
    model = MODELS[name](0)
    inputs = [Prompt(*left_padded(prompts(ROWS, seed=stream))) for stream in range(streams)]
    return Streams(model, inputs, DynamicCache(config=model.config), keep_states=keep_states)


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("at_once", [None, 1, 2])
def test_the_cache_is_as_wide_as_a_batch_of_candidates_and_no_longer_than_needed(
    name: str, at_once: int | None
) -> None:
    streams = opened(name)
    streams.read_prompts()
    length = streams.prompts[0].ids.shape[1]
    for step in range(SLIDING_WINDOW):
        streams.propose(torch.tensor([[4, 5, 6, 7]] * ROWS), at_once)
        streams.accept(torch.tensor([0, 3, 1]))
        expected = length + step + 1
        if name == "sliding":
            expected = min(expected, SLIDING_WINDOW - 1)
        for layer in streams.cache.layers:
            assert len(layer.keys) == len(layer.values) == ROWS * (at_once or 4)
            assert layer.keys.shape[2] == layer.values.shape[2] == expected


@torch.no_grad()
@pytest.mark.parametrize("name", MODELS)
def test_after_acceptance_the_cache_is_that_of_the_chosen_text(name: str) -> None:
    streams, plain = opened(name), opened(name)
    streams.read_prompts()
    plain.read_prompts()
    candidates = torch.tensor([[4, 5, 6], [7, 8, 9], [10, 11, 12]])
    chosen = torch.tensor([2, 0, 1])
    for _ in range(3):
        streams.propose(candidates)
        logits = streams.accept(chosen)
        plain.propose(candidates.gather(1, chosen[:, None]))
        torch.testing.assert_close(logits, plain.accept(torch.zeros_like(chosen)))
    for layer, other in zip(streams.cache.layers, plain.cache.layers, strict=True):
        for candidate in range(3):
            torch.testing.assert_close(layer.keys[candidate::3], other.keys)
            torch.testing.assert_close(layer.values[candidate::3], other.values)
    torch.testing.assert_close(streams.states, plain.states)


@torch.no_grad()
def test_the_number_of_candidates_may_change() -> None:
    streams, plain = opened("llama"), opened("llama")
    streams.read_prompts()
    plain.read_prompts()
    for count in (1, 4, 2, 1, 3):
        candidates = torch.arange(5, 5 + ROWS * count).view(ROWS, count)
        streams.propose(candidates)
        plain.propose(candidates[:, -1:])
        logits = streams.accept(torch.full((ROWS,), count - 1))
        torch.testing.assert_close(logits, plain.accept(torch.zeros(ROWS, dtype=torch.long)))


@torch.no_grad()
def test_states_are_the_unit_last_hidden_states_of_the_texts() -> None:
    streams = opened("gpt2")
    streams.read_prompts()
    streams.propose(torch.tensor([[4, 5]] * ROWS))
    streams.accept(torch.ones(ROWS, dtype=torch.long))
    assert streams.states is not None
    mask = streams.state_mask()
    assert mask is not None
    for row, prompt in enumerate(prompts(ROWS, seed=0)):
        text = torch.tensor([[*prompt, 5]])
        expected = unit_rows(streams.model(text, output_hidden_states=True).hidden_states[-1][0])
        torch.testing.assert_close(streams.states[row][mask[row]], expected)


@torch.no_grad()
def test_the_same_token_goes_to_all_streams() -> None:
    streams = opened("llama", keep_states=False, streams=3)
    first = streams.read_prompts()
    assert first.shape[:2] == (3, ROWS)
    streams.propose(torch.tensor([[9], [8], [7]]))
    logits = streams.accept(torch.zeros(ROWS, dtype=torch.long))
    for stream in range(3):
        for row, prompt in enumerate(prompts(ROWS, seed=stream)):
            text = torch.tensor([[*prompt, 9 - row]])
            torch.testing.assert_close(logits[stream, row], streams.model(text).logits[0, -1])
    assert streams.states is None
