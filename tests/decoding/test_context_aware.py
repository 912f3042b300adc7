import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from transformers import PreTrainedModel

from decoding.tiny import MODELS, WINDOW, gpt2, left_padded, literal_adacad, prompts
from dipole.decoding import AdaCAD, ContextAwareDecoding, context_aware_logits, jensen_shannon, nucleus_mask
from dipole.errors import InputError

NEW = 10
INFINITY = math.inf


def random(*shape: int, seed: int = 0) -> Tensor:
    return 3 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def pairs(count: int, seed: int = 0) -> tuple[list[list[int]], list[list[int]]]:
    """Prompts with context, and without: their last tokens. Contexts of several lengths."""
    plain = prompts(count, seed=seed, longest=5)
    return [context + query for context, query in zip(prompts(count, seed + 50), plain, strict=True)], plain


def generate(
    model: PreTrainedModel, decoder: Any, rows: list[list[int]], plain: list[list[int]], **options: Any
) -> Any:
    (ids, mask), (plain_ids, plain_mask) = left_padded(rows), left_padded(plain)
    return model.generate(
        ids,
        attention_mask=mask,
        plain_input_ids=plain_ids,
        plain_attention_mask=plain_mask,
        custom_generate=decoder,
        return_dict_in_generate=True,
        **{"max_new_tokens": NEW, "eos_token_id": None, **options},
    )


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(
    ("decoder", "literal"),
    [
        (AdaCAD(), {}),
        (AdaCAD(warmup=0.3), {"warmup": 0.3}),
        (ContextAwareDecoding(context_weight=0.5), {"weight": 0.5}),
    ],
    ids=["adacad", "warm-up", "cad"],
)
def test_a_batch_equals_the_literal_algorithm_row_by_row(name: str, decoder: Any, literal: dict[str, float]) -> None:
    model = MODELS[name](0)
    rows, plain = pairs(8)
    output = generate(model, decoder, rows, plain)
    new = output.sequences[:, -NEW:].tolist()
    greedy = generate(model, ContextAwareDecoding(context_weight=0), rows, plain).sequences[:, -NEW:].tolist()
    assert new != greedy
    for i, (row, query) in enumerate(zip(rows, plain, strict=True)):
        tokens, weights = literal_adacad(model, row, query, new_tokens=NEW, **literal)
        assert new[i] == tokens
        assert output.context_weight[i].tolist() == pytest.approx(weights, rel=1e-6)


@pytest.mark.parametrize("decoder", [ContextAwareDecoding(context_weight=0), AdaCAD()], ids=["weight 0", "no context"])
def test_its_limits_are_greedy_search(decoder: Any) -> None:
    model = gpt2(1)
    rows, plain = pairs(6)
    ids, mask = left_padded(rows)
    if isinstance(decoder, AdaCAD):
        plain = rows  # nothing to disagree about
    expected = model.generate(ids, attention_mask=mask, max_new_tokens=NEW, eos_token_id=None, do_sample=False)
    output = generate(model, decoder, rows, plain)
    assert torch.equal(output.sequences, expected)
    assert float(output.context_weight.abs().max()) < 1e-12


def test_rows_end_for_themselves_and_weights_end_with_them() -> None:
    model = gpt2(2)
    rows, plain = pairs(10)
    free = generate(model, AdaCAD(), rows, plain)
    end = int(free.sequences[0, -NEW + 2])
    output = generate(model, AdaCAD(), rows, plain, eos_token_id=end)
    stops = set()
    for i in range(len(rows)):
        alone, row = free.sequences[i, -NEW:].tolist(), output.sequences[i, -NEW:].tolist()
        stop = alone.index(end) + 1 if end in alone else NEW
        stops.add(stop)
        assert row == alone[:stop] + [1] * (NEW - stop)
        assert bool((output.context_weight[i, :stop] > 0).all())
        assert not bool(output.context_weight[i, stop:].any())
        assert not bool(output.confidence[i, stop:].any())
    assert len(stops) > 1


def test_sampling_draws_from_the_contrasted_distribution() -> None:
    model = gpt2(3)
    rows, plain = pairs(1)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        output = generate(
            model,
            AdaCAD(),
            rows,
            plain,
            max_new_tokens=1,
            do_sample=True,
            top_k=0,
            num_return_sequences=3000,
            output_scores=True,
        )
    counts = torch.bincount(output.sequences[:, -1], minlength=40) / 3000
    expected = output.scores[0][0].softmax(dim=0)
    assert float((counts - expected).abs().sum()) < 0.15
    torch.testing.assert_close(output.confidence[:, 0], expected[output.sequences[:, -1]])


