"""The settings of a run: what was asked for, resolved, and what it was computed with."""

import importlib.metadata
import platform
import subprocess
from dataclasses import asdict, dataclass, field, fields
from importlib.resources import files
from pathlib import Path
from typing import Any, get_origin

import yaml

from dipole.errors import InputError
from dipole.files import atomic_write, read_yaml
from dipole.ops.checks import check_at_least

PRECISIONS = ("auto", "32-true", "bf16-mixed", "16-mixed", "64-true")


@dataclass
class RunConfig:
    """The settings of a training run.

    Args:
        name: of the method.
        data: name of a data set or path of a folder or file; a built-in set if it is empty.
        data_root: folder in which the files of named data sets lie.
        image_size: height and width of the views of images in pixels; the data set's own if it is None.
        batch_size: samples per step and process.
        epochs: passes over the training set.
        seed: of weights, order, views and everything else that is drawn.
        num_workers: processes that read data.
        precision: `auto`, `32-true`, `bf16-mixed`, `16-mixed` or `64-true`.
        compile: whether `torch.compile` compiles the encoder and the other modules of the method.
        method: arguments of the method's class.
        views: arguments of its views' class.
        loading: how data are read, for fields that have a choice.
        trainer: arguments of Lightning's Trainer, such as `devices` and `strategy`; `logger` and `callbacks` by name,
            see `dipole.runs.extras`.
        checkpoint: when the state of the run is written, see `CheckpointSettings`.
        init_from: a run whose weights training starts from, as far as names and shapes agree.
    """

    name: str
    data: str = ""
    data_root: str | None = None
    image_size: int | None = None
    batch_size: int = 128
    epochs: int = 20
    seed: int = 0
    num_workers: int = 0
    precision: str = "auto"
    compile: bool = False
    method: dict[str, Any] = field(default_factory=dict)
    views: dict[str, Any] = field(default_factory=dict)
    loading: dict[str, Any] = field(default_factory=dict)
    trainer: dict[str, Any] = field(default_factory=dict)
    checkpoint: dict[str, Any] = field(default_factory=dict)
    init_from: str | None = None

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            expected: Any = dict if get_origin(entry.type) is dict else entry.type
            if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
                raise InputError(f"{entry.name} is {value!r}: expected {getattr(expected, '__name__', expected)}.")
        check_at_least(self.epochs, 1, "epochs")
        check_at_least(self.batch_size, 2, "batch_size")
        check_at_least(self.num_workers, 0, "num_workers")
        if not 0 <= self.seed < 2**63:
            raise InputError(f"seed is {self.seed}: expected a whole number from 0 to below 2⁶³.")
        if self.precision not in PRECISIONS:
            raise InputError(f"precision is {self.precision!r}: expected one of {', '.join(PRECISIONS)}.")

    def save(self, path: str | Path) -> None:
        """Write the settings and what the run was computed with, as YAML."""
        content = {**asdict(self), "provenance": provenance()}
        with atomic_write(path) as temporary:
            temporary.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> "RunConfig":
        """Read the settings of a run or of a recipe.

        Raises:
            InputError: the file is missing or does not hold the settings of a run.
        """
        content = read_settings(path)
        if "name" not in content:
            raise InputError(f"{path} does not name a method: it needs the key 'name'.")
        return cls(**{entry.name: content[entry.name] for entry in fields(cls) if entry.name in content})


def read_settings(path: str | Path) -> dict[str, Any]:
    """Read settings from YAML, without what the run was computed with.

    Raises:
        InputError: the file is missing, not YAML, or holds a key that is no setting or a group that is none.
    """
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise InputError(f"{path} does not hold settings: expected lines such as 'name: simclr'.")
    content.pop("provenance", None)
    unknown = sorted(set(content) - {entry.name for entry in fields(RunConfig)} - {"stages"})
    if unknown:
        raise InputError(f"{path} has the unknown setting {unknown[0]!r}.")
    if not isinstance(content.get("name", ""), str):
        raise InputError(f"{path} names the method {content['name']!r}: expected a line such as 'name: simclr'.")
    for group in ("method", "views", "loading", "trainer", "checkpoint"):
        if not isinstance(content.get(group, {}), dict):
            raise InputError(f"{path} has {group} = {content[group]!r}: expected indented lines 'argument: value'.")
    return content


def recipes() -> dict[str, Path]:
    """Return the recipes that dipole ships, by name.

    Example:
        >>> "cacr" in recipes()
        True
    """
    folder = Path(str(files("dipole"))) / "recipes"
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def provenance() -> dict[str, str | None]:
    """Return the versions and the commit that a result depends on.

    Example:
        >>> sorted(provenance())
        ['dipole', 'git_commit', 'lightning', 'platform', 'python', 'torch']
    """
    return {
        **{package: importlib.metadata.version(package) for package in ("dipole", "torch", "lightning")},
        "python": platform.python_version(),
        "platform": platform.platform(terse=True),
        "git_commit": _git_commit(),
    }


def _git_commit() -> str | None:
    """The commit of the source tree that dipole runs from, if it is one."""
    folder = Path(__file__).parent
    command = ["git", "-C", str(folder), "rev-parse", "HEAD"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    # An installed package can lie inside somebody else's repository; only a source tree has this neighbour.
    is_source = (folder.parents[2] / "pyproject.toml").is_file()
    return result.stdout.strip() if result.returncode == 0 and is_source else None
