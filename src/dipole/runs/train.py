"""Train a method on data and leave a run directory."""

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import lightning
import torch
import torch.utils.deterministic
from lightning.pytorch.accelerators import CPUAccelerator
from lightning.pytorch.utilities.exceptions import MisconfigurationException, SIGTERMException
from torch import nn

from dipole.errors import InputError, Terminated
from dipole.methods.base import Method
from dipole.methods.registry import get_method
from dipole.nn.sharding import unshard
from dipole.ops.checks import check_at_least
from dipole.runs.callbacks import EveryFew, MetricsFile, ProgressBar, Restated, StepRandomness
from dipole.runs.checkpoint import SafeCheckpointIO, default_precision
from dipole.runs.config import RunConfig
from dipole.runs.directory import Run, locked
from dipole.runs.domains import domain_of
from dipole.runs.extras import MLFLOW, named_callbacks, named_loggers
from dipole.runs.group import SameRun, join, make_trainer, together
from dipole.runs.initialise import initialise
from dipole.runs.memory import keep_freed_memory
from dipole.runs.model import build_method
from dipole.runs.quiet import quiet
from dipole.runs.refresh import Refresh
from dipole.runs.saving import CheckpointSettings
from dipole.runs.sharded import ShardedStrategy

MOST_PROCESSES = 4  # on fewer processors than that, too


def train(
    config: RunConfig,
    out: str | Path,
    *,
    resume: bool = False,
    encoder: nn.Module | None = None,
    sets: Any = None,
    monitor: bool | int = True,
    progress: bool = True,
    callbacks: Sequence[lightning.Callback] = (),
    loggers: Sequence[Any] = (),
) -> Run:
    """Train a method and write its run directory.

    The same settings give the same weights, bit for bit, on the same processor; so does a run that was killed at any
    moment and resumed.

    Args:
        config: settings of the run.
        out: the run directory to make.
        resume: continue the run in `out` from its latest checkpoint; its settings must be those of `config`, but for
            the times of checkpoints and for `epochs`, of which there may be more, also after its end.
        encoder: a module to train in place of the encoder named in `config.method`.
        sets: a training and a test set in place of those that `config.data` names.
        monitor: follow the quality and the geometry of the embeddings after every epoch; a number: after every so many
            epochs and the last one; False: not at all.
        progress: show a progress bar.
        callbacks: of Lightning, besides those that the settings name.
        loggers: of Lightning, besides those that the settings name.

    Returns:
        The run, with `model/` in it.

    Raises:
        InputError: a setting, the data or the directory is not fit for it; the message says what to do.
        Terminated: the process was told to end (SIGTERM); the run can be resumed where it stood.

    Example:
        >>> import tempfile
        >>> settings = RunConfig("simclr", epochs=1, batch_size=512, method={"encoder": "convnet4-4"})
        >>> run = train(settings, Path(tempfile.mkdtemp()) / "run", monitor=False, progress=False)
        >>> sorted(path.name for path in run.model.iterdir())
        ['dipole.json', 'model.safetensors']
    """
    cls = get_method(config.name)
    if cls.stage_arguments(config.method) is not None:
        raise InputError(f"{config.name} trains in stages: use dipole.runs.stages.train_stages(staged(config), out).")
    join(config.trainer)
    domain = domain_of(config.name, config.method)
    data = domain.data_module(config, sets)
    config = domain.resolve(config, cls, data, encoder_given=encoder is not None)
    run = Run(Path(out))
    method = build_method(config.name, config.method, seed=config.seed, encoder=encoder)
    if config.init_from is not None:
        initialise(method, config.init_from)
    if config.compile:
        for module in method.children():
            module.compile()
    domain.attach_views(method, data, config)
    if hasattr(data, "sampling"):
        data.sampling = method.sampling
    sharded = config.trainer.get("strategy") == "fsdp2"
    # The first process alone looks at embeddings, which takes weights of all.
    looks: list[lightning.Callback] = domain.monitors(method, data, run) if monitor and not sharded else []
    looks = looks if monitor is True else [EveryFew(look, monitor) for look in looks]
    if method.refresh_every:
        embed = partial(domain.embed_training, data=data)
        drawn = getattr(data, "drawn_set", None) or data.train_set  # type: ignore[attr-defined]
        looks.append(Refresh(embed, len(drawn), progress))
    with ExitStack() as stack:
        stack.enter_context(quiet())
        stack.enter_context(together())
        trainer = _trainer(config, run, [*looks, *callbacks], loggers, progress)
        _check_steps(method, config, trainer)
        if trainer.strategy.root_device.type == "cpu":
            keep_freed_memory()
            stack.enter_context(_in_one_order())
        # The first process of a distributed run starts the others, which find what it has written here.
        if trainer.is_global_zero:
            before = _check(run, config, resume)
            stack.enter_context(locked(run.path))
            if before is None or before.epochs < config.epochs:
                _begin(run, config, before)
        _fit(trainer, method, data, run, resume)
        if sharded:
            unshard(method, keep=trainer.is_global_zero)
        if trainer.is_global_zero:
            domain.save(method, config, run.model)
            run.extended.unlink(missing_ok=True)
        trainer.strategy.barrier()  # a next stage starts from what the first process has written
    return run


