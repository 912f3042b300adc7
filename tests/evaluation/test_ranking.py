"""Ranking among all items: against a loop, within bounded memory."""

import math
import subprocess
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dipole.data.recommendation import split_sequences, toy_interactions
from dipole.errors import InputError
from dipole.evaluation.online_ranking import rank_next_items
from dipole.evaluation.ranking import full_ranking, ranking_metrics, target_ranks, top_items
from dipole.methods.recommendation.sasrec import SASRec

MEMORY = """
import torch
from pathlib import Path
from dipole.evaluation.ranking import full_ranking, ranking_metrics

def peak():  # of this process alone: what getrusage tells may be that of the process which has started it
    return Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]

torch.set_num_threads(1)
users, items = torch.randn(10_000, 64), torch.randn(100_001, 64)
targets = torch.randint(1, 100_001, (10_000,))
seen = torch.randint(0, 100_001, (10_000, 30))
before = peak()
print(ranking_metrics(full_ranking(users, items, targets, exclude=seen), [10])["HR@10"])
print(before, peak())
"""


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**32), users=st.integers(1, 6), items=st.integers(1, 12), seen=st.integers(0, 5))
def test_ranks_by_a_loop(seed: int, users: int, items: int, seen: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(0, 6, (users, items + 1), generator=generator).double()  # with ties
    targets = torch.randint(1, items + 1, (users,), generator=generator)
    exclude = torch.randint(0, items + 1, (users, seen), generator=generator)
    expected = []
    for row in range(users):
        gone = {*exclude[row].tolist(), 0, int(targets[row])}
        own = scores[row, targets[row]]
        expected.append(1 + sum(bool(scores[row, item] >= own) for item in range(items + 1) if item not in gone))
    assert target_ranks(scores, targets, exclude=exclude, ties="worst").tolist() == expected
    mask = torch.zeros_like(scores, dtype=torch.bool).scatter_(1, exclude, value=True)
    assert target_ranks(scores, targets, exclude=mask, ties="worst").tolist() == expected
    # Integer scores are exact as inner products with one-hot items.
    whole = full_ranking(scores, torch.eye(items + 1, dtype=torch.float64), targets, exclude=exclude)
    assert whole.tolist() == expected


def test_a_model_that_tells_no_item_apart_is_not_the_best() -> None:
    assert full_ranking(torch.ones(3, 4), torch.ones(9, 4), torch.tensor([1, 5, 8])).tolist() == [8, 8, 8]
    assert target_ranks(torch.ones(1, 9), torch.tensor([3])).tolist() == [1]


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    users, items = torch.randn(7, 4, generator=generator), torch.randn(9, 4, generator=generator)
    targets, exclude = torch.arange(1, 8), torch.arange(7)[:, None]
    whole = full_ranking(users, items, targets, exclude=exclude), top_items(users, items, 3, exclude=exclude)
    monkeypatch.setattr("dipole.evaluation.ranking.ENTRIES", 20)
    parts = full_ranking(users, items, targets, exclude=exclude), top_items(users, items, 3, exclude=exclude)
    assert torch.equal(whole[0], parts[0])
    assert torch.equal(whole[1].items, parts[1].items)


def test_top_items_are_the_best_that_are_left() -> None:
    items = torch.arange(6.0)[:, None]
    found = top_items(torch.ones(2, 1), items, 4, exclude=torch.tensor([[5, 0, 0, 0], [1, 2, 4, 5]]))
    assert found.items.tolist() == [[4, 3, 2, 1], [3, 0, 0, 0]]
    assert found.scores[1].tolist() == [3.0, -math.inf, -math.inf, -math.inf]
    assert top_items(torch.ones(1, 1), items, 99).items.shape == (1, 5)


def test_metrics() -> None:
    found = ranking_metrics(torch.tensor([1, 4, 11]), [3, 10])
    assert found["HR@3"] == pytest.approx(1 / 3)
    assert found["HR@10"] == pytest.approx(2 / 3)
    assert found["NDCG@10"] == pytest.approx((1 + 1 / math.log2(5)) / 3)
    assert found["MRR@10"] == pytest.approx((1 + 1 / 4) / 3)


def test_rows_are_ranked_as_one_by_one() -> None:
    _, _, test = split_sequences(toy_interactions(users=40), max_length=6)
    torch.manual_seed(0)
    method = SASRec(items=60, max_length=6, width=8).eval()
    items = method.encoder.item_embedding.weight
    for exclude in (False, True):
        ranks = rank_next_items(method.embed, items, test, exclude_seen=exclude)
        for row in range(0, len(test), 7):
            one = test.fetch(torch.tensor([row]))
            scores = method.encoder.scores(method.embed(one))[0].detach()  # type: ignore[arg-type]
            if exclude:
                seen = test.seen(torch.tensor([row]))[0]
                scores[[item for item in seen.tolist() if item != int(one["target"])]] = -math.inf
            assert int(ranks[row]) == 1 + int((scores[1:] > scores[int(one["target"])]).sum())


@pytest.mark.slow
def test_all_items_for_many_users_within_two_gigabytes() -> None:
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    rate, peaks = done.stdout.splitlines()
    assert 0 <= float(rate) < 0.01  # chance is 10⁻⁴
    before, after = map(int, peaks.split())
    assert after < 2 * 2**20  # KiB
    assert after - before < 400 * 2**10


@pytest.mark.usefixtures("unchecked")
def test_mistakes() -> None:
    scores = torch.zeros(2, 4)
    with pytest.raises(InputError, match="expected 1 to 3"):
        target_ranks(scores, torch.tensor([0, 1]))
    with pytest.raises(InputError, match="expected 1 to 3"):
        target_ranks(scores, torch.tensor([1, 4]))
    with pytest.raises(InputError, match="one item for each of 2 users"):
        target_ranks(scores, torch.tensor([1]))
    with pytest.raises(InputError, match="NaN"):
        target_ranks(scores * torch.nan, torch.tensor([1, 1]))
    with pytest.raises(InputError, match="k is 0"):
        top_items(scores, scores, 0)
    with pytest.raises(InputError, match="0 ranks"):
        ranking_metrics(torch.empty(0, dtype=torch.long))
    with pytest.raises(InputError, match="cutoffs"):
        ranking_metrics(torch.tensor([1]), [0])
