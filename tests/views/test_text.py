"""Views of texts: strings, tokens, batches."""

from collections import Counter
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dipole.errors import InputError
from dipole.nn.text import build_text_encoder
from dipole.views.text import (
    DropoutTwins,
    RandomCrops,
    SpanMaskedTwins,
    TextViews,
    TrainingPassages,
    add_ends,
    delete_tokens,
    hard_negative_counts,
    mask_tokens,
    normalize_text,
    pad_tokens,
    pair_of,
    random_crop,
    replace_tokens,
    shuffle_tokens,
    span_mask,
)
from text_models import TEXTS, bert_folder

TOKENIZER = build_text_encoder(str(bert_folder()), max_length=32).tokenizer
RECORDS: list[dict[str, Any]] = [{"text": text} for text in TEXTS]
SEEDS = st.integers(0, 2**32)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def decoded(views: dict[str, torch.Tensor], skip: bool = True) -> list[list[str]]:
    return [[TOKENIZER.decode(row, skip_special_tokens=skip) for row in view] for view in views["input_ids"]]


@settings(max_examples=50, deadline=None)
@given(text=st.text(max_size=60), k=st.integers(0, 8), least=st.integers(0, 40), seed=SEEDS)
def test_a_masked_span(text: str, k: int, least: int, seed: int) -> None:
    masked = span_mask(text, span_chars=k, min_chars=least, mask_token="<>", generator=seeded(seed))
    if k == 0 or len(text) <= k or len(text) < least:
        assert masked == text
        return
    starts = [i for i in range(len(text) - k) if masked == f"{text[:i]} <> {text[i + k :]}"]
    assert starts
    assert all(span_mask(text, span_chars=k, min_chars=least, mask_token="<>", start=i) == masked for i in starts)


def test_every_start_but_the_last_is_drawn() -> None:
    text = "0123456789"
    drawn = {span_mask(text, span_chars=4, min_chars=1, generator=seeded(seed)).index(" ") for seed in range(200)}
    assert drawn == set(range(6))


def test_the_first_occurrence() -> None:
    text = "abcabc" + 30 * "x"
    assert span_mask(text, span_chars=3, start=3) == "abc [MASK] " + 30 * "x"
    assert span_mask(text, span_chars=3, start=3, official_first_occurrence=True) == " [MASK] abc" + 30 * "x"
    with pytest.raises(InputError, match="start is 34: expected 0 to 33 in a text of 36"):
        span_mask(text, span_chars=3, start=34)


def test_normalised_text() -> None:
    assert normalize_text("a\u00a0b\tc\u200bd\x00e—f ‘g’ «h»") == "a b cde-f 'g' \"h\""
    assert normalize_text("plain text, 100 %") == "plain text, 100 %"
    assert normalize_text("größe 日本") == "größe 日本"


@settings(max_examples=50, deadline=None)
@given(length=st.integers(0, 60), low=st.floats(0, 1), high=st.floats(0, 1), seed=SEEDS)
def test_a_crop_is_a_span(length: int, low: float, high: float, seed: int) -> None:
    low, high = sorted((low, high))
    tokens = torch.arange(length)
    crop = random_crop(tokens, ratio_min=low, ratio_max=high, generator=seeded(seed))
    assert len(crop) <= max(1, int(length * high))
    if length:
        assert len(crop) >= max(1, int(length * low))
        assert torch.equal(crop, torch.arange(int(crop[0]), int(crop[0]) + len(crop)))


def test_crops_reach_both_ends() -> None:
    crops = [random_crop(torch.arange(10), ratio=0.3, generator=seeded(seed)) for seed in range(300)]
    assert {int(crop[0]) for crop in crops} == set(range(8))
    assert all(len(crop) == 3 for crop in crops)


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_token_changes_by_their_shares(p: float) -> None:
    tokens = torch.arange(10000) % 90 + 10
    kept = len(delete_tokens(tokens, p, generator=seeded())) / 10000
    assert kept == pytest.approx(1 - p, abs=0.02)
    masked = mask_tokens(tokens, p, mask_id=3, generator=seeded())
    assert float((masked == 3).float().mean()) == pytest.approx(p, abs=0.02)
    replaced = replace_tokens(tokens, p, vocabulary=5, first_id=2, generator=seeded())
    new = replaced[replaced != tokens]
    assert len(new) / 10000 == pytest.approx(p, abs=0.02)
    assert set(new.tolist()) == ({2, 3, 4} if p else set())
    assert len(tokens) == 10000


