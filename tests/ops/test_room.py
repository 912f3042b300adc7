"""Memory that one pass leaves to the next."""

import torch

from dipole.losses import nt_xent_loss
from dipole.ops.room import LEAST_BYTES, large_room


def test_a_room_is_taken_over_only_when_no_tensor_needs_it() -> None:
    first = large_room(torch.empty(0), LEAST_BYTES)
    place = first.data_ptr()
    part = first[10:20]
    del first
    second = large_room(torch.empty(0), LEAST_BYTES)
    assert second.data_ptr() != place  # a part of the first one is still there
    del part
    third = large_room(torch.empty(0, dtype=torch.float64), LEAST_BYTES // 4)
    assert third.data_ptr() == place
    assert third.dtype == torch.float64
    assert third.shape == (LEAST_BYTES // 4,)


def test_a_room_begins_with_a_line_of_the_cache() -> None:
    for entries in (LEAST_BYTES, LEAST_BYTES + 1, 3 * LEAST_BYTES):
        room = large_room(torch.empty(0), entries)
        assert room.data_ptr() % 64 == 0
        assert room.storage_offset() == 0


def test_graphs_that_live_at_once_do_not_share_what_they_keep() -> None:
    generator = torch.Generator().manual_seed(0)
    z = [torch.randn(1024, 8, generator=generator, requires_grad=True) for _ in range(4)]
    expected = torch.autograd.grad(nt_xent_loss(z[0], z[1]), z[0])[0]
    losses = nt_xent_loss(z[0], z[1]), nt_xent_loss(z[2], z[3])
    assert torch.equal(torch.autograd.grad(losses[0], z[0], retain_graph=True)[0], expected)
    nt_xent_loss(z[3], z[2]).backward()
    assert torch.equal(torch.autograd.grad(losses[0], z[0])[0], expected)
