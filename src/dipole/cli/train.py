"""`dipole train`."""

import inspect
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import jsonargparse

from dipole.cli.loading import renamed
from dipole.cli.parsing import parse, parser, taken
from dipole.cli.tables import show
from dipole.cli.weights import with_weights
from dipole.errors import InputError

DESCRIPTION = (
    "Train a method, named by a recipe or by itself, and write a run directory. Settings come from the recipe (unless "
    "--data names other data than it is for), then --config, then the flags. `dipole train NAME --help` lists the "
    "arguments of a method and its views. --monitor.every N (or off) says after how many epochs the embeddings are "
    "looked at while it trains. --preset quick, standard or paper: settings for images of your own, chosen by their "
    "number and size (for simclr; standard where --data is not the recipe's), or those that were published. "
    "--weights FOLDER starts from a trained encoder: of timm, or of a run."
)
# Flags on which it depends what a preset chooses.
DECIDING = (
    *("config", "data", "data_root", "loading.column", "image_size", "out"),
    *("method.encoder", "method.optimizer", "method.weights", "method.pretrained"),
)


def trainer_options(
    accelerator: str = "auto",
    devices: int | str = "auto",
    strategy: str = "auto",
    num_nodes: int = 1,
    accumulate_grad_batches: int = 1,
    gradient_clip_val: float | None = None,
    sync_batchnorm: bool = False,
    logger: str | None = None,
    callbacks: list[dict[str, Any]] | None = None,
) -> None:
    """Arguments of Lightning's Trainer.

    Args:
        accelerator: `cpu`, `gpu`, `mps`, or `auto`.
        devices: number of devices, or `auto`.
        strategy: `ddp`, or `auto`; `fsdp2` divides weights, gradients and the optimiser's state between the devices.
        num_nodes: number of machines.
        accumulate_grad_batches: batches per optimiser step.
        gradient_clip_val: largest norm of the gradient.
        sync_batchnorm: batch statistics over all processes.
        logger: `csv`, `tensorboard`, `wandb` or `mlflow`, several with commas, beside metrics.csv.
        callbacks: of Lightning, each with its name and arguments: `[{name: EarlyStopping, monitor: loss}]`.
    """


def run(arguments: Sequence[str]) -> None:
    """Train and print the last metrics."""
    arguments = with_weights(renamed(arguments))
    name = arguments[0] if arguments and not arguments[0].startswith("-") else None
    every, flags = taken("--monitor.every", arguments[1:] if name else arguments)
    preset, flags = taken("--preset", flags)
    monitor = _monitoring(every)

    from lightning.pytorch.utilities import rank_zero_only

    from dipole.runs import Run, train
    from dipole.runs.stages import saved_stages, staged, stages_of, train_stages

    if name is None and preset is not None:
        raise InputError("--preset chooses the settings of a method that is named: `dipole train simclr --preset …`.")
    if name is None and "--resume" in flags and "--config" not in flags:
        # The run itself says what it is.
        resumed = parser("train", DESCRIPTION)
        resumed.add_argument("--out", type=str, required=True)
        resumed.add_argument("--resume", action="store_true")
        resumed.add_argument("--epochs", type=int | None, default=None, help="more than before, to extend the run")
        options = parse(resumed, flags)
        stages = saved_stages(options.out)
        if stages is not None and options.epochs is not None:
            raise InputError("a run in stages is not extended: start another from it with --init_from.")
        if stages is not None:
            result = train_stages(stages, options.out, resume=True, monitor=monitor)
        else:
            saved = Run.open(options.out).settings()
            more = saved if options.epochs is None else replace(saved, epochs=options.epochs)
            result = train(more, options.out, resume=True, monitor=monitor)
    else:
        from dipole.cli.preset import choose

        settings = _settings(name, flags)
        _join(settings, flags)
        deciding = {key: _value_of(f"--{key}", flags) for key in DECIDING}
        there = {"resume": "--resume" in flags or None, "help": bool({"--help", "-h"} & set(flags)) or None}
        chosen = choose(name, preset, settings, {**deciding, **there})
        settings = chosen.settings
        found = [_config(each, flags) for each in stages_of(settings) or [settings]]
        configs, (out, resume) = [config for config, _ in found], found[0][1]
        line = chosen.line(configs[0])
        if line is not None:
            rank_zero_only(print)(line)
        alone = staged(configs[0]) if len(configs) == 1 else None
        if "stages" in settings or alone:
            result = train_stages(alone or configs, out, resume=resume, monitor=monitor)
        else:
            result = train(configs[0], out, resume=resume, monitor=monitor)
    # Every process of a distributed run comes here; one tells the result.
    rank_zero_only(_summary)(result)