@settings(max_examples=30, deadline=None)
@given(length=st.integers(0, 40), p=st.floats(0, 1), seed=SEEDS)
def test_shuffling_is_a_permutation_of_the_chosen(length: int, p: float, seed: int) -> None:
    tokens = torch.arange(length)
    shuffled = shuffle_tokens(tokens, p, generator=seeded(seed))
    assert Counter(shuffled.tolist()) == Counter(tokens.tolist())
    chosen = int((torch.rand(length, generator=seeded(seed)) < p).sum())
    assert int((shuffled != tokens).sum()) <= chosen
    assert torch.equal(tokens, torch.arange(length))


def test_the_official_shuffle_loses_tokens() -> None:
    tokens = torch.arange(40)
    lost = [
        40 - len(set(shuffle_tokens(tokens, 0.5, official_aliasing=True, generator=seeded(seed)).tolist()))
        for seed in range(20)
    ]
    assert max(lost) > 3


@pytest.mark.usefixtures("unchecked")
def test_tokens_that_do_not_fit() -> None:
    tokens = torch.arange(5)
    for call, message in (
        (lambda: random_crop(tokens, ratio_min=0.6, ratio_max=0.5), "ratios from 0.6 to 0.5"),
        (lambda: random_crop(tokens, ratio=0.4, start=4), "start is 4: expected 0 to 3 for a span of 2 tokens"),
        (lambda: delete_tokens(tokens, 1.5), "probability is 1.5: expected a probability from 0 to 1"),
        (lambda: delete_tokens(tokens, 0.5, draws=torch.ones(4)), "4 draws for 5 tokens"),
        (lambda: replace_tokens(tokens, 0.5, vocabulary=9, first_id=9), "the first replacement is 9 of 9 tokens"),
        (
            lambda: replace_tokens(tokens, 1.0, vocabulary=9, first_id=1, replacements=tokens[:2]),
            "2 replacements for 5 tokens",
        ),
    ):
        with pytest.raises(InputError, match=message):
            call()


def test_ends_and_padding() -> None:
    tokens = torch.tensor([5, 6])
    assert [add_ends(tokens, *ends).tolist() for ends in ((1, 2), (None, 2), (1, None), (None, None))] == [
        [1, 5, 6, 2],
        [5, 6, 2],
        [1, 5, 6],
        [5, 6],
    ]
    ids, mask = pad_tokens([tokens, tokens[:0], tokens[:1]], padding=9, length=3)
    assert ids.tolist() == [[5, 6, 9], [9, 9, 9], [5, 9, 9]]
    assert mask.sum(dim=1).tolist() == [2, 0, 1]
    assert pad_tokens([tokens], length=1)[0].tolist() == [[5]]
    assert pad_tokens([])[0].shape == (0, 0)


EVERY: dict[str, Any] = {
    "twins": (DropoutTwins(num_views=3), 3),
    "masked twins": (SpanMaskedTwins(), 2),
    "masked twins, three": (SpanMaskedTwins(num_views=3), 3),
    "crops": (RandomCrops(ratio_min=0.3), 2),
    "crops, three": (RandomCrops(num_views=3, augmentation="none"), 3),
    **{
        f"crops, {name}": (RandomCrops(augmentation=name, probability=0.5, replacement_start=10), 2)
        for name in ("mask", "replace", "shuffle", "shuffle_official")
    },
}


@pytest.mark.parametrize("name", EVERY)
def test_a_batch_of_views(name: str) -> None:
    views, count = EVERY[name]
    assert isinstance(views, TextViews)
    assert views.num_views == count
    found, again = (views(RECORDS, TOKENIZER, generator=seeded()) for _ in range(2))
    assert set(found) == {"input_ids", "attention_mask"}
    for key, values in found.items():
        assert values.shape[:2] == (count, len(RECORDS))
        assert values.dtype == torch.int64
        assert torch.equal(values, again[key])
    ids, mask = found["input_ids"], found["attention_mask"].bool()
    assert torch.equal(ids == TOKENIZER.pad_token_id, ~mask)
    assert (ids[:, :, 0] == TOKENIZER.cls_token_id).all()
    last = mask.sum(dim=2, keepdim=True) - 1
    assert (ids.gather(2, last) == TOKENIZER.sep_token_id).all()
    assert mask[:, :, -1].any()  # no longer than needed
    torch.manual_seed(3)
    state = torch.get_rng_state()
    views(RECORDS, TOKENIZER, generator=seeded())
    assert torch.equal(torch.get_rng_state(), state)


