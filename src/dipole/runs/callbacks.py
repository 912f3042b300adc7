"""What happens around the steps of a run: randomness, checkpoints, progress."""

import csv
import sys
import time
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.utilities import rank_zero_only
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dipole.files import atomic_write
from dipole.ops import rank
from dipole.ops.checks import check_at_least


def step_seed(seed: int, step: int, stream: int = 0) -> int:
    """Mix a run's seed, a step and a stream (a process, say) into a seed of its own.

    Example:
        >>> step_seed(0, 1) != step_seed(1, 0)
        True
    """
    # SplitMix64's finaliser: neighbouring inputs give unrelated outputs.
    mask = (1 << 64) - 1
    z = (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + stream * 0x94D049BB133111EB + 1) & mask
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return (z ^ (z >> 31)) >> 1


class StepRandomness(lightning.Callback):
    """Seed the global generator (dropout and the like) from the batch, so that a resumed run draws what it would have.

    Args:
        seed: of the run.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def on_train_batch_start(self, trainer: lightning.Trainer, *_: Any, **__: Any) -> None:
        """Seed before every batch."""
        # Batches, not optimiser steps, of which several batches may share one.
        batch = trainer.fit_loop.epoch_loop.batch_progress.total.ready
        torch.manual_seed(step_seed(self.seed, batch, rank()))


class EveryFew(lightning.Callback):
    """Let another callback look at the end of every few epochs, and of the last one.

    Args:
        callback: that measures in `on_train_epoch_end`.
        every: epochs between two looks.
    """

    def __init__(self, callback: lightning.Callback, every: int) -> None:
        check_at_least(every, 1, "every")
        self.callback, self.every = callback, every

    @property
    def state_key(self) -> str:
        """The name under which the state of the other callback stands in a checkpoint."""
        return self.callback.state_key

    def on_fit_start(self, *arguments: Any) -> None:
        """Let it prepare."""
        self.callback.on_fit_start(*arguments)

    def on_train_epoch_end(self, trainer: lightning.Trainer, *arguments: Any) -> None:
        """Let it look, if it is time."""
        epoch = trainer.current_epoch + 1
        if epoch % self.every == 0 or epoch == trainer.max_epochs:
            self.callback.on_train_epoch_end(trainer, *arguments)

    def on_train_end(self, *arguments: Any) -> None:
        """Let it look where training has ended early."""
        self.callback.on_train_end(*arguments)

    def state_dict(self) -> dict[str, Any]:
        """Return its state."""
        return self.callback.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Give its state back."""
        self.callback.load_state_dict(state_dict)


class Restated(lightning.Callback):
    """Say what the learning rate does in a run that got more epochs than its checkpoint was written for, and do it.

    A schedule reaches over all epochs, so that more of them change it: a rate that had come down to 0 goes up again.

    Args:
        epochs: of the run.
    """

    def __init__(self, epochs: int) -> None:
        self.epochs, self.before = epochs, epochs

    def state_dict(self) -> dict[str, Any]:
        """Return the number of epochs."""
        return {"epochs": self.epochs}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the number of epochs of the checkpoint."""
        self.before = state_dict["epochs"]

    def on_train_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Set the learning rates that the schedules have at this step."""
        if self.before == self.epochs:
            return
        was = trainer.optimizers[0].param_groups[0]["lr"]
        for entry in trainer.lr_scheduler_configs:
            schedule: Any = entry.scheduler
            factors = [factor(schedule.last_epoch) for factor in schedule.lr_lambdas]
            for group, base, factor in zip(schedule.optimizer.param_groups, schedule.base_lrs, factors, strict=True):
                group["lr"] = base * factor
            schedule._last_lr = [group["lr"] for group in schedule.optimizer.param_groups]
        now = trainer.optimizers[0].param_groups[0]["lr"]
        rank_zero_only(sys.stderr.write)(
            f"{self.epochs} epochs in place of {self.before}: the schedule of the learning rate reaches over all of "
            f"them, so that it is {now:.3g} now where it was {was:.3g}.\n"
        )


class ProgressBar(lightning.Callback):
    """One bar for the whole run, with the time that remains and the latest metrics.

    Where no terminal shows it (a log file, a batch job), one line an epoch.

    Args:
        console: where it is drawn.
    """

    def __init__(self, console: Console | None = None) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[metrics]}"),
        )
        self.console = console or Console(stderr=True)
        self.progress = Progress(*columns, console=self.console, disable=not self.console.is_terminal)

    def on_train_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Open the bar; a resumed run starts where it left off."""
        self.started, self.first_epoch = time.monotonic(), trainer.current_epoch
        if trainer.is_global_zero:
            total = int(trainer.num_training_batches) * int(trainer.max_epochs or 1)
            self.task = self.progress.add_task("training", total=total, completed=self._batches(trainer), metrics="")
            self.progress.start()

    def on_train_batch_end(self, trainer: lightning.Trainer, *_: Any, **__: Any) -> None:
        """Advance."""
        if trainer.is_global_zero:
            self.progress.update(self.task, completed=self._batches(trainer))

    @staticmethod
    def _batches(trainer: lightning.Trainer) -> int:
        """Batches so far; several batches may share a step of the optimiser, or a batch have several steps."""
        return trainer.fit_loop.epoch_loop.batch_progress.total.ready

    def on_train_epoch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Show the metrics of the epoch."""
        if trainer.is_global_zero:
            shown = {k: v for k, v in trainer.callback_metrics.items() if k in {"loss", "knn"}}
            text = "  ".join(f"{name} {float(value):.4f}" for name, value in shown.items())
            self.progress.update(self.task, metrics=text)
            if not self.console.is_terminal:
                self._line(trainer, text)

    def _line(self, trainer: lightning.Trainer, text: str) -> None:
        """Say in a line how far the run is."""
        epoch, epochs = trainer.current_epoch + 1, int(trainer.max_epochs or 1)
        here = epoch - self.first_epoch
        left = (time.monotonic() - self.started) / here * (epochs - epoch)
        parts = [f"epoch {epoch}/{epochs}", text, f"{left:.0f} s left"]
        self.console.print("  ".join(part for part in parts if part), soft_wrap=True, markup=False, highlight=False)

    def teardown(self, *_: Any, **__: Any) -> None:
        """Close the bar, also after an error."""
        self.progress.stop()


class MetricsFile(lightning.Callback):
    """Write the metrics of every epoch to a CSV file. The rows are part of the checkpoint, so a resumed run keeps them.

    Place it after the callbacks that log.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, float]] = []

    def on_train_epoch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Add a row and write the file."""
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        self.rows.append({"epoch": trainer.current_epoch, "step": trainer.global_step, **metrics})
        if not trainer.is_global_zero:
            return
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        with atomic_write(self.path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows)

    def state_dict(self) -> dict[str, Any]:
        """Return the rows."""
        return {"rows": self.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the rows back."""
        self.rows = state_dict["rows"]