def _join(settings: dict[str, Any], flags: list[str]) -> None:
    """Meet the other processes, if others have started them, before the data are looked at."""
    import yaml

    from dipole.runs.group import PLACES, join

    asked = {name: _value_of(f"--trainer.{name}", flags) for name in PLACES}
    given = {name: yaml.safe_load(value) for name, value in asked.items() if value is not None}
    join({**settings.get("trainer", {}), **given})


def _monitoring(every: str | None) -> bool | int:
    """How often the quality of the embeddings is looked at."""
    if every in (None, "1"):
        return True
    if every == "off":
        return False
    if not str(every).isdecimal() or int(str(every)) < 1:
        raise InputError(f"--monitor.every is {every!r}: expected a number of epochs, or off.")
    return int(str(every))


def _config(settings: dict[str, Any], flags: list[str]) -> tuple[Any, tuple[str, bool]]:
    """The settings of a run with the flags over them, and `--out` and `--resume`."""
    from dipole.methods.registry import get_method
    from dipole.methods.wrapping import Wrapping, base_of
    from dipole.runs import RunConfig
    from dipole.runs.saving import CheckpointSettings

    name = settings["name"]
    if issubclass(get_method(name), Wrapping):
        named, flags = taken("--method.base", flags)
        given = settings.get("method", {})
        if named is not None and named != (base_of(get_method(name), given) or (None,))[0]:
            given = {**given, "base": named}
        settings = {**settings, "method": given}
    base = base_of(get_method(name), settings.get("method", {}))
    options = parse(_parser(name, settings, base), flags).as_dict()
    place = options.pop("out"), options.pop("resume")
    options.pop("config")
    if base is not None:
        options["method"]["base"] = {"name": base[0], **options["method"].get("base", {})}
    for group, asked in (("trainer", trainer_options), ("checkpoint", CheckpointSettings)):
        unasked = {key: entry.default for key, entry in inspect.signature(asked).parameters.items()}
        options[group] = {key: value for key, value in options[group].items() if value != unasked[key]}
    return RunConfig(name=name, **options), place


def _settings(name: str | None, flags: list[str]) -> dict[str, Any]:
    """The defaults that a recipe and a file of settings give."""
    from dipole.runs.config import read_settings, recipes
    from dipole.runs.stages import merged

    config = _value_of("--config", flags)
    if name is None and config is None:
        if "--help" in flags or "-h" in flags:
            _parser(None, {}, None).print_help()
            raise SystemExit(0)
        known = ", ".join(recipes())
        raise InputError(f"name a recipe or a method: `dipole train NAME`. Recipes: {known}.")
    given = {} if config is None else read_settings(config)
    if given.get("method", {}).get("stage"):
        raise InputError(f"--config {config} is of a later stage of a run: give RUN/stages/1/config.yaml, its first.")
    if name is None:
        settings = given
    else:
        settings = _recipe(name, _value_of("--data", flags) or given.get("data"))
        if given.get("name", settings["name"]) != settings["name"]:
            raise InputError(f"--config {config} is for {given['name']!r}, not for {settings['name']!r}.")
        settings = merged(settings, given)
    if "name" not in settings:
        raise InputError(f"--config {config} does not name a method: add a line such as 'name: simclr'.")
    return settings


def _recipe(name: str, data: str | None) -> dict[str, Any]:
    """The settings of a recipe; of a method alone if there is no recipe of that name, or if it is for other data."""
    from dipole.methods.registry import get_method
    from dipole.runs.config import read_settings, recipes

    shipped = recipes()
    if name not in shipped:
        return {"name": get_method(name).card.name}
    settings = read_settings(shipped[name])
    # Crops and sizes that suit one set of images would quietly spoil another; a recipe that names no data suits all.
    return settings if data in (None, settings.get("data", data)) else {"name": settings["name"]}


def _value_of(flag: str, flags: list[str]) -> str | None:
    """The value of one flag, read before the parser can be made."""
    for position, argument in enumerate(flags):
        if argument == flag and position + 1 < len(flags):
            return flags[position + 1]
        if argument.startswith(flag + "="):
            return argument.partition("=")[2]
    return None