def test_twins_are_the_text() -> None:
    views = DropoutTwins(num_views=2, max_length=8)(RECORDS, TOKENIZER)
    expected = TOKENIZER(TEXTS, truncation=True, max_length=8, padding=True, return_tensors="pt")
    for view in range(2):
        assert torch.equal(views["input_ids"][view], expected["input_ids"])
    other = DropoutTwins(column="sentence", max_length=8)([{"sentence": text} for text in TEXTS], TOKENIZER)
    assert torch.equal(other["input_ids"], views["input_ids"])


def test_only_the_second_view_is_masked() -> None:
    views = SpanMaskedTwins(max_length=64)(RECORDS, TOKENIZER, generator=seeded())
    plain, masked = decoded(views, skip=False)
    masks = [(views["input_ids"][view] == TOKENIZER.mask_token_id).sum(dim=1).tolist() for view in (0, 1)]
    assert masks == [[0, 0, 0, 0, 0], [1, 1, 1, 1, 0]]
    assert plain[4] == masked[4]
    unmasked = SpanMaskedTwins(span_chars=0)(RECORDS, TOKENIZER)
    assert torch.equal(unmasked["input_ids"][0], unmasked["input_ids"][1])


def test_padding_to_a_fixed_length() -> None:
    views = SpanMaskedTwins(max_length=40, fixed_length=True)(RECORDS[-1:], TOKENIZER)
    assert views["input_ids"].shape == (2, 1, 40)


def test_pairs() -> None:
    records = [{"first": "the cat", "second": "a dog"}, {"text": "the bird||a ball"}]
    views = SpanMaskedTwins(pairs=True)(records, TOKENIZER)
    assert decoded(views) == [["the cat", "the bird"], ["a dog", "a ball"]]
    for line in ("no pair", "a||b||c"):
        with pytest.raises(InputError, match="is no pair: expected exactly one '||'".replace("|", r"\|")):
            pair_of({"text": line})
    with pytest.raises(InputError, match="num_views is 3 and pairs is True"):
        SpanMaskedTwins(pairs=True, num_views=3)


def test_crops_are_spans_of_a_chunk() -> None:
    tokens = torch.arange(100, 1100)
    views = RandomCrops(augmentation="none", chunk_length=40)
    starts, ends = [], []
    for seed in range(200):
        ids, mask = (value[:, 0] for value in views([{"tokens": tokens}], TOKENIZER, generator=seeded(seed)).values())
        spans = [row[kept.bool()][1:-1] for row, kept in zip(ids, mask, strict=True)]
        for span in spans:
            assert torch.equal(span, torch.arange(int(span[0]), int(span[0]) + len(span)))
            assert 2 <= len(span) <= 20
        # Both lie in one chunk, and are drawn each for itself.
        assert max(int(span[-1]) for span in spans) - min(int(span[0]) for span in spans) < 40
        starts.append(int(spans[0][0]))
        ends.append(len(spans[0]) - len(spans[1]))
    assert max(starts) - min(starts) > 500
    assert min(ends) < 0 < max(ends)


def test_crops_of_little_text() -> None:
    views = RandomCrops(probability=1.0)([{"text": "cat"}, {"text": ""}], TOKENIZER)
    assert views["input_ids"].tolist() == [[[TOKENIZER.cls_token_id, TOKENIZER.sep_token_id]] * 2] * 2
    long = RandomCrops(ratio_min=1.0, ratio_max=1.0, augmentation="none", max_length=6)
    views = long([{"text": TEXTS[0]}], TOKENIZER)
    assert views["input_ids"].shape == (2, 1, 6)
    assert (views["input_ids"][:, 0, -1] == TOKENIZER.sep_token_id).all()


