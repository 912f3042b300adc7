"""`dipole train NAME --preset …`: settings that the number and size of the images choose."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dipole.errors import InputError
from dipole.runs.config import read_settings
from dipole.runs.presets import METHODS, OPTIMIZATION, Measured, check_preset, fitting, in_a_line, measure
from dipole.runs.stages import merged


@dataclass(frozen=True)
class Chosen:
    """Settings below the flags, and the images that a preset chose them by, if one did."""

    settings: dict[str, Any]
    preset: str = "paper"
    measured: Measured | None = None

    def line(self, config: Any) -> str | None:
        """Say what the run is set to, flags included; None if a preset chose nothing.

        Args:
            config: of the run.
        """
        return None if self.measured is None else in_a_line(self.measured, self.preset, vars(config))


def choose(name: str | None, preset: str | None, settings: dict[str, Any], flags: dict[str, Any]) -> Chosen:
    """Put what a preset chooses in place of a recipe, below a file of settings.

    Args:
        name: of the recipe or method that was asked for; None if a file says it.
        preset: that was asked for; None for `standard`, where the recipe is for other data.
        settings: what the recipe and the file give.
        flags: those that decide, by name: config, data, data_root, loading.column, image_size, out,
            method.encoder, method.optimizer, method.weights, method.pretrained; resume, help: whether they are there.

    Raises:
        InputError: another preset, a method without one, or images that cannot be read.
    """
    fits = "data" in settings or flags["data"] is None or flags["config"] is not None
    if preset is None and (name not in METHODS or fits):
        return Chosen(settings)
    check_preset(preset := preset or "standard")
    if name not in METHODS:
        raise InputError(f"--preset is for {', '.join(METHODS)}, by name: leave it out, or train {METHODS[0]}.")
    given = {} if flags["config"] is None else read_settings(flags["config"])
    data = {"data": settings["data"]} if "data" in settings else {}
    settings = {"name": settings["name"], **data, **given}
    if preset == "paper" or flags["help"]:
        return Chosen(settings)
    if flags["resume"] and flags["out"] and (Path(flags["out"]) / "config.yaml").is_file():
        return Chosen(merged(_saved(flags["out"]), settings))
    measured = _measured(settings, flags)
    chosen = _fitted(measured, preset, settings, flags)
    return Chosen(merged(chosen, settings), preset, measured)


def _fitted(measured: Measured, preset: str, settings: dict[str, Any], flags: dict[str, Any]) -> dict[str, Any]:
    """What a preset chooses, as far as it depends on what the user has chosen."""
    size = str(flags["image_size"] or settings.get("image_size"))
    whole = int(size) if size.isdecimal() and int(size) > 0 else None
    method = settings.get("method", {})
    encoder = str(flags["method.encoder"] or method.get("encoder", "convnet4"))
    weights = flags["method.weights"] or method.get("weights")
    pretrained = str(flags["method.pretrained"] or method.get("pretrained")).lower() == "true"
    started = (weights is not None or pretrained) and not encoder.startswith(("convnet4", "mlp", "small-alexnet"))
    chosen = fitting(measured, preset, image_size=whole, started=started)
    if flags["method.optimizer"] or "optimizer" in method:
        # A learning rate belongs to its optimiser.
        chosen["method"] = {key: value for key, value in chosen["method"].items() if key not in OPTIMIZATION}
    return chosen


def _measured(settings: dict[str, Any], flags: dict[str, Any]) -> Measured:
    """What the rules look at."""
    from dipole.data import load_image_sets

    data, root = flags["data"] or settings.get("data"), flags["data_root"] or settings.get("data_root")
    column = flags["loading.column"] or settings.get("loading", {}).get("column")
    train, _ = load_image_sets(data or "digits", root, column=column)
    return measure(train)


def _saved(out: str) -> dict[str, Any]:
    """What was chosen for a run that is resumed, whatever images have been added since."""
    from dipole.runs import Run

    saved, like = vars(Run.open(out).settings()), fitting(Measured(1, 1, False), "standard")
    return {
        key: {inner: saved[key][inner] for inner in value if inner in saved[key]}
        if isinstance(value, dict)
        else saved[key]
        for key, value in like.items()
    }