def _parser(
    name: str | None, settings: dict[str, Any], base: tuple[str, dict[str, Any]] | None
) -> jsonargparse.ArgumentParser:
    """The parser for one method and the one that it wraps, with the settings as defaults."""
    result = parser(f"train {name or 'NAME'}", DESCRIPTION)
    result.add_argument("--config", type=str | None, default=None, help="file of settings, e.g. a run's config.yaml")
    result.add_argument("--out", type=str, required=True, help="run directory to write")
    result.add_argument("--resume", action="store_true", help="continue the run in --out")
    result.add_argument("--data", type=str, default="", help="a data set's name, a file or a folder; built in if empty")
    result.add_argument("--data_root", type=str | None, default=None, help="folder of named data sets")
    result.add_argument("--batch_size", type=int, default=128, help="samples per step and process")
    result.add_argument("--epochs", type=int, default=20, help="passes over the training set")
    result.add_argument("--seed", type=int, default=0, help="of everything that is drawn")
    result.add_argument("--num_workers", type=int, default=0, help="processes that read data")
    result.add_argument("--precision", type=str, default="auto", help="auto, 32-true, bf16-mixed, 16-mixed or 64-true")
    result.add_argument("--compile", action="store_true", help="compile the encoder; its first steps take minutes")
    result.add_argument(
        "--init_from", type=str | None, default=None, help="a run or a checkpoint whose weights training starts from"
    )
    if name is None:
        return result
    from dipole.methods.registry import get_method
    from dipole.methods.wrapping import Wrapping
    from dipole.runs.domains import domain_of
    from dipole.runs.saving import CheckpointSettings

    method = wrapper = get_method(name)
    domain = domain_of(name, settings.get("method", {}))
    if domain.name == "images":
        result.add_argument("--image_size", type=int | None, default=None, help="pixels; the data set's own by default")
    _add_method(result, method, "method", set(domain.derived_method_options))
    if base is not None:
        method = get_method(base[0])
        _add_method(result, method, "method.base", set(domain.derived_method_options))
    if hasattr(method, "views_class"):
        result.add_class_arguments(method.views_class, "views", skip=set(domain.derived_view_options))
    result.add_function_arguments(domain.loading_options, "loading")
    result.add_function_arguments(trainer_options, "trainer")
    result.add_class_arguments(CheckpointSettings, "checkpoint")
    given = {key: value for key, value in settings.items() if key != "name"}
    if domain.name != "images" and given.get("image_size") is None:
        given.pop("image_size", None)  # stands in the settings of every run
    if "loading" in given:
        given["loading"] = {k: v for k, v in given["loading"].items() if k not in domain.derived_loading_options}
    changed = wrapper.view_changes(method) if issubclass(wrapper, Wrapping) else {}
    if changed:
        given["views"] = {**changed, **given.get("views", {})}
    if "method" in given:
        given["method"] = {k: v for k, v in given["method"].items() if k not in domain.derived_method_options}
        if base is not None:
            given["method"]["base"] = {k: v for k, v in base[1].items() if k not in domain.derived_method_options}
    try:
        result.parse_object({"out": "", **given})  # set_defaults would take any value
    except jsonargparse.ArgumentError as error:
        raise InputError(f"the settings do not fit {name}: {error}") from error
    own = given.get("method", {}).pop("base", {}) if base is not None else {}
    for key, value in {**given, "method.base": own}.items():
        result.set_defaults(
            {f"{key}.{inner}": v for inner, v in value.items()} if isinstance(value, dict) else {key: value}
        )
    return result


def _add_method(result: jsonargparse.ArgumentParser, method: Any, place: str, derived: set[str]) -> None:
    """Add the arguments of a method, without what the data decide and without the method that it wraps."""
    # The encoder may be a module in Python; on the command line it is a name.
    result.add_class_arguments(method, place, skip={*derived, "encoder", "base"} & set(method.arguments()))
    if "encoder" in method.arguments():
        default = method.arguments()["encoder"].default
        result.add_argument(f"--{place}.encoder", type=str, default=default, help="name or path of an encoder")


def _summary(result: Any) -> None:
    """The metrics of the last epoch."""
    import csv

    with result.metrics.open(newline="", encoding="utf-8") as file:
        *_, last = csv.DictReader(file)
    rows = [[key, f"{float(value):.6g}"] for key, value in last.items() if value != ""]
    caption = f"dipole evaluate {result.path}\ndipole report {result.path}"
    show(f"{result.path}: last epoch", {"metric": "left", "value": "right"}, rows, caption=caption)
    if last.get("knn") and last.get("knn_untrained"):
        settings = result.settings()
        own = settings.method.get("weights") is not None or settings.method.get("pretrained", False)
        started = settings.init_from is not None or own
        print(in_words(float(last["knn"]), float(last["knn_untrained"]), started))


def in_words(trained: float, untrained: float, started: bool = False) -> str:
    """Say what training has done to the accuracy of nearest neighbours; of a run that started from another one, too.

    Example:
        >>> in_words(0.9, 0.8)
        'Nearest neighbours name the class of 90.0 % of the test images; with the untrained encoder it was 80.0 %.'
    """
    first = f"Nearest neighbours name the class of {trained:.1%} of the test images".replace("%", " %")
    before = f"{untrained:.1%}".replace("%", " %")
    what = "what the run started from" if started else "the untrained encoder"
    if trained > untrained:
        return f"{first}; with {what} it was {before}."
    return (
        f"{first}, no more than with {what} ({before}): training has not helped yet. What usually does: "
        "more epochs, a learning rate 3 or 10 times larger or smaller, milder crops (--views.crop_scale [0.3,1]), a "
        f"larger batch{'' if started else '; or the weights of a trained encoder to start from (--weights)'}."
    )
