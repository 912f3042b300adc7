"""The files of a run."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from dipole.errors import InputError
from dipole.runs.config import RunConfig
from dipole.runs.safety import refuse_pickles

LOCK_ATTEMPTS = 20


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Keep a folder for this process; the end of the process, whatever ends it, gives it back.

    Raises:
        InputError: another process has it, or it cannot be made.
    """
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        yield
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise InputError(f"cannot write to {folder}: {error.strerror}. Choose another --out.") from error
    try:
        for attempt in range(LOCK_ATTEMPTS):
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if attempt == LOCK_ATTEMPTS - 1:
                    raise InputError(
                        f"another process is training in {folder}: wait, or choose another --out."
                    ) from error
                time.sleep(0.1)  # the workers of a process that was killed follow it within moments
        yield
    finally:
        os.close(handle)


@dataclass(frozen=True)
class Run:
    """A run directory: where each of its files lies.

    Args:
        path: of the directory.
        other_data: what stands in for the data that the settings name.
        other_loading: what stands in for arguments of `loading:` in the settings.

    Example:
        >>> Run(Path("runs/x")).model
        PosixPath('runs/x/model')
    """

    path: Path
    other_data: str | None = None
    other_loading: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def open(cls, path: str | Path) -> "Run":
        """Open a directory that holds a run.

        Raises:
            InputError: it is missing, holds no run, or holds a pickle.
        """
        run = cls(Path(path))
        if not run.path.is_dir():
            raise InputError(f"there is no run at {path}: give the folder that `dipole train … --out` wrote.")
        if not run.config.is_file():
            raise InputError(f"{path} is not a run: it has no config.yaml.")
        refuse_pickles(run.path)
        return run

    @property
    def config(self) -> Path:
        """Resolved settings."""
        return self.path / "config.yaml"

    @property
    def metrics(self) -> Path:
        """One row of metrics per epoch."""
        return self.path / "metrics.csv"

    @property
    def diagnostics(self) -> Path:
        """Geometry of the embeddings per epoch."""
        return self.path / "diagnostics.json"

    @property
    def evaluation(self) -> Path:
        """Result of `dipole evaluate`."""
        return self.path / "evaluation.json"

    @property
    def checkpoint(self) -> Path:
        """State from which training continues."""
        return self.path / "checkpoints" / "last.safetensors"

    @property
    def model(self) -> Path:
        """What people share: weights and how to build the network."""
        return self.path / "model"

    @property
    def finished(self) -> bool:
        """Whether training has ended: the description of the model is the last file that it writes."""
        return (self.model / "dipole.json").is_file() and not self.extended.is_file()

    @property
    def extended(self) -> Path:
        """Stands while a finished run is trained for more epochs; its model is that of before."""
        return self.path / "extended"

    @property
    def report(self) -> Path:
        """The report page."""
        return self.path / "report.html"

    def settings(self) -> RunConfig:
        """Read the settings."""
        settings = RunConfig.load(self.config)
        data = settings.data if self.other_data is None else self.other_data
        return replace(settings, data=data, loading={**settings.loading, **self.other_loading})
