"""`dipole train NAME --weights FOLDER`: start from an encoder that is trained already."""

from collections.abc import Sequence
from pathlib import Path

from dipole.cli.parsing import taken
from dipole.errors import InputError

NAMES = (("dipole.json", "method", "encoder"), ("config.json", "architecture"))  # where a folder says what it holds


def with_weights(arguments: Sequence[str]) -> list[str]:
    """Write `--weights PLACE` as `--method.weights FILE --method.encoder NAME`.

    Args:
        arguments: with underscores. PLACE is a .safetensors file, which does not say what encoder it is of; or a
            folder that does: one of timm as its hub has them (`config.json`, `model.safetensors`), a run of dipole or
            its `model/`.

    Raises:
        InputError: a folder without weights, or that does not name its encoder.
    """
    place, rest = taken("--weights", arguments)
    if place is None:
        return list(arguments)
    folder = Path(place).expanduser()
    if not folder.is_dir():
        return [*rest, "--method.weights", place]
    if (folder / "model" / "dipole.json").is_file():
        folder /= "model"
    weights = folder / "model.safetensors"
    if not weights.is_file():
        raise InputError(f"--weights {place}: the folder holds no model.safetensors; give a file or another folder.")
    flags = [*rest, "--method.weights", str(weights)]
    if any(argument.partition("=")[0] == "--method.encoder" for argument in rest):
        return flags
    return [*flags, "--method.encoder", _encoder(folder)]


def _encoder(folder: Path) -> str:
    """The name of the encoder whose weights a folder holds."""
    from dipole.files import read_json

    for file, *keys in NAMES:
        if not (folder / file).is_file():
            continue
        found = read_json(folder / file)
        for key in keys:
            found = found.get(key) if isinstance(found, dict) else None
        if isinstance(found, str):
            return found
    raise InputError(f"--weights {folder} does not name its encoder: add --method.encoder, such as resnet18.")
