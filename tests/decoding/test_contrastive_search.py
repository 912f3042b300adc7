import copy
import math

import pytest
import torch
from transformers import PreTrainedModel

from decoding.tiny import END, MODELS, VOCABULARY, WINDOW, gpt2, left_padded, literal_contrastive_search, prompts
from dipole.decoding import ContrastiveSearch, contrastive_scores
from dipole.errors import InputError

NEW = 12


def continued(model: PreTrainedModel, rows: list[list[int]], decoder: ContrastiveSearch, **options: object) -> list:
    """The new tokens of each row, with the token that ended it."""
    ids, mask = left_padded(rows)
    output = model.generate(
        ids, attention_mask=mask, custom_generate=decoder, **{"max_new_tokens": NEW, "eos_token_id": None, **options}
    )
    return output[:, ids.shape[1] :].tolist()


@pytest.mark.parametrize(("name", "count"), [("gpt2", 50), ("llama", 15), ("sliding", 15)])
def test_it_equals_the_literal_algorithm_without_cache(name: str, count: int) -> None:
    model = MODELS[name](0)
    rows = prompts(count)
    decoder = ContrastiveSearch(top_k=3, degeneration_penalty=0.6)
    ids, mask = left_padded(rows)
    output = model.generate(
        ids,
        attention_mask=mask,
        max_new_tokens=8,
        eos_token_id=None,
        custom_generate=decoder,
        return_dict_in_generate=True,
    )
    greedy = model.generate(ids, attention_mask=mask, max_new_tokens=8, eos_token_id=None)
    assert not torch.equal(output.sequences, greedy)
    for row, prompt in enumerate(rows):
        tokens, penalties = literal_contrastive_search(model, prompt, k=3, alpha=0.6, new_tokens=8)
        assert output.sequences[row, ids.shape[1] :].tolist() == tokens
        assert output.degeneration_penalty[row].tolist() == pytest.approx(penalties, abs=1e-9)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("penalty", [0.3, 1.0])
def test_a_batch_is_its_rows(name: str, penalty: float) -> None:
    model, rows = MODELS[name](1), prompts(6, seed=1)
    decoder = ContrastiveSearch(top_k=4, degeneration_penalty=penalty)
    assert continued(model, rows, decoder) == [continued(model, [row], decoder)[0] for row in rows]


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("at_once", [1, 2, 3, 9])
def test_reading_candidates_in_parts_changes_nothing(name: str, at_once: int) -> None:
    model, rows = MODELS[name](2), prompts(5, seed=2)
    whole = continued(model, rows, ContrastiveSearch(top_k=5))
    assert continued(model, rows, ContrastiveSearch(top_k=5, candidates_at_once=at_once)) == whole


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("options", [{"top_k": 5, "degeneration_penalty": 0.0}, {"top_k": 1}])
def test_its_limits_are_greedy_search(name: str, options: dict[str, float]) -> None:
    model, rows = MODELS[name](3), prompts(8, seed=3)
    ids, mask = left_padded(rows)
    expected = model.generate(ids, attention_mask=mask, max_new_tokens=NEW, do_sample=False)
    found = ContrastiveSearch(**options).generate(model, ids, attention_mask=mask, max_new_tokens=NEW)
    assert torch.equal(found, expected)


def test_without_probability_the_most_novel_candidate_wins() -> None:
    model = gpt2()
    prompt = [4, 8, 15]
    decoder = ContrastiveSearch(top_k=VOCABULARY, degeneration_penalty=1.0)
    (tokens,) = continued(model, [prompt], decoder, max_new_tokens=1)
    with torch.no_grad():
        candidates = torch.tensor([[*prompt, token] for token in range(VOCABULARY)])
        states = torch.nn.functional.normalize(model(candidates, output_hidden_states=True).hidden_states[-1], dim=-1)
    nearest = torch.einsum("vse,ve->vs", states[:, :-1], states[:, -1]).amax(dim=1)
    assert tokens == [int(nearest.argmin())]


@pytest.mark.parametrize("at_once", [None, 2])
def test_every_row_ends_for_itself(at_once: int | None) -> None:
    model, rows = gpt2(4), prompts(12, seed=4)
    decoder = ContrastiveSearch(top_k=4, candidates_at_once=at_once)
    free = continued(model, rows, decoder)
    end = free[0][3]  # a token that some row generates early, others late or never
    found = continued(model, rows, decoder, eos_token_id=[end, VOCABULARY - 2])
    lengths = set()
    for alone, row in zip(free, found, strict=True):
        stop = next((i + 1 for i, token in enumerate(alone) if token in (end, VOCABULARY - 2)), NEW)
        lengths.add(stop)
        assert row[:stop] == alone[:stop]
        assert set(row[stop:]) <= {1}
    assert len(lengths) > 1


def test_generation_stops_when_all_rows_have_ended() -> None:
    model, prompt = gpt2(), [5, 6]
    decoder = ContrastiveSearch()
    free = continued(model, [prompt], decoder)[0]
    stop = free.index(free[4])
    assert continued(model, [prompt], decoder, eos_token_id=free[4])[0] == free[: stop + 1]