def _fit(
    trainer: lightning.Trainer, method: Method, data: lightning.LightningDataModule, run: Run, resume: bool
) -> None:
    """Train, and say what an early end means.

    Raises:
        InputError: Lightning refuses what a callback of the settings asks for.
        Terminated: the process was told to end.
        KeyboardInterrupt: it was interrupted.
    """
    # As an argument of `fit`, callbacks would not know of it in their setup.
    trainer.ckpt_path = str(run.checkpoint) if resume and run.checkpoint.is_file() else None
    try:
        trainer.fit(method, datamodule=data)
    except SIGTERMException as error:
        epoch, batch = trainer.current_epoch + 1, trainer.fit_loop.epoch_loop.batch_progress.current.ready
        raise Terminated(f" in epoch {epoch}, after {batch} of {trainer.num_training_batches} batches") from error
    except (MisconfigurationException, UserWarning) as error:
        raise InputError(f"the settings of trainer or checkpoint do not work here: {error}") from error
    except Exception as error:
        if trainer.is_global_zero and not resume:
            _forget(run)
        if type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"the encoder cannot be compiled here: {reason}. Leave out --compile.") from error
        raise
    except SystemExit as error:
        # Lightning turns an interrupt into exit code 1; what it means is for the caller to say.
        raise KeyboardInterrupt from error


def _trainer(
    config: RunConfig, run: Run, callbacks: list[lightning.Callback], loggers: Sequence[Any], progress: bool
) -> lightning.Trainer:
    """Lightning's Trainer for a run.

    Raises:
        InputError: Lightning refuses an argument.
    """
    check_at_least(config.trainer.get("accumulate_grad_batches", 1), 1, "accumulate_grad_batches")
    check_at_least(config.trainer.get("gradient_clip_val") or 0, 0, "gradient_clip_val")
    given = dict(config.trainer)
    if given.get("strategy") == "fsdp2":
        given["strategy"] = ShardedStrategy()
    named = [*named_loggers(given.pop("logger", None), run.path), *loggers]
    try:
        saving = CheckpointSettings(**config.checkpoint).callbacks(run.checkpoint)
    except TypeError as error:
        raise InputError(f"checkpoint is {config.checkpoint}: {error}") from error
    own: list[lightning.Callback] = [ProgressBar()] if progress else []
    around = [
        SameRun(),
        StepRandomness(config.seed),
        *callbacks,
        *named_callbacks(given.pop("callbacks", None)),
        MetricsFile(run.metrics),
        Restated(config.epochs),
        *own,
        *saving,
    ]
    trainer = make_trainer(
        given,
        max_epochs=config.epochs,
        precision=default_precision() if config.precision == "auto" else config.precision,
        callbacks=around,
        plugins=[SafeCheckpointIO()],
        logger=named or False,
        # EpochSampler divides an epoch between the processes itself.
        use_distributed_sampler=False,
    )
    most = max(os.cpu_count() or 1, MOST_PROCESSES)
    if isinstance(trainer.accelerator, CPUAccelerator) and trainer.num_devices > most:
        raise InputError(
            f"devices is {trainer.num_devices}, each a process of its own on {os.cpu_count()} processors: expected "
            f"{most} at most."
        )
    return trainer


