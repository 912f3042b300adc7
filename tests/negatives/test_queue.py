from collections import deque

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from dipole.errors import InputError
from dipole.losses import info_nce_loss
from dipole.negatives import InstanceMemoryBank, Queue, nearest


@settings(max_examples=60, deadline=None)
@given(size=st.integers(1, 9), batches=st.lists(st.integers(1, 21), min_size=1, max_size=6))
def test_a_queue_forgets_the_oldest(size: int, batches: list[int]) -> None:
    queue, model = Queue(size, 2), deque[float](maxlen=size)
    counter = 0
    for rows in batches:
        keys = torch.arange(counter, counter + rows, dtype=torch.float32)
        counter += rows
        queue.enqueue(torch.stack([keys, keys], dim=1))
        model.extend(keys.tolist())
        filled = int(queue.filled)
        assert filled == len(model)
        # From the oldest to the newest: entries wrap around at the pointer.
        order = queue.entries[:, 0].roll(-int(queue.pointer))[-filled:]
        assert order.tolist() == list(model)


def test_a_queue_starts_with_random_unit_rows() -> None:
    one, same, other = (Queue(50, 3, torch.Generator().manual_seed(seed)).entries for seed in (0, 0, 1))
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    torch.testing.assert_close(one.norm(dim=1), torch.ones(50))
    assert int(Queue(50, 3).filled) == 0


def test_a_queue_is_saved_and_follows_its_module() -> None:
    queue = Queue(4, 2)
    queue.enqueue(torch.ones(3, 2))
    copy = Queue(4, 2)
    copy.load_state_dict(queue.state_dict())
    copy.enqueue(torch.zeros(2, 2))
    assert copy.entries.tolist() == [[0, 0], [1, 1], [1, 1], [0, 0]]
    assert (int(copy.pointer), int(copy.filled)) == (1, 4)
    assert list(queue.parameters()) == []
    assert queue.double().entries.dtype == torch.float64
    queue.enqueue(torch.ones(1, 2, dtype=torch.bfloat16))
    assert queue.entries.dtype == torch.float64


def test_keys_carry_no_gradient_and_a_loss_computed_before_is_not_disturbed() -> None:
    queue, queries = Queue(4, 3), torch.randn(2, 3, requires_grad=True)
    expected = torch.autograd.grad(info_nce_loss(queries, queries, queue.entries.clone()), queries)[0]
    loss = info_nce_loss(queries, queries, queue.entries)
    queue.enqueue(queries)
    assert not queue.entries.requires_grad
    torch.testing.assert_close(torch.autograd.grad(loss, queries)[0], expected)


@pytest.mark.usefixtures("unchecked")
def test_keys_that_do_not_fit() -> None:
    with pytest.raises(InputError, match="the queue's size is 0: expected a number of at least 1"):
        Queue(0, 2)
    queue = Queue(4, 2)
    before = queue.entries.clone()
    with pytest.raises(InputError, match="keys has width 3 and the embeddings before it 2"):
        queue.enqueue(torch.ones(1, 3))
    with pytest.raises(InputError, match="keys contains NaN"):
        queue.enqueue(torch.full((1, 2), float("nan")))
    assert torch.equal(queue.entries, before)
    assert int(queue.pointer) == 0


def test_a_memory_bank_mixes_and_normalises() -> None:
    bank = InstanceMemoryBank(5, 3, momentum=0.3, generator=torch.Generator().manual_seed(0))
    before, new = bank.entries.clone(), 7 * torch.randn(2, 3)
    bank.update(torch.tensor([4, 1]), new)
    expected = F.normalize(0.3 * before[[4, 1]] + 0.7 * F.normalize(new, dim=1), dim=1)
    torch.testing.assert_close(bank.entries[[4, 1]], expected)
    assert torch.equal(bank.entries[[0, 2, 3]], before[[0, 2, 3]])
    torch.testing.assert_close(bank.entries.norm(dim=1), torch.ones(5))
    query = torch.randn(1, 3)
    similarities = bank.similarities_with_others(query, torch.tensor([2]))
    torch.testing.assert_close(similarities, query @ bank.entries[[0, 1, 3, 4]].T)
    assert "entries" in bank.state_dict()


@pytest.mark.parametrize("momentum", [-0.1, 1.0, 2.0, float("nan")])
def test_a_memory_bank_that_never_changes(momentum: float) -> None:
    with pytest.raises(InputError, match="expected a number from 0 to below 1"):
        InstanceMemoryBank(5, 3, momentum=momentum)


@settings(max_examples=20, deadline=None)
@given(rows=st.integers(1, 9), entries=st.integers(1, 9), chunk=st.integers(1, 4), seed=st.integers(0, 1000))
def test_nearest_is_the_largest_cosine(rows: int, entries: int, chunk: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    z, support = torch.randn(rows, 3, generator=generator), torch.randn(entries, 3, generator=generator)
    expected = torch.cosine_similarity(z[:, None].double(), support[None].double(), dim=2).argmax(dim=1)
    assert torch.equal(nearest(z, support, chunk), expected)


def test_nearest_under_autocast() -> None:
    generator = torch.Generator().manual_seed(0)
    z, support = torch.randn(200, 16, generator=generator), torch.randn(300, 16, generator=generator)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(nearest(z, support), nearest(z.double(), support.double()))