def test_a_nucleus_of_the_context_bounds_what_is_chosen() -> None:
    logits = random(2, 5, 40)
    scores, details = AdaCAD(context_top_p=0.5).combine(logits)
    assert bool(nucleus_mask(logits[0], 0.5).gather(1, scores.argmax(dim=1)[:, None]).all())
    torch.testing.assert_close(details["context_weight"], jensen_shannon(logits[0], logits[1]))


def test_a_nucleus_without_context_pushes_down() -> None:
    logits = random(2, 5, 40, seed=1)
    scores, _ = AdaCAD(plain_top_p=0.6).combine(logits)
    free, _ = AdaCAD().combine(logits)
    outside = ~nucleus_mask(logits[1], 0.6)
    torch.testing.assert_close(scores[~outside], free[~outside])
    assert float(scores[outside].max()) < float(scores[~outside].min())


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 999), rows=st.integers(1, 4), vocabulary=st.integers(2, 30), shift=st.floats(-50, 50))
def test_divergence_is_symmetric_bounded_and_blind_to_shifts(
    seed: int, rows: int, vocabulary: int, shift: float
) -> None:
    p, q = random(2, rows, vocabulary, seed=seed)
    value = jensen_shannon(p, q)
    assert bool(((value >= 0) & (value <= math.log(2) + 1e-12)).all())
    torch.testing.assert_close(value, jensen_shannon(q, p))
    torch.testing.assert_close(value, jensen_shannon(p + shift, q), rtol=1e-6, atol=1e-12)
    torch.testing.assert_close(jensen_shannon(p, q, log_base=2), value / math.log(2))
    order = torch.randperm(vocabulary, generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(jensen_shannon(p[:, order], q[:, order]), value)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 999), top_p=st.floats(0, 0.999))
def test_the_nucleus_is_the_smallest_set_with_the_probability(seed: int, top_p: float) -> None:
    logits = random(3, 12, seed=seed)
    keep = nucleus_mask(logits, top_p)
    for row, probability in zip(keep, logits.softmax(dim=1), strict=True):
        kept = probability[row]
        assert len(kept) >= 1
        assert float(kept.min()) >= float(probability[~row].max() if bool((~row).any()) else 0)
        assert float(kept.sum() - kept.min()) < max(top_p, 1e-12)
        assert float(kept.sum()) >= top_p - 1e-9


def test_impossible_tokens() -> None:
    p = torch.tensor([[0.0, 1.0, -INFINITY, -INFINITY, 2.0]], dtype=torch.float64)
    q = torch.tensor([[0.0, -INFINITY, 1.0, -INFINITY, 0.0]], dtype=torch.float64)
    divergence = jensen_shannon(p, q)
    assert 0 < float(divergence) < math.log(2)
    mixed = context_aware_logits(p, q, 0.5)
    assert mixed.tolist() == [[0.0, 1.0, -INFINITY, -INFINITY, 3.0]]
    disjoint = jensen_shannon(torch.tensor([[0.0, -INFINITY]]), torch.tensor([[-INFINITY, 0.0]]))
    torch.testing.assert_close(disjoint, torch.tensor([math.log(2)]))
    assert jensen_shannon(p, p).tolist() == [0.0]


def test_half_precision_is_computed_in_float32() -> None:
    p, q = random(2, 3, 8).half()
    assert jensen_shannon(p, q).dtype == torch.float32
    torch.testing.assert_close(jensen_shannon(p, q), jensen_shannon(p.float(), q.float()))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AdaCAD(warmup=-0.1), "warmup"),
        (lambda: AdaCAD(log_base=1.0), "log_base"),
        (lambda: AdaCAD(context_top_p=0.0), "context_top_p"),
        (lambda: AdaCAD(plain_top_p=1.5), "plain_top_p"),
        (lambda: ContextAwareDecoding(context_weight=-1.0), "context_weight"),
        (lambda: jensen_shannon(torch.ones(1, 2), torch.ones(1, 2), log_base=0.5), "log_base"),
    ],
)
def test_wrong_arguments(make: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        make()


def test_prompts_that_do_not_belong_together() -> None:
    model = gpt2()
    rows, plain = pairs(3)
    ids, mask = left_padded(rows)
    with pytest.raises(InputError, match="pass the one without context as plain_input_ids"):
        model.generate(ids, attention_mask=mask, max_new_tokens=2, custom_generate=AdaCAD())
    with pytest.raises(InputError, match="2 rows and input_ids 3"):
        generate(model, AdaCAD(), rows, plain[:2])
    with pytest.raises(InputError, match="plain_input_ids has shape"):
        model.generate(
            ids,
            attention_mask=mask,
            plain_input_ids=ids[:, :0],
            max_new_tokens=2,
            custom_generate=AdaCAD(),
        )
    with pytest.raises(InputError, match="window"):
        generate(model, AdaCAD(), rows, [[5] * WINDOW] * 3)
