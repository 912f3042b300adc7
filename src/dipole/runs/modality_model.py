"""Models of several modalities as people share them: weights, tokenizers, towers of texts that transformers opens."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

from torch import nn

from dipole.errors import InputError
from dipole.methods.base import Method
from dipole.methods.multimodal.base import AnyModal, ModalityEmbedding
from dipole.methods.registry import get_method
from dipole.methods.wrapping import Wrapping, base_of, unwrapped
from dipole.nn.clap_towers import save_sound_tower
from dipole.nn.clip_towers import OPEN_CLIP, ImageTower, TextTower, save_clip, save_clip_tower
from dipole.nn.modalities import PretrainedText, TokenEncoder
from dipole.nn.text.encoder import open_tokenizer, quiet
from dipole.runs.model import load_model, model_config, model_folder, save_model

TOWERS, CLIP = "towers", "clip"
# Arguments that a method which goes on from a run takes over.
TOWERS_OF_RUN = ("image_encoder", "text_encoder", "sound_encoder", "text_length", "embedding_dim")


def save_modality_model(
    method: AnyModal, folder: str | Path, *, name: str, arguments: dict[str, Any], facts: dict[str, Any]
) -> None:
    """Write `dipole.json`, `model.safetensors` and, in `towers/NAME/`, the tokenizer of each text modality.

    Where an encoder is a transformers model, that folder also holds its weights and opens in transformers. Two towers
    that came from one library, an image's and a text's, are one CLIP again, in `clip/`.

    Args:
        method: whose weights are written.
        folder: made if it is missing.
        name: of the method.
        arguments: of its constructor, as JSON can hold them.
        facts: what else is needed to embed.
    """
    folder = Path(folder)
    for modality in method.modalities:
        place, encoder = tower_folder(folder, modality), method.encoders[modality]
        save_clip_tower(encoder, place)
        save_sound_tower(encoder, place)
        tokenizer: Any = method.tokenizers.get(modality)
        with quiet():
            if hasattr(tokenizer, "save_pretrained"):
                place.mkdir(parents=True, exist_ok=True)
                tokenizer.save_pretrained(place)
            if isinstance(encoder, PretrainedText) and hasattr(encoder.encoder, "backbone"):
                encoder.encoder.backbone.save_pretrained(place)  # type: ignore[operator]
    if not isinstance(method, Wrapping):  # one CLIP is not all that such a method holds
        save_whole_clip(method, folder / CLIP)
    save_model(method, folder, name=name, arguments=arguments, facts=facts)


def save_whole_clip(method: AnyModal, folder: Path) -> None:
    """Write the towers of a CLIP as one model, if the method holds one of images and one of texts and nothing more."""
    towers = [method.encoders[name] for name in method.modalities]
    image = [tower for tower in towers if isinstance(tower, ImageTower)]
    text = [tower for tower in towers if isinstance(tower, TextTower)]
    if not len(image) == len(text) == 1 or image[0].config != text[0].config:
        return
    if all(isinstance(projection, nn.Identity) for projection in method.projections.values()):
        save_clip(image[0], text[0], float(method.logit_scale().detach()), folder)


def load_modality_model(folder: Path, config: dict[str, Any], encoder: nn.Module | None = None) -> Method:
    """Load what `save_modality_model` has written.

    Args:
        folder: of the model.
        config: the content of `dipole.json`.
        encoder: not used; a module of the caller's own cannot be built again.

    Raises:
        InputError: a file is missing or not whole.
    """
    base = base_of(get_method(config["name"]), config["method"])
    arguments = dict(config["method"] if base is None else base[1])
    # A model needs nothing but its folder: the one that an encoder came from may be gone.
    own = {
        name: str(tower_folder(folder, name))
        for name in arguments["modalities"]
        if any((tower_folder(folder, name) / file).is_file() for file in ("config.json", OPEN_CLIP))
    }
    arguments["encoders"] = {**(arguments.get("encoders") or {}), **own} or None
    arguments["pretrained"] = False
    whole = arguments if base is None else {**config["method"], "base": {"name": base[0], **arguments}}
    method: Any = load_model(folder, {**config, "method": whole})
    assert isinstance(unwrapped(method), ModalityEmbedding)
    learned = [name for name in method.tokenizers if isinstance(method.encoders[name], TokenEncoder)]
    lost = [name for name in learned if not (tower_folder(folder, name) / "tokenizer.json").is_file()]
    if lost:
        raise InputError(f"{tower_folder(folder, lost[0])} holds no tokenizer.json: the model is not whole.")
    set_tokenizers(method, {name: open_tokenizer(str(tower_folder(folder, name))) for name in learned})
    loaded: Method = method
    return loaded


def learned_tokenizers(source: str | Path) -> dict[str, Any]:
    """Return the tokenizers that a trained model of several modalities has learned; none of anything else.

    A method that starts from it must read texts as it did: the same number of another tokenizer is another word.

    Args:
        source: a run or a model folder; one that is not there yet has none.
    """
    places = {name: tower_folder(model_folder(source), name) for name in given_towers(source).get("modalities") or {}}
    return {
        name: open_tokenizer(str(place))
        for name, place in places.items()
        if (place / "tokenizer.json").is_file() and not (place / "config.json").is_file()
    }


def given_towers(source: str | Path) -> dict[str, Any]:
    """Return the modalities, encoders and sizes of a trained model of several modalities; nothing of anything else.

    Args:
        source: a run or a model folder; one that is not there yet has none.
    """
    try:
        config = model_config(source)
        base = base_of(get_method(config["name"]), config["method"])
    except InputError:
        return {}
    arguments = config["method"] if base is None else base[1]
    return {name: arguments[name] for name in ("modalities", *TOWERS_OF_RUN) if arguments.get(name) is not None}


def set_tokenizers(method: AnyModal, tokenizers: dict[str, Any]) -> None:
    """Give text encoders the tokenizers that were learned for them."""
    for name, tokenizer in tokenizers.items():
        encoder = method.encoders[name]
        if isinstance(encoder, TokenEncoder):
            encoder.tokenizer = tokenizer


def tower_folder(folder: Path, modality: str) -> Path:
    """Return where what belongs to a modality alone lies in the folder of a model.

    Example:
        >>> tower_folder(Path("model"), "a/b").as_posix()
        'model/towers/a%2Fb'
    """
    return folder / TOWERS / quote(modality, safe="").replace(".", "%2E")
