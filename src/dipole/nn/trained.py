"""The image encoder of a run of dipole, as a part of another network."""

from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file

from dipole.errors import InputError
from dipole.files import read_json
from dipole.nn.encoders import ImageEncoder, build_encoder

PREFIX = "network.encoder."  # of its weights in the file of a joint embedding


def open_trained_encoder(path: str | Path) -> ImageEncoder:
    """Open the image encoder that a run has trained.

    Args:
        path: a run directory, or the model folder in it.

    Raises:
        InputError: there is no model of images.
    """
    folder = Path(path)
    folder = folder if (folder / "dipole.json").is_file() else folder / "model"
    advice = "expected the folder of a run on images, as `dipole train simclr` writes it."
    if not (folder / "dipole.json").is_file():
        raise InputError(f"{path} holds no dipole.json: {advice}")
    config = read_json(folder / "dipole.json")
    try:
        name, size = config["method"]["encoder"], int(config["image_size"])
        weights = load_file(folder / "model.safetensors")
    except (KeyError, TypeError, ValueError, OSError, SafetensorError) as error:
        raise InputError(f"{folder} is no model of images ({error}): {advice}") from error
    encoder = build_encoder(name, image_size=size)
    own = {key.removeprefix(PREFIX): value for key, value in weights.items() if key.startswith(PREFIX)}
    try:
        encoder.load_state_dict(own)
    except RuntimeError as error:
        raise InputError(f"{folder} does not hold the weights of {name}: {advice}") from error
    return encoder
