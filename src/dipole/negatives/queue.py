"""Negatives from earlier batches."""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.losses.common import accumulate, inner_products, unit_rows
from dipole.ops import gather as gather_rows
from dipole.ops.checks import check_at_least, check_embeddings


class Queue(nn.Module):
    """A first-in, first-out store of M key embeddings that wraps around.

    The entries start as random unit rows; `filled` counts those that were replaced by real keys. State is kept in
    buffers, so it moves with the module and is saved with it.

    He et al.: *Momentum Contrast for Unsupervised Visual Representation Learning* (CVPR 2020), algorithm 1.

    Args:
        size: M, the number of entries.
        dim: D, the width of an embedding.
        generator: for the random rows at the start.
        with_ids: keep an integer beside each entry in `ids`, such as its image or class; −1 at the start.

    Example:
        >>> queue = Queue(4, 2)
        >>> queue.enqueue(torch.ones(3, 2))
        >>> queue.enqueue(torch.zeros(2, 2))  # wraps around
        >>> queue.entries[0], int(queue.pointer), int(queue.filled)
        (tensor([0., 0.]), 1, 4)
    """

    entries: Tensor
    pointer: Tensor
    filled: Tensor
    ids: Tensor | None

    def __init__(
        self, size: int, dim: int, generator: torch.Generator | None = None, *, with_ids: bool = False
    ) -> None:
        super().__init__()
        check_at_least(size, 1, "the queue's size")
        self.register_buffer("entries", F.normalize(torch.randn(size, dim, generator=generator), dim=1))
        self.register_buffer("pointer", torch.zeros((), dtype=torch.long))
        self.register_buffer("filled", torch.zeros((), dtype=torch.long))
        self.register_buffer("ids", torch.full((size,), -1) if with_ids else None)

    @torch.no_grad()
    def enqueue(self, keys: Float[Tensor, "n d"], gather: bool = False, ids: Int[Tensor, "n"] | None = None) -> None:
        """Replace the oldest entries by `keys` (N, D), in order; of more than M keys the last M stay.

        Args:
            keys: (N, D), normalised by the caller.
            gather: enqueue the keys of all processes, so that the queues stay equal.
            ids: (N,), for a queue with ids.

        Raises:
            InputError: keys of another width, or ids for a queue without them or the other way round.
        """
        check_embeddings(entries=self.entries[:1], keys=keys)
        if (ids is None) != (self.ids is None) or (ids is not None and len(ids) != len(keys)):
            have = "no ids" if self.ids is None else "an id for each key"
            raise InputError(f"enqueue was given {0 if ids is None else len(ids)} ids: this queue takes {have}.")
        if gather:
            keys = gather_rows(keys)
            ids = None if ids is None else gather_rows(ids)
        size = len(self.entries)
        total = len(keys)
        keys = keys[-size:]
        # Places stay tensors: an accelerator would have to be waited for to know them.
        place = (self.pointer + torch.arange(total - len(keys), total, device=keys.device)) % size
        self.entries[place] = keys.to(self.entries.dtype)
        if self.ids is not None and ids is not None:
            self.ids[place] = ids[-size:]
        self.pointer.copy_((self.pointer + total) % size)
        self.filled.copy_((self.filled + total).clamp_max(size))


class InstanceMemoryBank(nn.Module):
    """One embedding for every sample of the data set, updated when the sample is seen.

    An update writes `normalise(m · old + (1 − m) · new)`, the rule of instance discrimination (Wu et al., CVPR 2018).

    Args:
        size: number of samples.
        dim: D, the width of an embedding.
        momentum: m, from 0 (replace) to below 1.
        generator: for the random unit rows at the start.

    Example:
        >>> bank = InstanceMemoryBank(5, 2, momentum=0.0)
        >>> bank.update(torch.tensor([3]), torch.tensor([[2.0, 0.0]]))
        >>> bank.entries[3]
        tensor([1., 0.])
    """

    entries: Tensor

    def __init__(self, size: int, dim: int, momentum: float = 0.5, generator: torch.Generator | None = None) -> None:
        super().__init__()
        if not 0 <= momentum < 1:
            raise InputError(f"momentum is {momentum}: expected a number from 0 to below 1.")
        self.momentum = momentum
        self.register_buffer("entries", F.normalize(torch.randn(size, dim, generator=generator), dim=1))

    @torch.no_grad()
    def update(self, index: Int[Tensor, "n"], embeddings: Float[Tensor, "n d"]) -> None:
        """Mix the normalised `embeddings` (N, D) into the entries of the samples `index` (N,)."""
        check_embeddings(entries=self.entries, embeddings=embeddings)
        new = F.normalize(embeddings.to(self.entries.dtype), dim=1)
        mixed = self.momentum * self.entries[index] + (1 - self.momentum) * new
        self.entries[index] = F.normalize(mixed, dim=1)

    def similarities_with_others(self, queries: Float[Tensor, "n d"], index: Int[Tensor, "n"]) -> Float[Tensor, "n m"]:
        """Return the inner products of each query with the entries of all samples but its own (M = size − 1).

        The entries are constants; updating them afterwards does not change the gradient.

        Args:
            queries: (N, D), normalised by the caller.
            index: (N,) the sample of each query.

        Raises:
            InputError: a sample has no entry.
        """
        check_embeddings(entries=self.entries, queries=queries)
        size = len(self.entries)
        if int(index.max()) >= size:
            raise InputError(
                f"image {int(index.max())} has no entry: bank_size is {size}, set it to the number of images."
            )
        others = torch.ones(len(queries), size, dtype=torch.bool, device=queries.device)
        others[torch.arange(len(queries), device=queries.device), index] = False
        return inner_products(queries, self.entries.clone())[others].view(len(queries), size - 1)


@torch.no_grad()
def nearest(z: Float[Tensor, "n d"], support: Float[Tensor, "m d"], chunk: int = 1024) -> Int[Tensor, "n"]:
    """Return the index of the most similar row of `support` (by cosine) for every row of `z`.

    Dwibedi et al.: *With a Little Help from My Friends* (ICCV 2021), eq. 2.

    Example:
        >>> nearest(torch.tensor([[0.0, 2.0]]), torch.eye(2))
        tensor([1])
    """
    check_embeddings(z=z, support=support)
    support = unit_rows(support)
    return torch.cat([inner_products(accumulate(rows), support).argmax(dim=1) for rows in z.split(chunk)])
