"""Time series -> batches of windows, for Lightning."""

from collections.abc import Callable
from functools import cached_property
from typing import Any

import torch
from lightning.pytorch import LightningDataModule
from torch import Tensor, nn
from torch.utils.data import DataLoader

from dipole import ops
from dipole.data.epoch_sampler import EpochSampler
from dipole.data.randomness import keyed_generator
from dipole.data.timeseries.series_set import SeriesData, SeriesSet, statistics, windows
from dipole.data.workers import outlive_termination
from dipole.errors import InputError
from dipole.ops.checks import check_at_least

Batch = dict[str, Tensor]


class SeriesDataModule(LightningDataModule):
    """Batches of windows of the training series.

    A batch is a dictionary: `series` (N, T, C), scaled by the statistics of the training part, and `index` (N,). Series
    of two windows and more are cut (see `windows`); what is still longer than a window is cropped at a random place,
    the same for the whole batch. In training, `views` is added if something makes it.

    Everything random is a pure function of `seed` and the progress of the run: the order of an epoch of (seed, epoch),
    crops and views of (seed, number of batches before it, rank).

    Training leaves out a last batch that is not full. A set smaller than one batch is one batch.

    Args:
        data: see `load_series`.
        batch_size: windows in a batch (of each process).
        window: steps that the encoder is trained on at once.
        views: `(series, generator=...) -> (N, T, C)`. May be set later.
        num_workers: processes that load batches; series lie in memory, so that none is needed.
        seed: 0 or more.

    Raises:
        InputError: a setting is out of range.

    Example:
        >>> from dipole.data.timeseries import load_series
        >>> module = SeriesDataModule(load_series("toy-load"), batch_size=4, window=100)
        >>> next(iter(module.train_dataloader()))["series"].shape  # seven values of the calendar and two columns
        torch.Size([4, 100, 9])
    """

    def __init__(
        self,
        data: SeriesData,
        *,
        batch_size: int = 8,
        window: int = 1024,
        views: Callable[..., Tensor] | None = None,
        num_workers: int = 0,
        seed: int = 0,
    ) -> None:
        super().__init__()
        check_at_least(batch_size, 1, "batch_size")
        check_at_least(window, 1, "window")
        if num_workers < 0 or seed < 0:
            raise InputError(f"num_workers={num_workers}, seed={seed}: expected 0 or more of each.")
        self.data = data
        self.batch_size = batch_size
        self.window = window
        self.views = views
        self.num_workers = num_workers
        self.seed = seed

    @cached_property
    def statistics(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation (C,) of the training part."""
        return statistics(self.data.train.values)

    @cached_property
    def train_set(self) -> SeriesSet:
        """The windows to train on, scaled."""
        train = self.data.train
        mean, deviation = self.statistics
        return SeriesSet(train.name, windows((train.values - mean) / deviation, self.window), train.columns)

    def train_dataloader(self) -> DataLoader[Batch]:
        """Full batches in the order of the sampler's epoch.

        Raises:
            InputError: there are fewer windows than processes.
        """
        sampler = EpochSampler(self.train_set, self.seed)
        if self.trainer is not None:  # one that has read how far it was; runs tell the sampler when theirs has
            sampler.go_on(self.trainer, self.batch_size)
        if len(sampler) < 1:
            raise InputError(
                f"{self.data.name} has {len(self.train_set)} windows for {ops.world_size()} processes: choose a "
                "smaller window, or fewer processes."
            )
        return DataLoader(
            self.train_set,  # type: ignore[arg-type]
            batch_size=self.batch_size,
            sampler=sampler,
            drop_last=len(sampler) >= self.batch_size,
            num_workers=self.num_workers,
            worker_init_fn=outlive_termination,
            collate_fn=_as_it_is,
            persistent_workers=self.num_workers > 0,
            pin_memory=torch.cuda.is_available(),
            # Its own generator: starting an epoch must not move the random state that the method may use.
            generator=torch.Generator().manual_seed(self.seed),
        )

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Crop a training batch and add its views, on the device it has been moved to."""
        if self.trainer is None or not self.trainer.training:
            return batch
        series = batch["series"]
        step = self.trainer.fit_loop.epoch_loop.batch_progress.total.ready
        generator = keyed_generator(self.seed, step, ops.rank())
        places = series.shape[1] - self.window + 1
        if places > 1:  # drawn here: an accelerator would have to be waited for
            start = int(torch.randint(places, (), generator=generator))
            series = series[:, start : start + self.window]
        if series.device.type != "cpu":
            generator = keyed_generator(self.seed, step, ops.rank(), device=series.device)
        if isinstance(self.views, nn.Module):
            self.views.to(series.device)
        views = {} if self.views is None else {"views": self.views(series, generator=generator)}
        return {**batch, "series": series, **views}


def _as_it_is(batch: Any) -> Any:
    """The sets already return batches."""
    return batch
