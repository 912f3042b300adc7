"""Records -> batches with views, for Lightning."""

from collections.abc import Callable, Iterator
from typing import Any, Protocol, runtime_checkable

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from dipole import ops
from dipole.data.epoch_sampler import Place, PlaceSampler
from dipole.data.randomness import keyed_generator
from dipole.data.samplers import Sampling
from dipole.data.workers import outlive_termination
from dipole.errors import InputError

Batch = dict[str, Any]
Views = Callable[..., dict[str, Tensor]]


@runtime_checkable
class RecordSet(Protocol):
    """What a set of records offers; texts, judged responses and histories of users are such sets."""

    name: str

    def __len__(self) -> int: ...

    def fetch(self, indices: Tensor) -> Any:
        """Return the records at `indices` (N,), in that order, as the views take them."""

    def set_epoch(self, epoch: int) -> None:
        """Move to an epoch of training, for sets whose records change with it."""

    def require(self, *columns: str) -> None:
        """Check that every record has these columns."""


class RecordDataModule(LightningDataModule):
    """Batches of a set of records, with their views.

    A training batch is a dictionary: `index` (N,) and `views`, which is what the callable of that name makes of the
    records; without views, `index` and `records`. Views are made in the processes that load batches.

    Everything random is a pure function of `seed` and the progress of the run: the order of an epoch of (seed, epoch),
    the views of a batch of (seed, epoch, number of batches before it in the epoch, rank). A run that resumes at the
    start of an epoch, or within it, repeats the rest bit for bit, with any number of workers.

    Training leaves out a last batch that is not full, because the number of negatives would change with it; the
    records it would have held differ from epoch to epoch. A set smaller than one batch is one batch.

    Args:
        train_set: what is trained on; None in a subclass that loads its own.
        batch_size: records in a batch (of each process), 2 or more.
        views: `(records, tokenizer, *, generator) -> {"input_ids": ..., ...}`. If it has an attribute `columns`, the
            training set must have these. May be set later, before training starts.
        tokenizer: handed to the views. May be set later, as well.
        num_workers: processes that load batches, besides the one that trains.
        seed: 0 or more.

    Raises:
        InputError: a setting is out of range.
    """

    def __init__(
        self,
        train_set: RecordSet | None = None,
        *,
        batch_size: int = 128,
        views: Views | None = None,
        tokenizer: Any = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 2:
            raise InputError(f"batch_size is {batch_size}: contrasting needs 2 or more records in a batch.")
        if num_workers < 0 or seed < 0:
            raise InputError(f"num_workers={num_workers}, seed={seed}: expected 0 or more of each.")
        self._train_set = train_set
        self.batch_size = batch_size
        self.views = views
        self.tokenizer = tokenizer
        self.num_workers = num_workers
        self.seed = seed
        self.sampling: Sampling | None = None

    @property
    def train_set(self) -> RecordSet:
        """What is trained on."""
        assert self._train_set is not None
        return self._train_set

    @property
    def training_records(self) -> RecordSet:
        """The records of the training set as the views take them."""
        return self.train_set

    def train_dataloader(self) -> DataLoader[Batch]:
        """Full batches in the order of the sampler's epoch.

        Raises:
            InputError: there are fewer than two records for each process, or a column that the views need is missing.
        """
        records = self.train_set
        order = None if self.sampling is None else self.sampling(records, self.batch_size * ops.world_size())
        sampler = PlaceSampler(records, self.seed, order=order)
        if self.trainer is not None:  # one that has read how far it was; runs tell the sampler when theirs has
            sampler.go_on(self.trainer, self.batch_size)
        if len(sampler) < 2:
            raise InputError(
                f"{records.name} has {len(records)} records for {ops.world_size()} processes: each needs 2 or more."
            )
        if self.views is not None:
            records.require(*getattr(self.views, "columns", ()))
        collate = Collate(self.views, self.tokenizer, self.batch_size, self.seed, ops.rank())
        return self._loader(
            PlacedRecords(self.training_records), collate, sampler=sampler, drop_last=len(sampler) >= self.batch_size
        )

    def _loader(self, records: "PlacedRecords", collate: "Collate", **options: Any) -> DataLoader[Batch]:
        """A loader that fetches whole batches."""
        return DataLoader(
            records,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            worker_init_fn=outlive_termination,
            collate_fn=collate,  # type: ignore[arg-type]
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            # Its own generator: starting an epoch must not move the random state that the method may use.
            generator=torch.Generator().manual_seed(self.seed),
            **options,
        )


class InOrder(Sampler[Place]):
    """The order of the set, as at epoch 0."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Place]:
        return ((0, index, index) for index in range(self._count))


class PlacedRecords(Dataset[Any]):
    """The records of a set, at the epoch that the sampler tells."""

    def __init__(self, records: RecordSet) -> None:
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    def __getitems__(self, places: list[Place]) -> tuple[list[Place], Any]:
        self._records.set_epoch(places[0][0])
        return places, self._records.fetch(torch.tensor([index for _, _, index in places]))


class Collate:
    """Records to a batch, with random numbers of their own."""

    def __init__(self, views: Views | None, tokenizer: Any, batch_size: int, seed: int, rank: int) -> None:
        self.views = views
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank

    def __call__(self, placed: tuple[list[Place], Any]) -> Batch:
        """Make the views of one batch."""
        places, records = placed
        batch: Batch = {"index": torch.tensor([index for _, _, index in places])}
        if self.views is None:
            return {**batch, "records": records}
        epoch, position, _ = places[0]
        generator = keyed_generator(self.seed, epoch, position // self.batch_size, self.rank)
        # Views that look other records up must know which ones these are.
        known = {"index": batch["index"]} if getattr(self.views, "indexed", False) else {}
        return {**batch, "views": self.views(records, self.tokenizer, generator=generator, **known)}
