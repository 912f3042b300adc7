"""When the state of a run is written, and what a run that goes on within an epoch needs besides."""

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Checkpoint, ModelCheckpoint
from torch import Tensor

from dipole.data.epoch_sampler import EpochSampler
from dipole.ops.checks import check_at_least, check_choice

SHARE = 0.02  # of the time, that checkpoints by time may cost
LEAST_SECONDS = 30.0  # between two of them
BYTES_A_SECOND = 1e8  # that are written, as long as none was
STATES = 3  # of a parameter: its value and, as Adam has them, two means
DECIDED_EVERY = 50  # batches, where processes have to agree
SUFFIX = ".safetensors"


@dataclass(frozen=True)
class CheckpointSettings:
    """When checkpoints are written, besides at the end of every epoch and when the process is told to end (SIGTERM).

    Args:
        every_steps: steps of the optimiser between two of them; 0 for none within an epoch. If None, as often as costs
            at most 2 % of the time, and not more than every 30 seconds.
        keep: number of checkpoints that stay, besides the last one, which a run goes on from.
        monitor: which stay: those of the best epochs by a metric, such as `knn` or `loss`; the newest if None.
        mode: `min` or `max`, which values of the metric are best; `auto`: small ones of a loss or an error.

    Raises:
        InputError: a number is below 0, or there is no such mode.

    Example:
        >>> CheckpointSettings(monitor="loss").smallest, CheckpointSettings(monitor="knn").smallest
        (True, False)
    """

    every_steps: int | None = None
    keep: int = 0
    monitor: str | None = None
    mode: str = "auto"

    def __post_init__(self) -> None:
        check_at_least(self.every_steps or 0, 0, "checkpoint.every_steps")
        check_at_least(self.keep, 0, "checkpoint.keep")
        check_choice(self.mode, ("auto", "min", "max"), "checkpoint.mode")

    @property
    def smallest(self) -> bool:
        """Whether the smallest value of the metric is the best."""
        named = (self.monitor or "").lower()
        return self.mode == "min" or (self.mode == "auto" and any(word in named for word in ("loss", "error")))

    def callbacks(self, last: Path) -> list[lightning.Callback]:
        """Return what writes them.

        Args:
            last: path of the checkpoint that a run goes on from; the others lie beside it.
        """
        found: list[lightning.Callback] = [LastCheckpoint(last, self.every_steps)]
        keep = self.keep or int(self.monitor is not None)
        if keep:
            by_steps = self.every_steps if self.monitor is None and self.every_steps else None
            kept = ModelCheckpoint(
                dirpath=last.parent,
                filename="{epoch}-{step}",
                monitor=self.monitor or "step",
                mode="min" if self.smallest else "max",
                save_top_k=keep,
                every_n_train_steps=by_steps,
                save_on_train_epoch_end=by_steps is None,
            )
            kept.FILE_EXTENSION = SUFFIX
            # Before the last one, which holds what they know.
            found.insert(0, kept)
        return [GoOn(), EpochMeans(), *found]


