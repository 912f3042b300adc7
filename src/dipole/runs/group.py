"""The processes of a run that others have started: torchrun, SLURM, Ray."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning
import torch
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities import rank_zero_only
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from dipole.errors import InputError
from dipole.runs.quiet import quiet

PLACES = ("devices", "num_nodes", "accelerator", "strategy")  # arguments of Lightning's Trainer
STARTED = ("LOCAL_RANK", "WORLD_SIZE", "SLURM_NTASKS")  # one of them stands where others start the processes


def make_trainer(settings: dict[str, Any], **own: Any) -> lightning.Trainer:
    """Return Lightning's Trainer.

    Args:
        settings: arguments of the Trainer that the user has chosen.
        own: arguments that the user has not.

    Raises:
        InputError: Lightning refuses an argument.
    """
    try:
        return lightning.Trainer(
            **{"accelerator": "auto", **settings}, **own, enable_progress_bar=False, enable_model_summary=False
        )
    except (ValueError, TypeError, ImportError, MisconfigurationException) as error:
        raise InputError(f"the trainer's settings {settings} do not work here: {error}") from error


def join(settings: dict[str, Any]) -> bool:
    """Meet the other processes before anything can fail in one of them alone.

    One that ends closes its connections, so that none waits for it. Where nobody else has started processes nothing
    happens: Lightning starts them, and ends them.

    Args:
        settings: arguments of Lightning's Trainer.

    Returns:
        Whether this is the first process.

    Raises:
        InputError: there are other processes than the settings say, or they do not come.
    """
    if not any(name in os.environ for name in STARTED):
        return True
    asked = {name: settings[name] for name in PLACES if name in settings}
    if asked.get("strategy") == "fsdp2":
        asked["strategy"] = "ddp"  # they meet alike
    with quiet():
        trainer = make_trainer(asked, logger=False, enable_checkpointing=False)
        count = int(os.environ.get("WORLD_SIZE", 1))
        if trainer.world_size == 1 and count > 1 and "LOCAL_RANK" in os.environ:
            here = os.environ.get("LOCAL_WORLD_SIZE", count)
            raise InputError(
                f"this is one of {count} processes, but the settings are for one: add --trainer.devices {here} "
                "--trainer.strategy ddp (and --trainer.num_nodes, if there are several machines)."
            )
        environment: Any = getattr(trainer.strategy, "cluster_environment", None)
        if isinstance(trainer.strategy, DDPStrategy) and environment.creates_processes_externally:
            try:
                environment.validate_settings(trainer.num_devices, trainer.num_nodes)
            except ValueError as error:
                raise InputError(f"the trainer's settings {asked} do not work here: {error}") from error
            with together():
                trainer.strategy.setup_environment()
    # Lightning may have been imported before the environment said which one this is.
    rank_zero_only.rank = trainer.global_rank  # type: ignore[attr-defined]
    return trainer.is_global_zero


@contextmanager
def together() -> Iterator[None]:
    """Say what it means that another process is gone.

    Raises:
        InputError: it is.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error, torch.distributed.DistError) or "gloo" in str(error):
            raise InputError(
                "another process of the run has ended, or cannot be reached: its own message says why. "
                "With --resume the run goes on from its latest checkpoint, if it has one."
            ) from error
        raise


class SameRun(lightning.Callback):
    """Require that all processes go on from the checkpoint, or none."""

    def setup(self, trainer: lightning.Trainer, *_: Any, **__: Any) -> None:
        """Ask the first one.

        Raises:
            InputError: this process does not see what the first one sees.
        """
        goes_on = trainer.ckpt_path is not None
        if trainer.world_size > 1 and trainer.strategy.broadcast(goes_on) != goes_on:
            raise InputError(
                f"process {trainer.global_rank} {'finds a' if goes_on else 'does not find the'} checkpoint that the "
                f"first one {'does not find' if goes_on else 'goes on from'}: --out must be one folder that all "
                "processes share."
            )
