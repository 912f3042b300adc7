"""Orders: what a batch holds, and that an epoch can be drawn again."""

from collections.abc import Callable

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from dipole.data.epoch_sampler import EpochSampler
from dipole.data.samplers import ClassBalanced, Distinct, Episodes, InTurns, OneLabel, Order, Shuffled, Weighted
from dipole.errors import InputError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


LABELS = torch.arange(60) % 5
ORDERS: dict[str, Callable[[], Order]] = {
    "shuffled": lambda: Shuffled(60),
    "one label": lambda: OneLabel(LABELS, 4),
    "in turns": lambda: InTurns(LABELS, 4),
    "balanced": lambda: ClassBalanced(LABELS),
    "episodes": lambda: Episodes(LABELS, ways=3, samples=4, episodes=5),
    "distinct": lambda: Distinct(LABELS.tolist(), 4),
    "weighted": lambda: Weighted(LABELS.float()),
}


@pytest.mark.parametrize("name", ORDERS)
def test_an_order_is_drawn_again_and_shared_by_processes(name: str) -> None:
    order = ORDERS[name]()
    drawn = order.draw(generator(3))
    assert len(drawn) == len(order)
    assert torch.equal(drawn, ORDERS[name]().draw(generator(3)))
    assert not torch.equal(drawn, order.draw(generator(4)))
    assert int(drawn.min()) >= 0
    assert int(drawn.max()) < 60
    one = EpochSampler(range(60), 7, 1, 0, order=ORDERS[name]())
    parts = [EpochSampler(range(60), 7, 2, rank, order=ORDERS[name]()) for rank in (0, 1)]
    for sampler in (one, *parts):
        sampler.set_epoch(2)
    whole = list(one)
    for start in range(0, len(parts[0]) * 2, 4):
        shared = [index for part in parts for index in list(part)[start // 2 : start // 2 + 2]]
        assert sorted(shared) == sorted(whole[start : start + 4]), "processes share the batches of one"


@given(st.lists(st.integers(-1, 4), min_size=1, max_size=60), st.integers(1, 9), st.integers(0, 5))
def test_batches_of_one_label(labels: list[int], batch_size: int, seed: int) -> None:
    if max(labels) < 0:
        with pytest.raises(InputError, match="no sample has a label"):
            OneLabel(torch.tensor(labels), batch_size).draw(generator(seed))
        return
    order = OneLabel(torch.tensor(labels), batch_size)
    drawn = torch.tensor(labels)[order.draw(generator(seed))]
    assert len(drawn) == len(order)
    for batch in drawn.split(batch_size):
        assert len(batch.unique()) == 1
        assert int(batch[0]) >= 0


@given(st.lists(st.integers(0, 5), min_size=1, max_size=80), st.integers(0, 3))
def test_balanced_classes_come_equally_often(labels: list[int], seed: int) -> None:
    order = ClassBalanced(torch.tensor(labels), 60).draw(generator(seed))
    counts = torch.tensor(labels)[order].bincount()
    present = counts[counts > 0]
    assert int(present.max() - present.min()) <= 1
    for value in set(labels):
        times = order[torch.tensor(labels)[order] == value].bincount(minlength=len(labels))
        own = times[torch.tensor(labels) == value]
        assert int(own.max() - own.min()) <= 1, "each sample once before any comes again"


def test_an_order_follows_labels_that_change() -> None:
    state = {"labels": torch.tensor([0, 0, 1, 1])}
    order = OneLabel(lambda: state["labels"], 2, size=4)
    assert all(len(batch.unique()) == 1 for batch in state["labels"][order.draw(generator())].split(2))
    state["labels"] = torch.tensor([0, 1, 0, 1])
    assert all(len(batch.unique()) == 1 for batch in state["labels"][order.draw(generator())].split(2))


def test_a_size_is_needed_where_labels_come_later() -> None:
    for make in (lambda: OneLabel(lambda: LABELS, 2), lambda: ClassBalanced(lambda: LABELS)):
        with pytest.raises(InputError, match="how many indices"):
            make()


def test_episodes() -> None:
    order = Episodes(LABELS, ways=3, samples=4, episodes=5).draw(generator()).view(5, 3, 4)
    for episode in LABELS[order]:
        assert len(episode.unique()) == 3
        assert bool((episode == episode[:, :1]).all())
    assert all(len(own.unique()) == 4 for episode in order for own in episode), "no sample twice in an episode"
    with pytest.raises(InputError, match="2 of 3 classes have so many: ask for fewer ways or fewer shots"):
        Episodes(torch.tensor([0, 0, 1, 1, 2]), ways=3, samples=2, episodes=1)


@given(st.lists(st.integers(0, 9), min_size=1, max_size=60), st.integers(1, 8), st.integers(0, 3))
def test_no_duplicates_in_a_batch(keys: list[int], batch_size: int, seed: int) -> None:
    order = Distinct(keys, batch_size).draw(generator(seed)).tolist()
    assert sorted(order) == list(range(len(keys)))
    most = max(keys.count(key) for key in keys)
    for start in range(0, len(order) - most * batch_size, batch_size):
        batch = [keys[index] for index in order[start : start + batch_size]]
        assert len(set(batch)) == len(batch)


def test_weights() -> None:
    drawn = Weighted(torch.tensor([1.0, 0.0, 3.0]), 40_000).draw(generator()).bincount(minlength=3) / 40_000
    assert drawn.tolist() == pytest.approx([0.25, 0, 0.75], abs=0.01)
    for weights in ([0.0, 0.0], [1.0, -1.0], [float("nan"), 1.0], [float("inf"), 1.0]):
        with pytest.raises(InputError, match="weights must be finite"):
            Weighted(torch.tensor(weights)).draw(generator())


@given(st.lists(st.integers(-1, 4), min_size=1, max_size=60), st.integers(1, 9), st.integers(0, 5))
def test_labels_take_turns_with_full_batches(labels: list[int], batch_size: int, seed: int) -> None:
    table = torch.tensor(labels)
    counts = [int((table == label).sum()) // batch_size for label in range(5)]
    if not sum(counts):
        with pytest.raises(InputError, match=r"no sample has a label|fewer than a batch"):
            InTurns(table, batch_size)
        return
    order = InTurns(table, batch_size)
    drawn = order.draw(generator(seed))
    assert len(drawn) == len(order) == sum(counts) * batch_size
    assert len(drawn.unique()) == len(drawn), "no sample comes twice"
    turns = [int(label) for round_ in range(max(counts)) for label in range(5) if round_ < counts[label]]
    assert table[drawn].view(-1, batch_size)[:, 0].tolist() == turns
    assert order.dropped == pytest.approx(1 - len(drawn) / len(labels))