def _check_steps(method: Method, config: RunConfig, trainer: lightning.Trainer) -> None:
    """Require that a method which makes its optimiser steps itself is not asked to make others.

    Raises:
        InputError: it is, or it would share the steps with other processes.
    """
    if method.automatic_optimization:
        return
    steps = f"{config.name} makes several optimiser steps on a batch"
    for name, unasked in (("accumulate_grad_batches", 1), ("gradient_clip_val", None)):
        if config.trainer.get(name, unasked) != unasked:
            raise InputError(f"{steps}: leave out --trainer.{name}.")
    if trainer.world_size > 1:
        raise InputError(f"{steps}: train it in one process, --trainer.devices 1.")


def _check(run: Run, config: RunConfig, resume: bool) -> RunConfig | None:
    """Require that the run directory is new, or that the one that is there can be resumed.

    Returns:
        The settings with which it was begun; None if it is new.

    Raises:
        InputError: the directory is in use, is finished, or was made with other settings.
    """
    if not resume:
        # The last of several stages is trained beside those before it.
        own = {"stages", "stages.yaml"} if (run.path / "stages.yaml").is_file() else set()
        if "mlflow" in (config.trainer.get("logger") or ""):
            own.add(MLFLOW)  # which its logger makes at its start
        if run.path.exists() and (not run.path.is_dir() or {path.name for path in run.path.iterdir()} - own):
            raise InputError(f"{run.path} exists already: add --resume to continue it, or choose another --out.")
        return None
    saved = Run.open(run.path).settings()
    more = config.epochs > saved.epochs
    for name, value in vars(saved).items():
        if value == getattr(config, name) or name == "checkpoint" or (name == "epochs" and more):
            continue
        raise InputError(
            f"the run in {run.path} was started with another {_difference(name, value, getattr(config, name))}: "
            "resume it with the same settings, or start anew with another --out."
        )
    if run.finished and not more:
        raise InputError(
            f"the run in {run.path} is finished: there is nothing to resume. --epochs with more than {saved.epochs} "
            "extends it."
        )
    if run.finished and not run.checkpoint.is_file():
        raise InputError(f"{run.checkpoint} is missing: the run cannot be extended. Start another with --init_from.")
    return saved


def _begin(run: Run, config: RunConfig, before: RunConfig | None) -> None:
    """Write the settings; of a run that is extended, mark that its model is that of before.

    Raises:
        InputError: the directory cannot be written.
    """
    try:
        if before is not None and run.finished:
            run.extended.touch()
        config.save(run.config)
    except OSError as error:
        raise InputError(f"cannot write to {run.path}: {error.strerror}. Choose another --out.") from error


def _forget(run: Run) -> None:
    """Remove what a run has written if it failed before there was anything to resume."""
    if run.checkpoint.is_file():
        return
    for path in (run.config, run.metrics, run.diagnostics):
        path.unlink(missing_ok=True)
    with suppress(OSError):  # somebody else's files are in it
        run.path.rmdir()


def _difference(name: str, before: Any, now: Any) -> str:
    """What differs between two values of a setting."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in [*before, *now]:
            if before.get(key) != now.get(key):
                return f"{name}.{key} ({before.get(key)!r}, now {now.get(key)!r})"
    return f"{name} ({before!r}, now {now!r})"


@contextmanager
def _in_one_order() -> Iterator[None]:
    """Let several threads add in the same order in every run.

    Without it the gradient of rows that were selected by indices is added up by whichever thread comes first.
    """
    before = torch.are_deterministic_algorithms_enabled(), torch.is_deterministic_algorithms_warn_only_enabled()
    memory: Any = torch.utils.deterministic
    filled = memory.fill_uninitialized_memory
    # Memory that is not written yet is not read either: filling it would only take time.
    memory.fill_uninitialized_memory = False
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        memory.fill_uninitialized_memory = filled
