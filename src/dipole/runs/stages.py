"""Training in stages: a run each, of which each starts from the one before."""

import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import yaml
from lightning.pytorch.utilities import rank_zero_only

from dipole.errors import InputError
from dipole.files import atomic_write, read_yaml
from dipole.methods.registry import get_method
from dipole.runs.config import RunConfig
from dipole.runs.directory import Run
from dipole.runs.group import join
from dipole.runs.train import train

STAGES = "stages.yaml"
PREVIOUS = "previous"  # in a recipe: `init_from: previous`


def train_stages(
    configs: Sequence[RunConfig],
    out: str | Path,
    *,
    resume: bool = False,
    progress: bool = True,
    monitor: bool | int = True,
) -> Run:
    """Train one stage after the other.

    The last stage is the run in `out`, with the model that is the result; the stages before it are runs in
    `out/stages/1`, `out/stages/2`, … Where a stage says `init_from: previous`, it starts from the one before.

    Args:
        configs: settings of the stages.
        out: the run directory to make.
        resume: continue where it was interrupted, in a stage or between two.
        progress: show progress bars.
        monitor: as of `train`.

    Returns:
        The run of the last stage.

    Raises:
        InputError: as of `train`; or the first stage has none before it.
    """
    out = Path(out)
    places = [*(out / "stages" / str(number) for number in range(1, len(configs))), out]
    stages = [
        replace(config, init_from=str(places[number - 1])) if config.init_from == PREVIOUS and number else config
        for number, config in enumerate(configs)
    ]
    if configs[0].init_from == PREVIOUS:
        raise InputError("the first stage has none before it to start from: leave out `init_from: previous`.")
    # The first process of a distributed run starts the others, or meets them; they find what it has written here.
    first = join(configs[0].trainer)
    if first and not resume and out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(f"{out} exists already: add --resume to continue it, or choose another --out.")
    if resume and not (out / STAGES).is_file():
        raise InputError(f"{out} holds no run in stages: nothing to resume.")
    if Run(out).finished:
        raise InputError(f"the run in {out} is finished: there is nothing to resume.")
    if first and not resume:
        with atomic_write(out / STAGES) as temporary:
            content = [asdict(config) for config in configs]
            temporary.write_text(yaml.safe_dump(content, sort_keys=False, allow_unicode=True), encoding="utf-8")
    for number, (place, config) in enumerate(zip(places, stages, strict=True), start=1):
        run = Run(place)
        if not run.finished:
            if progress and number > 1:
                rank_zero_only(sys.stderr.write)(f"stage {number} of {len(stages)}, in {place}\n")
            try:
                run = train(config, place, resume=run.config.is_file(), progress=progress, monitor=monitor)
            except InputError:
                if first and not any(Run(other).config.is_file() for other in places):
                    _forget(out)
                raise
    return run


def _forget(out: Path) -> None:
    """Remove the settings of stages none of which has begun."""
    (out / STAGES).unlink(missing_ok=True)
    for folder in (out / "stages" / "1", out / "stages", out):
        with suppress(OSError):  # it is not there, or not empty
            folder.rmdir()


def staged(config: RunConfig) -> list[RunConfig] | None:
    """Return the settings of the stages of a method that trains in stages; None for all others.

    Each stage starts from the one before, and has a seed of its own: what begins anew is not to begin alike.

    Example:
        >>> [stage.seed for stage in staged(RunConfig("multistage", method={"stages": 3}))]
        [0, 1, 2]
        >>> staged(RunConfig("simclr")) is None
        True
    """
    stages = get_method(config.name).stage_arguments(config.method)
    if stages is None:
        return None
    return [
        replace(
            config,
            method={**config.method, **arguments},
            seed=config.seed + number,
            init_from=PREVIOUS if number else config.init_from,
        )
        for number, arguments in enumerate(stages)
    ]


def saved_stages(out: str | Path) -> list[RunConfig] | None:
    """Return the settings of the stages of a run; None if it is not one in stages.

    Raises:
        InputError: the file that holds them is damaged.
    """
    path = Path(out) / STAGES
    if not path.is_file():
        return None
    try:
        return [RunConfig(**settings) for settings in read_yaml(path)]
    except TypeError as error:
        raise InputError(f"{path} does not hold the settings of stages ({error}). Start the run anew.") from error


def stages_of(settings: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Return the settings of every stage of a recipe, those they share included; None if it has none.

    Raises:
        InputError: `stages` is no list of settings.

    Example:
        >>> stages_of({"name": "simclr", "epochs": 2, "stages": [{}, {"epochs": 3}]})
        [{'name': 'simclr', 'epochs': 2}, {'name': 'simclr', 'epochs': 3}]
    """
    if "stages" not in settings:
        return None
    stages = settings["stages"]
    if not isinstance(stages, list) or not stages or not all(isinstance(stage, dict) for stage in stages):
        raise InputError(f"stages are {stages!r}: expected a list of settings, one entry for each stage.")
    shared = {key: value for key, value in settings.items() if key != "stages"}
    return [merged(shared, stage) for stage in stages]


def merged(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Return settings in which those of the second stand over those of the first, group by group.

    Example:
        >>> merged({"method": {"a": 1, "b": 2}}, {"method": {"b": 3}})
        {'method': {'a': 1, 'b': 3}}
    """
    both = {**first, **second}
    return {
        key: {**first[key], **value} if isinstance(value, dict) and isinstance(first.get(key), dict) else value
        for key, value in both.items()
    }
