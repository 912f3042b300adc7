"""What happens around the steps of a run: randomness, checkpoints, progress."""

import csv
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Checkpoint
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dipole.files import atomic_write
from dipole.ops import rank


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


class LastCheckpoint(Checkpoint):
    """Keep the state after the latest whole epoch. Lightning runs it after all other callbacks of the epoch.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_epoch_end(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Replace the checkpoint."""
        trainer.save_checkpoint(self.path)


class ProgressBar(lightning.Callback):
    """One bar for the whole run, with the time that remains and the latest metrics.

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
        self.progress = Progress(*columns, console=console or Console(stderr=True))

    def on_train_start(self, trainer: lightning.Trainer, *_: Any) -> None:
        """Open the bar; a resumed run starts where it left off."""
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