@pytest.mark.usefixtures("unchecked")
def test_views_that_are_refused() -> None:
    for call, message in (
        (lambda: DropoutTwins(num_views=0), "num_views is 0: expected a number of at least 1"),
        (lambda: DropoutTwins(max_length=1), "max_length is 1"),
        (lambda: SpanMaskedTwins(span_chars=-1), "span_chars is -1"),
        (lambda: RandomCrops(augmentation="delet"), "augmentation is 'delet': expected one of 'delete', 'mask'"),
        (lambda: RandomCrops(ratio_max=1.1), "ratios from 0.05 to 1.1"),
        (lambda: RandomCrops(chunk_length=0), "chunk_length is 0"),
        (lambda: RandomCrops(augmentation="replace")(RECORDS, TOKENIZER), r"the first replacement is 999 of \d+"),
        (lambda: TrainingPassages(negatives=-1), "negatives is -1"),
        (lambda: DropoutTwins()([{"sentence": "a"}], TOKENIZER), "no column 'text': it has 'sentence'"),
        (lambda: RandomCrops()([{"text": None}], TOKENIZER), "column 'text' holds a NoneType: expected a text"),
    ):
        with pytest.raises(InputError, match=message):
            call()


def passages(*texts: str) -> list[dict[str, str]]:
    return [{"title": "the", "text": text} for text in texts]


QUESTIONS: list[dict[str, Any]] = [
    {
        "question": "where is the cat",
        "positive_ctxs": passages("mat", "house"),
        "negative_ctxs": passages("ball", "tree"),
        "hard_negative_ctxs": passages("door", "book"),
    },
    {"question": "two dogs", "positive_ctxs": passages("field"), "negative_ctxs": passages("town")},
]


def test_training_passages() -> None:
    seen: list[Counter[str]] = [Counter(), Counter(), Counter()]
    for seed in range(60):
        views = TrainingPassages(negatives=2, hard_ratio=0.5, hard_start=1)(
            QUESTIONS, TOKENIZER, generator=seeded(seed)
        )
        assert TOKENIZER.batch_decode(views["query_input_ids"], skip_special_tokens=True) == [
            "where is the cat",
            "two dogs",
        ]
        texts = TOKENIZER.batch_decode(views["passage_input_ids"], skip_special_tokens=True)
        assert len(texts) == 6
        assert texts[1] == "the field"
        # One negative of the second question is all there is.
        assert texts[4:] == ["the town", ""]
        assert views["passage_valid"].tolist() == [True] * 5 + [False]
        assert texts[2] != texts[3]
        seen[0][texts[0]] += 1
        seen[1].update(texts[2:4])
    assert set(seen[0]) == {"the mat", "the house"}
    assert set(seen[1]) == {"the ball", "the tree", "the book"}  # the first hard negative is left out
    assert min(seen[1].values()) > 10


def test_training_passages_without_negatives() -> None:
    views = TrainingPassages(negatives=0, passage_length=4)(QUESTIONS, TOKENIZER)
    assert views["passage_input_ids"].shape[0] == 2
    assert views["passage_input_ids"].shape[1] <= 4
    untitled = [{"question": "“q”", "positive_ctxs": [{"text": "the cat"}]}] * 2
    views = TrainingPassages(negatives=0)(untitled, TOKENIZER)
    assert TOKENIZER.decode(views["passage_input_ids"][0], skip_special_tokens=True) == "the cat"


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"positive_ctxs": []}, "no column 'question'"),
        ({"question": "who", "positive_ctxs": []}, "question 'who' has no relevant passage"),
        ({"question": "who", "positive_ctxs": ["text"]}, "column 'positive_ctxs' holds no list of passages"),
    ],
)
def test_questions_that_are_refused(record: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        TrainingPassages()([record], TOKENIZER)


@settings(max_examples=50, deadline=None)
@given(
    n=st.integers(0, 8), ratio=st.floats(0, 1), hard=st.integers(0, 5), easy=st.integers(0, 9), skip=st.integers(0, 3)
)
def test_counts_of_negatives(n: int, ratio: float, hard: int, easy: int, skip: int) -> None:
    draws = torch.rand(n, generator=seeded(n))
    n_hard, n_random = hard_negative_counts(draws, ratio, hard, easy, hard_start=skip)
    wanted = int((draws < ratio).sum())
    assert n_hard == min(wanted, max(0, hard - skip))
    assert n_random == min(n - n_hard, easy)