def test_banned_tokens_are_never_chosen() -> None:
    """The penalty alone would choose tokens of probability 0."""
    model, rows = gpt2(5), prompts(6, seed=5)
    allowed = [3, 7, 9]
    found = continued(
        model,
        rows,
        ContrastiveSearch(top_k=8, degeneration_penalty=1.0),
        prefix_allowed_tokens_fn=lambda batch, ids: allowed,
    )
    assert {token for row in found for token in row} <= set(allowed)


def test_logits_processors_change_the_probabilities() -> None:
    model, rows = gpt2(6), prompts(4, seed=6)
    found = continued(model, rows, ContrastiveSearch(top_k=3), bad_words_ids=[[token] for token in range(20)])
    assert min(token for row in found for token in row) >= 20
    with_penalty = continued(model, rows, ContrastiveSearch(top_k=3), repetition_penalty=1.8)
    assert with_penalty != continued(model, rows, ContrastiveSearch(top_k=3))


def test_the_model_is_called_once_a_token() -> None:
    model, calls = gpt2(), []
    handle = model.register_forward_hook(lambda *_: calls.append(1))
    continued(model, prompts(3), ContrastiveSearch(top_k=4))
    assert len(calls) == 1 + NEW
    handle.remove()


def test_scores_are_those_of_the_definition_in_any_float_type() -> None:
    generator = torch.Generator().manual_seed(0)
    context, candidates = (torch.randn(2, n, 5, generator=generator, dtype=torch.float64) for n in (6, 3))
    probabilities = torch.rand(2, 3, generator=generator, dtype=torch.float64)
    result = contrastive_scores(context, candidates, probabilities, degeneration_penalty=0.4)
    for row in range(2):
        for k in range(3):
            cosine = max(torch.cosine_similarity(candidates[row, k], state, dim=0) for state in context[row])
            expected = 0.6 * probabilities[row, k] - 0.4 * cosine
            torch.testing.assert_close(result.score[row, k], expected)
    scaled = contrastive_scores(7 * context, 0.1 * candidates, probabilities, degeneration_penalty=0.4)
    torch.testing.assert_close(scaled, result)
    half = contrastive_scores(context.half(), candidates.half(), probabilities.half())
    assert half.penalty.dtype == torch.float32


def test_a_zero_state_gives_no_nan() -> None:
    result = contrastive_scores(torch.zeros(1, 2, 4), torch.zeros(1, 3, 4), torch.ones(1, 3))
    assert bool(result.score.isfinite().all())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"top_k": 0}, "top_k is 0"),
        ({"degeneration_penalty": 1.2}, "from 0 to 1"),
        ({"degeneration_penalty": math.nan}, "from 0 to 1"),
        ({"candidates_at_once": 0}, "candidates_at_once is 0"),
    ],
)
def test_wrong_arguments(options: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        ContrastiveSearch(**options)


def test_more_candidates_than_tokens() -> None:
    with pytest.raises(InputError, match=f"top_k is 41: the model's vocabulary has {VOCABULARY}"):
        continued(gpt2(), [[5]], ContrastiveSearch(top_k=41))


def test_a_context_of_padding_alone() -> None:
    with pytest.raises(InputError, match="False throughout"):
        contrastive_scores(torch.ones(1, 2, 3), torch.ones(1, 2, 3), torch.ones(1, 2), mask=torch.tensor([[False] * 2]))


def test_prompts_that_are_too_long() -> None:
    decoder = ContrastiveSearch()
    with pytest.raises(InputError, match=f"window of {WINDOW}: set max_new_tokens to at most 4"):
        continued(gpt2(), [[5] * 60], decoder)
    with pytest.raises(InputError, match="shorten the prompt"):
        continued(gpt2(), [[5] * (WINDOW + 3)], decoder)
    # Padding takes no place in the window.
    assert len(continued(gpt2(), [[5] * (WINDOW - NEW), [6]], decoder)[1]) == NEW


def test_sampling_is_refused() -> None:
    with pytest.raises(InputError, match="do_sample is on"):
        continued(gpt2(), [[5]], ContrastiveSearch(), do_sample=True)


def test_a_model_without_hidden_states() -> None:
    model = copy.deepcopy(gpt2())
    model.base_model_prefix = ""  # no part of it is known to be the one that gives hidden states
    with pytest.raises(InputError, match="gives no hidden states"):
        continued(model, [[5]], ContrastiveSearch())


def test_the_end_token_of_the_model_is_obeyed() -> None:
    model = gpt2(7)
    rows = prompts(20, seed=7)
    ids, mask = left_padded(rows)
    found = ContrastiveSearch().generate(model, ids, attention_mask=mask, max_new_tokens=30)[:, ids.shape[1] :]
    ended = (found == END).any(dim=1)
    assert bool(ended.any())
    for row in found[ended]:
        first = int((row == END).nonzero()[0])
        assert set(row[first + 1 :].tolist()) <= {1}
