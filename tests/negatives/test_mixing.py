import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from dipole.errors import InputError
from dipole.losses import info_nce_loss, own_negatives_info_nce_loss
from dipole.negatives import MixingDraws, Queue, draw_mixing, hardest_of_bank, mix_hard_negatives


def rows(count: int, seed: int = 0, dim: int = 5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return F.normalize(torch.randn(count, dim, generator=generator, dtype=torch.float64), dim=1)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_mixtures_are_those_of_a_loop() -> None:
    queries, queue = rows(4), rows(9, seed=1)
    draws = draw_mixing(torch.full((4,), 6), 5, 3, generator=seeded())
    mixed = mix_hard_negatives(3 * queries, 0.5 * queue, num_hard=6, draws=draws)
    for b, q in enumerate(queries):
        hardest = (queue @ q).argsort(descending=True)[:6]
        assert torch.equal(mixed.hardest[b], hardest)
        for t in range(5):
            first, second = queue[hardest[draws.first[b, t]]], queue[hardest[draws.second[b, t]]]
            share = float(draws.share[b, t])
            torch.testing.assert_close(mixed.pairs[b, t], F.normalize(share * first + (1 - share) * second, dim=0))
        for t in range(3):
            negative, share = queue[hardest[draws.negative[b, t]]], float(draws.query_share[b, t])
            torch.testing.assert_close(mixed.with_query[b, t], F.normalize(share * q + (1 - share) * negative, dim=0))
    assert mixed.valid.all()
    assert mixed.all.shape == (4, 8, 5)


def test_many_queries_are_searched_a_part_at_a_time() -> None:
    queries, queue = rows(600), rows(40, seed=1)
    hardest, available = hardest_of_bank(queries, queue, 7)
    assert torch.equal(hardest, (queries @ queue.T).topk(7, dim=1).indices)
    assert (available == 7).all()


@settings(max_examples=30, deadline=None)
@given(count=st.integers(2, 6), seed=st.integers(0, 2**32), repeat=st.booleans())
def test_draws_stay_within_what_is_available(count: int, seed: int, repeat: bool) -> None:
    draws = draw_mixing(torch.tensor([count, 2]), 200, 100, allow_repeat=repeat, generator=seeded(seed))
    limit = torch.tensor([[count], [2]])
    assert ((draws.first < limit) & (draws.second < limit)).all()
    assert (draws.negative < limit).all()
    assert bool((draws.first == draws.second).any()) == repeat
    assert draws.share.min() >= 0
    assert draws.share.max() < 1
    assert draws.query_share.min() >= 0
    assert draws.query_share.max() < 0.5


def test_every_pair_is_drawn_as_often() -> None:
    draws = draw_mixing(torch.tensor([4]), 60_000, 0, generator=seeded())
    counts = torch.bincount((draws.first * 4 + draws.second)[0], minlength=16).view(4, 4)
    assert (counts.diagonal() == 0).all()
    others = counts[~torch.eye(4, dtype=torch.bool)].double() / 60_000
    assert (others - 1 / 12).abs().max() < 5 * (1 / 12 / 60_000) ** 0.5


def test_the_same_seed_draws_the_same() -> None:
    one, same, other = (draw_mixing(torch.tensor([9, 9]), 4, 4, generator=seeded(seed)) for seed in (0, 0, 1))
    assert all(torch.equal(a, b) for a, b in zip(one, same, strict=True))
    assert not torch.equal(one.share, other.share)


def test_no_gradient_reaches_a_mixture() -> None:
    queries = rows(3).requires_grad_()
    mixed = mix_hard_negatives(queries, rows(6, seed=1), num_hard=4, num_pairs=2, num_with_query=2)
    assert not mixed.all.requires_grad


def test_what_is_excluded_is_not_mixed() -> None:
    queries, queue = rows(4), rows(8, seed=1)
    exclude = torch.ones(4, 8, dtype=torch.bool)
    exclude[0, :3] = False  # three are left
    exclude[1, 5] = False  # one is left: no pairs
    exclude[2] = False
    mixed = mix_hard_negatives(
        queries, queue, num_hard=4, num_pairs=6, num_with_query=2, exclude=exclude, generator=seeded()
    )
    assert set(mixed.hardest[0, :3].tolist()) == {0, 1, 2}
    assert mixed.valid.tolist() == [[True] * 8, [False] * 6 + [True] * 2, [True] * 8, [False] * 8]
    values = own_negatives_info_nce_loss(
        queries, queries, queue, mixed.all, exclude=exclude, valid=mixed.valid, reduction="none"
    )
    assert values.isfinite().all()
    assert float(values[3]) == 0  # nothing is left to tell the positive from


def test_without_mixtures_it_is_info_nce_with_a_queue() -> None:
    queries, queue = rows(4), rows(8, seed=1)
    mixed = mix_hard_negatives(queries, queue, num_hard=1, num_pairs=0, num_with_query=0)
    ours = own_negatives_info_nce_loss(queries, rows(4, seed=2), queue, mixed.all, temperature=0.3)
    torch.testing.assert_close(ours, info_nce_loss(queries, rows(4, seed=2), queue, temperature=0.3))


def test_mixtures_with_the_query_are_the_hardest_of_all() -> None:
    queries, queue = rows(16), rows(64, seed=1)
    mixed = mix_hard_negatives(queries, queue, num_hard=8, num_pairs=16, num_with_query=16, generator=seeded())
    scores = (mixed.with_query @ queries[..., None])[..., 0].mean()
    assert scores > (queries[:, None] * queue[mixed.hardest]).sum(dim=2).mean()


def test_a_single_query_keeps_its_axes() -> None:
    mixed = mix_hard_negatives(rows(1), rows(3, seed=1), num_hard=3, num_pairs=2, num_with_query=1)
    assert mixed.pairs.shape == (1, 2, 5)
    assert mixed.hardest.shape == (1, 3)
    assert own_negatives_info_nce_loss(rows(1), rows(1), rows(3, seed=1), mixed.all).ndim == 0


def test_one_negative_is_mixed_with_itself_if_allowed() -> None:
    mixed = mix_hard_negatives(rows(2), rows(3, seed=1), num_hard=1, num_pairs=2, num_with_query=0, allow_repeat=True)
    torch.testing.assert_close(mixed.pairs[:, 0], rows(3, seed=1)[mixed.hardest[:, 0]])


@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_mixed_is_refused() -> None:
    queries, queue = rows(2), rows(3, seed=1)
    with pytest.raises(InputError, match="num_hard is 4: expected a number from 1 to the 3 negatives"):
        mix_hard_negatives(queries, queue, num_hard=4)
    with pytest.raises(InputError, match="num_hard is 0"):
        mix_hard_negatives(queries, queue, num_hard=0)
    with pytest.raises(InputError, match="num_hard is 1: no two negatives to mix"):
        mix_hard_negatives(queries, queue, num_hard=1, num_pairs=1)
    with pytest.raises(InputError, match=r"max_query_share is 1\.0: expected a share between 0 and 1"):
        mix_hard_negatives(queries, queue, num_hard=2, max_query_share=1.0)
    with pytest.raises(InputError, match="num_pairs is -1"):
        draw_mixing(torch.tensor([3]), -1, 0)
    with pytest.raises(InputError, match="num_with_query is -1"):
        draw_mixing(torch.tensor([3]), 0, -1)
    with pytest.raises(InputError, match="width"):
        mix_hard_negatives(queries, rows(3, dim=4), num_hard=2)
    with pytest.raises(InputError, match=r"own_negatives are \(3, 1, 5\): expected \(2, S, 5\)"):
        own_negatives_info_nce_loss(queries, queries, queue, rows(3)[:, None])
    with pytest.raises(InputError, match="own_negatives contains NaN"):
        own_negatives_info_nce_loss(queries, queries, queue, torch.full((2, 1, 5), torch.nan).double())


def test_a_queue_keeps_ids_beside_its_keys() -> None:
    queue = Queue(3, 2, with_ids=True)
    assert queue.ids is not None
    assert queue.ids.tolist() == [-1, -1, -1]
    queue.enqueue(torch.ones(2, 2), ids=torch.tensor([7, 8]))
    queue.enqueue(torch.zeros(2, 2), ids=torch.tensor([9, 10]))
    assert queue.ids.tolist() == [10, 8, 9]
    queue.enqueue(torch.zeros(4, 2), ids=torch.arange(4))
    assert queue.ids.tolist() == [2, 3, 1]  # the last three, from the pointer at 1 on around the end
    assert "ids" in queue.state_dict()
    assert "ids" not in Queue(3, 2).state_dict()
    with pytest.raises(InputError, match="0 ids: this queue takes an id for each key"):
        queue.enqueue(torch.ones(1, 2))
    with pytest.raises(InputError, match="1 ids: this queue takes no ids"):
        Queue(3, 2).enqueue(torch.ones(1, 2), ids=torch.tensor([1]))


def test_draws_may_be_given_on_their_own() -> None:
    draws = MixingDraws(*(torch.zeros(2, 0, dtype=torch.long) for _ in range(5)))
    assert mix_hard_negatives(rows(2), rows(3), num_hard=1, draws=draws).all.shape == (2, 0, 5)