class LastCheckpoint(Checkpoint):
    """Keep the latest state in one file: after every epoch, after steps, and when the process is told to end.

    Lightning runs it after all other callbacks.

    Args:
        path: of the file.
        every_steps: see `CheckpointSettings`.
        clock: seconds.
    """

    def __init__(self, path: Path, every_steps: int | None = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self.path, self.every_steps, self.clock = path, every_steps, clock
        self.cost, self.spent, self.told = 0.0, 0.0, False  # of the last one, of all
        self.begun = self.written = clock()

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Begin to count, and to listen to SIGTERM.

        What the first one costs is guessed from the size of the parameters.

        Lightning's own handler speaks to the other processes at once, wherever they are, and can wait for ever.
        Lightning puts back the handler of before.
        """
        self.begun = self.written = self.clock()
        self.spent = 0.0
        size = sum(parameter.numel() * parameter.element_size() for parameter in pl_module.parameters())
        self.cost = STATES * size / BYTES_A_SECOND
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._tell)

    def _tell(self, *_: Any) -> None:
        """Take note."""
        self.told = True

    def on_train_batch_end(self, trainer: lightning.Trainer, *arguments: Any) -> None:
        """Write after a step of the optimiser, if it is time; the end of the epoch writes after the last one."""
        batch = arguments[-1] + 1
        told = self._told_to_end(trainer)
        if batch % trainer.accumulate_grad_batches or batch >= trainer.num_training_batches:
            return
        if told or self._due(trainer, batch):
            self._write(trainer)

    def on_train_epoch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Write."""
        self._write(trainer)

    def _told_to_end(self, trainer: lightning.Trainer) -> bool:
        """Whether a process was; the others then know it, too, and Lightning ends all of them after the batch."""
        told = self.told
        if trainer.world_size > 1:
            told = trainer.strategy.reduce_boolean_decision(told, all=False)
        trainer._signal_connector.received_sigterm = told
        return told

    def _due(self, trainer: lightning.Trainer, batch: int) -> bool:
        """Whether it is time."""
        if self.every_steps is not None:
            return self.every_steps > 0 and trainer.global_step % self.every_steps == 0
        if trainer.world_size > 1 and batch % DECIDED_EVERY:
            return False
        # What all of them cost counts, since one may take much longer than the one before.
        now = self.clock()
        due = now - self.written > LEAST_SECONDS and self.spent + self.cost <= SHARE * (now - self.begun)
        return bool(trainer.strategy.broadcast(due)) if trainer.world_size > 1 else due

    def _write(self, trainer: lightning.Trainer) -> None:
        """Replace the file."""
        begun = self.clock()
        trainer.save_checkpoint(self.path)
        self.written = self.clock()
        self.cost = self.written - begun
        self.spent += self.cost


class GoOn(lightning.Callback):
    """Let the data of a resumed run begin where it stands.

    Lightning makes the loaders, whose processes begin to fetch, before it reads how far the run was.
    """

    def on_train_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Tell the samplers, and begin to fetch anew."""
        if not trainer.ckpt_path:
            return
        for loader in trainer.fit_loop._combined_loader.flattened:  # type: ignore[union-attr]
            if isinstance(loader.sampler, EpochSampler):
                loader.sampler.go_on(trainer, loader.batch_size)
        iter(trainer.fit_loop._data_fetcher)  # type: ignore[arg-type]


class EpochMeans(lightning.Callback):
    """Keep the running means of an epoch in checkpoints within it, so that its row of metrics is that of all batches.

    Lightning holds them, and does not keep them itself.
    """

    def __init__(self) -> None:
        self.kept: dict[str, list[Tensor]] = {}

    def on_save_checkpoint(self, trainer: lightning.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Write sums and counts, those of every process."""
        progress: Any = trainer.fit_loop.epoch_progress.current
        sums = {}
        if progress.started > progress.processed:
            for name, metric in trainer.fit_loop.epoch_loop._results.items():
                if metric.meta.is_mean_reduction:
                    pair = torch.stack([metric.value.double(), metric.cumulated_batch_size.double()])
                    sums[name] = trainer.strategy.all_gather(pair).reshape(-1, 2).cpu()
        checkpoint["epoch_means"] = sums

    def on_load_checkpoint(self, trainer: lightning.Trainer, pl_module: Any, checkpoint: dict[str, Any]) -> None:
        """Take them."""
        self.kept = checkpoint.get("epoch_means", {})

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Add them to those of the first batch after it."""
        if not self.kept:
            return
        for name, metric in trainer.fit_loop.epoch_loop._results.items():
            if name in self.kept:
                total, count = self.kept[name][trainer.global_rank]
                metric.value = metric.value + total.to(metric.value)
                metric.cumulated_batch_size = metric.cumulated_batch_size + count.to(metric.cumulated_batch_size)
        self.kept = {}
