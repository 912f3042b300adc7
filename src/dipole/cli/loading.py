"""The options `--loading.…` of every verb that reads data: those of `train`, with the run's own as defaults."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jsonargparse

from dipole.cli.parsing import underscored


def add_loading(parser: jsonargparse.ArgumentParser, arguments: Sequence[str]) -> None:
    """Add the options by which the domain of a run reads data.

    Args:
        parser: of the verb; nothing is added where no run is named or the path holds none, which the verb will say.
        arguments: of the verb; the first that is a folder is the run.
    """
    path = next((argument for argument in arguments if not argument.startswith("-") and Path(argument).is_dir()), None)
    if path is None:
        return
    from dipole.errors import InputError
    from dipole.runs import Run
    from dipole.runs.domains import domain_of
    from dipole.runs.model import model_config

    try:
        if (Path(path) / "config.yaml").is_file():
            settings = Run.open(path).settings()
            domain, own = domain_of(settings.name, settings.method), settings.loading
        else:
            config = model_config(path)
            domain = domain_of(config["name"], config["method"])
            own = {**config.get("loading", {}), **config.get("columns", {})}
    except InputError:
        return
    parser.add_function_arguments(domain.loading_options, "loading")
    parser.set_defaults({f"loading.{name}": value for name, value in domain.known_loading(own).items()})


def loading_of(options: Any) -> dict[str, Any]:
    """Return what was parsed, as the verbs take it."""
    return dict(vars(options.loading)) if "loading" in options else {}


SHORT = ("--column", "--labels", "--label_column")


def renamed(arguments: Sequence[str]) -> list[str]:
    """Return arguments in which `--column`, `--labels` and `--label-column` have their full names.

    Example:
        >>> renamed(["run", "--column=body", "--label-column", "age"])
        ['run', '--loading.column=body', '--loading.label_column', 'age']
    """
    return [f"--loading.{a[2:]}" if a.partition("=")[0] in SHORT else a for a in underscored(arguments)]
