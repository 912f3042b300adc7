import pytest
import torch

from dipole.data.text import negative_counts, passage_text, sample_contexts
from dipole.errors import InputError


def passages(prefix, count):
    return [{"title": "", "text": f"{prefix}{index}"} for index in range(count)]


RECORD = {
    "question": "q",
    "positive_ctxs": passages("p", 3),
    "negative_ctxs": passages("n", 4),
    "hard_negative_ctxs": passages("h", 3),
}


@pytest.mark.parametrize(
    ("uniform", "hard_pool", "random_pool", "expected"),
    [
        ([0.9, 0.9, 0.9], 9, 9, (0, 3)),
        ([0.1, 0.9, 0.2], 9, 9, (2, 1)),
        ([0.1, 0.9, 0.2], 1, 9, (1, 2)),
        ([0.1, 0.1, 0.2], 0, 2, (0, 2)),
        ([0.3, 0.3, 0.3], 9, 9, (0, 3)),
        ([], 9, 9, (0, 0)),
    ],
)
def test_counts_of_negatives(uniform, hard_pool, random_pool, expected):
    assert negative_counts(torch.tensor(uniform), hard_pool, random_pool, 0.3) == expected


def test_negatives_are_drawn_without_repetition_and_hard_ones_from_their_index():
    chosen = sample_contexts(
        RECORD, 5, hard_ratio=0.5, hard_min_index=1, uniform=torch.tensor([0.1, 0.2, 0.3, 0.9, 0.9])
    )
    assert chosen["question"] == "q"
    assert chosen["positive"] in {"p0", "p1", "p2"}
    assert set(chosen["negatives"][:2]) == {"h1", "h2"}
    assert len(set(chosen["negatives"][2:])) == 3
    assert all(text.startswith("n") for text in chosen["negatives"][2:])


def test_every_passage_is_drawn_alike_and_draws_repeat_by_seed():
    def draw(seed):
        return sample_contexts(RECORD, 2, hard_ratio=0.5, generator=torch.Generator().manual_seed(seed))

    assert draw(3) == draw(3)
    drawn = [draw(seed) for seed in range(600)]
    assert {choice["positive"] for choice in drawn} == {"p0", "p1", "p2"}
    hard = sum(text.startswith("h") for choice in drawn for text in choice["negatives"])
    assert 540 < hard < 660


def test_fewer_negatives_than_asked_for():
    poor = {"question": "q", "positive_ctxs": passages("p", 1), "negative_ctxs": passages("n", 1)}
    assert sample_contexts(poor, 3, hard_ratio=1.0)["negatives"] == ["n0"]
    assert sample_contexts(poor, 0)["negatives"] == []


def test_titles_stand_in_front():
    assert passage_text({"title": "T", "text": "x"}) == "T x"
    assert passage_text({"title": None, "text": "x"}) == passage_text({"text": "x"}) == "x"


@pytest.mark.parametrize(
    ("record", "options", "message"),
    [
        ({"question": "q", "positive_ctxs": []}, {}, "one passage or more in positive_ctxs"),
        ({"text": "q"}, {}, "has the keys text"),
        (RECORD, {"negatives": -1}, "negatives=-1"),
        (RECORD, {"hard_ratio": 1.5}, "hard_ratio=1.5"),
        (RECORD, {"hard_min_index": -1}, "hard_min_index=-1"),
        (RECORD, {"uniform": torch.rand(3)}, "3 uniform numbers for 1 negatives"),
    ],
)
def test_records_and_settings_that_make_no_sense_are_refused(record, options, message):
    with pytest.raises(InputError, match=message):
        sample_contexts(record, **options)
