"""A shuffled order that depends on the seed and the epoch alone."""

from collections.abc import Iterator, Sized
from typing import Any

from jaxtyping import Int64
from torch import Tensor
from torch.utils.data.distributed import DistributedSampler

from dipole import ops
from dipole.data.randomness import keyed_generator
from dipole.data.samplers import Order, Shuffled
from dipole.errors import InputError

Place = tuple[int, int, int]  # epoch, position in the epoch's order of this process, index in the set
_PIECE = 2**16


class EpochSampler(DistributedSampler[int]):
    """Shuffles anew every epoch; the order is a pure function of (seed, epoch), whatever ran before.

    A run that resumes at epoch 3 sees the order of epoch 3. Lightning calls `set_epoch`. Several processes take turns
    in one common order, rank r the positions r, r + W, r + 2W, ...; the last n mod W positions are left out, so that
    all processes make as many batches and none sees an image twice. Being a `DistributedSampler`, Lightning
    leaves it in place.

    Args:
        data: what is sampled from; only its length matters.
        order: of an epoch; every sample once, shuffled, if it is None.
        seed: 0 or more.
        num_replicas: number of processes; that of the running process group by default.
        rank: index of this process.

    Raises:
        InputError: the seed is negative.

    Example:
        >>> sampler = EpochSampler(range(5), seed=0)
        >>> sampler.set_epoch(3)
        >>> order = list(sampler)
        >>> sorted(order), order == list(sampler)
        ([0, 1, 2, 3, 4], True)
    """

    def __init__(
        self,
        data: Sized,
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
        order: Order | None = None,
    ) -> None:
        if seed < 0:
            raise InputError(f"seed is {seed}: expected 0 or more.")
        super().__init__(
            data,  # type: ignore[arg-type]
            num_replicas=ops.world_size() if num_replicas is None else num_replicas,
            rank=ops.rank() if rank is None else rank,
            seed=seed,
            drop_last=True,
        )
        self.drawn = Shuffled(len(data)) if order is None else order
        self.num_samples = len(self.drawn) // self.num_replicas
        self.total_size = self.num_samples * self.num_replicas
        self.first = 0

    def go_on(self, trainer: Any, batch_size: int) -> None:
        """Begin where a trainer is: at its epoch, behind the batches that a resumed run has had of it.

        Args:
            trainer: Lightning's.
            batch_size: samples in a batch of this process.
        """
        epoch, batches = trainer.fit_loop.epoch_progress.current, trainer.fit_loop.epoch_loop.batch_progress.current
        self.set_epoch(epoch.processed)
        within = epoch.started > epoch.processed
        self.first = batches.ready * batch_size if within else 0

    def set_epoch(self, epoch: int) -> None:
        """Move to an epoch; a later one begins at its start."""
        if epoch != self.epoch:
            self.first = 0
        super().set_epoch(epoch)

    def order(self) -> Int64[Tensor, " n"]:
        """Return the order of this process in the present epoch."""
        # Hashed together: seed 0 at epoch 1 is not seed 1 at epoch 0, as it is in the base class.
        generator = keyed_generator(self.seed, self.epoch)
        return self.drawn.draw(generator)[self.rank : self.total_size : self.num_replicas]

    def __iter__(self) -> Iterator[int]:
        return iter(self.order()[self.first :].tolist())


class PlaceSampler(EpochSampler):
    """The order of an epoch, each index with its place, so that loading processes know where in the run they are.

    Yields `(epoch, position in the order of this process, index)`; arguments as those of `EpochSampler`.

    Example:
        >>> sampler = PlaceSampler(range(3), seed=0)
        >>> [(epoch, position) for epoch, position, _ in sampler]
        [(0, 0), (0, 1), (0, 2)]
    """

    def __iter__(self) -> Iterator[Place]:  # type: ignore[override]
        # In pieces: as Python's integers, the order of a huge file would need five times the memory.
        own = self.order()
        for start in range(self.first, len(own), _PIECE):
            for position, index in enumerate(own[start : start + _PIECE].tolist(), start):
                yield self.epoch, position, index
