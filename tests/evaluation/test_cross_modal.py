import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dipole.errors import InputError
from dipole.evaluation import recall_at, related, retrieval_ranks
from dipole.evaluation.cross_modal import CHUNK, chance_at


@given(st.integers(0, 1000), st.integers(1, 8), st.integers(1, 6))
def test_ranks_are_those_of_sorting(seed, queries, keys):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(4, (queries, keys), generator=generator).float()
    relevant = [sorted(set(torch.randint(keys, (3,), generator=generator).tolist())) for _ in range(queries)]
    found = retrieval_ranks(lambda part: scores[part], relevant)
    for row in range(queries):
        best = max(scores[row, key] for key in relevant[row])
        worse_or_equal = [key for key in range(keys) if key not in relevant[row] and scores[row, key] >= best]
        assert int(found[row]) == len(worse_or_equal)


def test_embeddings_that_are_all_alike_find_nothing():
    ranks = retrieval_ranks(lambda part: torch.zeros(5, 5)[part], [[row] for row in range(5)])
    assert recall_at(ranks, 1) == 0


def test_many_queries_are_scored_in_parts():
    asked = []

    def score(part):
        asked.append(part)
        return torch.eye(3)[torch.arange(CHUNK + 2)[part] % 3]

    ranks = retrieval_ranks(score, [[row % 3] for row in range(CHUNK + 2)])
    assert len(asked) == 2
    assert recall_at(ranks, 1) == 1


def test_items_are_related_through_rows():
    assert related([[0, 1], [], [1]], [[5], [7], [6]]) == [[5], [5, 6]]
    assert related([[]], [[1]]) == []


@pytest.mark.parametrize("k", [1, 2, 3, 9])
def test_chance_is_the_mean_over_all_orders(k):
    total, own = 4, 2
    orders = torch.cartesian_prod(*[torch.arange(total)] * total)
    orders = orders[(orders.sort(dim=1).values == torch.arange(total)).all(dim=1)]
    hits = (orders[:, :k] < own).any(dim=1).double().mean()
    assert chance_at([own, own], total, k) == pytest.approx(float(hits))


def test_mistakes_are_told():
    with pytest.raises(InputError, match="each with a key"):
        retrieval_ranks(lambda part: torch.zeros(1, 1), [[]])
    with pytest.raises(InputError, match="k is 0"):
        recall_at(torch.zeros(2, dtype=torch.long), 0)
