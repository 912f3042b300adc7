"""Texts -> batches with views, for Lightning."""

from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from dipole import ops
from dipole.data.epoch_sampler import EpochSampler
from dipole.data.text.registry import load_texts
from dipole.data.text.text_set import Record, TextSet
from dipole.errors import InputError

Batch = dict[str, Any]
Views = Callable[..., dict[str, Tensor]]
# (epoch, position in the epoch's order of this process, index in the set)
Place = tuple[int, int, int]
_PIECE = 2**16


class TextDataModule(LightningDataModule):
    """Batches of texts as token ids.

    A training batch is a dictionary: `index` (N,) and `views`, which is what the callable of that name returns:
    `input_ids` int64 (V, N, T) and `attention_mask` (V, N, T). Without views, and for embedding, a batch is `index` and
    `records`, a list of N dictionaries. Views are made, and texts tokenised, in the processes that load batches.

    Everything random is a pure function of `seed` and the progress of the run: the order of an epoch of (seed, epoch),
    the views of a batch of (seed, epoch, number of batches before it in the epoch, rank). A run that resumes at the
    start of an epoch repeats the rest bit for bit, with any number of workers.

    Training leaves out a last batch that is not full, because the number of negatives would change with it; the
    texts it would have held differ from epoch to epoch. A set smaller than one batch is one batch.

    Args:
        data: a name or a path, see `load_texts`; or a training set; or a training set and a test set or None.
        data_root: folder of the sets that are read from files.
        column: which column of a table is the main text, see `load_texts`; for names and paths alone.
        batch_size: texts in a batch (of each process), 2 or more.
        views: `(records, tokenizer, *, generator) -> {"input_ids": ..., "attention_mask": ...}`. If it has an attribute
            `columns`, the training set must have these. May be set later, before training starts.
        tokenizer: handed to the views. May be set later, as well.
        num_workers: processes that load batches, besides the one that trains.
        seed: 0 or more.

    Raises:
        InputError: a setting is out of range; and, when the sets are first needed, whatever `load_texts` refuses.

    Example:
        >>> module = TextDataModule("toy-sentences", batch_size=64)
        >>> batch = next(iter(module.train_dataloader()))
        >>> batch["index"].shape, sorted(batch["records"][0])
        (torch.Size([64]), ['text', 'topic'])
    """

    def __init__(
        self,
        data: str | TextSet | tuple[TextSet, TextSet | None] = "toy-sentences",
        *,
        data_root: str | Path | None = None,
        column: str | None = None,
        batch_size: int = 128,
        views: Views | None = None,
        tokenizer: Any = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if batch_size < 2:
            raise InputError(f"batch_size is {batch_size}: contrasting needs 2 or more texts in a batch.")
        if num_workers < 0 or seed < 0:
            raise InputError(f"num_workers={num_workers}, seed={seed}: expected 0 or more of each.")
        if column is not None and not isinstance(data, str):
            raise InputError(f"column={column!r} goes with a name or a path: choose it where the texts are loaded.")
        self.data = data
        self.data_root = data_root
        self.column = column
        self.batch_size = batch_size
        self.views = views
        self.tokenizer = tokenizer
        self.num_workers = num_workers
        self.seed = seed

    @cached_property
    def _sets(self) -> tuple[TextSet, TextSet | None]:
        """Both sets, loaded when they are first needed."""
        if isinstance(self.data, str):
            return load_texts(self.data, self.data_root, column=self.column), None
        return self.data if isinstance(self.data, tuple) else (self.data, None)

    @property
    def train_set(self) -> TextSet:
        """The training texts."""
        return self._sets[0]

    @property
    def test_set(self) -> TextSet | None:
        """The test texts, if there are any."""
        return self._sets[1]

    def train_dataloader(self) -> DataLoader[Batch]:
        """Full batches in the order of the sampler's epoch.

        Raises:
            InputError: there are fewer than two texts for each process, or a column that the views need is missing.
        """
        texts = self.train_set
        sampler = _PlaceSampler(texts, self.seed)
        if self.trainer is not None:
            # In a run that resumes, workers begin to fetch before Lightning tells the sampler the epoch.
            sampler.set_epoch(self.trainer.fit_loop.epoch_progress.current.processed)  # type: ignore[attr-defined]
        if len(sampler) < 2:
            raise InputError(
                f"{texts.name} has {len(texts)} texts for {ops.world_size()} processes: each needs 2 or more."
            )
        if self.views is not None:
            texts.require(*getattr(self.views, "columns", ()))
        collate = _Collate(self.views, self.tokenizer, self.batch_size, self.seed, ops.rank())
        return self._loader(_PlacedRecords(texts), collate, sampler=sampler, drop_last=len(sampler) >= self.batch_size)

    def embed_dataloader(self, which: str = "test") -> DataLoader[Batch]:
        """Every text once, in the order of the set: `index` and `records`.

        Args:
            which: `"train"` or `"test"`.

        Raises:
            InputError: another part, or there are no test texts.
        """
        if which not in ("train", "test"):
            raise InputError(f"which is {which!r}: expected 'train' or 'test'.")
        texts = self.train_set if which == "train" else self.test_set
        if texts is None:
            raise InputError("there are no test texts: ask for 'train', or give a training and a test set.")
        collate = _Collate(None, None, self.batch_size, self.seed, 0)
        return self._loader(_PlacedRecords(texts), collate, sampler=_InOrder(len(texts)))

    def _loader(self, records: "_PlacedRecords", collate: "_Collate", **options: Any) -> DataLoader[Batch]:
        """A loader that fetches whole batches."""
        return DataLoader(
            records,
            batch_size=self.batch_size,
            num_workers=self.num_workers,
            collate_fn=collate,  # type: ignore[arg-type]
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            # Its own generator: starting an epoch must not move the random state that the method may use.
            generator=torch.Generator().manual_seed(self.seed),
            **options,
        )


def views_generator(seed: int, epoch: int, batch: int, rank: int = 0) -> torch.Generator:
    """The random numbers for the views of one batch, the `batch`-th of an epoch on process `rank`.

    Example:
        >>> first, again = views_generator(0, 2, 5), views_generator(0, 2, 5)
        >>> bool(torch.rand((), generator=first) == torch.rand((), generator=again))
        True
    """
    state = np.random.SeedSequence((seed, epoch, batch, rank)).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]))


class _PlaceSampler(EpochSampler):
    """The order of an epoch, each index with its place, so that workers know where in the run they are."""

    def __iter__(self) -> Iterator[Place]:  # type: ignore[override]
        # In pieces: as Python's integers, the order of a huge file would need five times the memory.
        own = self.order()
        for start in range(0, len(own), _PIECE):
            for position, index in enumerate(own[start : start + _PIECE].tolist(), start):
                yield self.epoch, position, index


class _InOrder(Sampler[Place]):
    """The order of the set, as at epoch 0."""

    def __init__(self, count: int) -> None:
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Place]:
        return ((0, index, index) for index in range(self._count))


class _PlacedRecords(Dataset[Record]):
    """The records of a set, at the epoch that the sampler tells."""

    def __init__(self, texts: TextSet) -> None:
        self._texts = texts

    def __len__(self) -> int:
        return len(self._texts)

    def __getitems__(self, places: list[Place]) -> tuple[list[Place], list[Record]]:
        self._texts.set_epoch(places[0][0])
        return places, self._texts.fetch(torch.tensor([index for _, _, index in places]))


class _Collate:
    """Records to a batch, with random numbers of their own."""

    def __init__(self, views: Views | None, tokenizer: Any, batch_size: int, seed: int, rank: int) -> None:
        self.views = views
        self.tokenizer = tokenizer
        self.batch_size = batch_size
        self.seed = seed
        self.rank = rank

    def __call__(self, placed: tuple[list[Place], list[Record]]) -> Batch:
        places, records = placed
        batch: Batch = {"index": torch.tensor([index for _, _, index in places])}
        if self.views is None:
            return {**batch, "records": records}
        epoch, position, _ = places[0]
        generator = views_generator(self.seed, epoch, position // self.batch_size, self.rank)
        return {**batch, "views": self.views(records, self.tokenizer, generator=generator)}
