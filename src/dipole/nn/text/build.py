"""Text encoders by path or name, each with the settings that its folder says."""

from pathlib import Path
from typing import Any

from torch import nn

from dipole.errors import InputError
from dipole.files import read_json
from dipole.nn.text.dropout import set_dropout
from dipole.nn.text.encoder import TextEncoder, lower_cased, open_tokenizer, open_transformer
from dipole.nn.text.pooling import Pooling
from dipole.nn.text.static import open_static

STATIC = "static:"


def build_text_encoder(
    encoder: str | nn.Module,
    *,
    pooling: Pooling = "mean",
    max_length: int = 128,
    dropout: float | None = None,
) -> TextEncoder:
    """Build a text encoder.

    Args:
        encoder: folder or Hugging Face name of a transformers model with safetensors weights; the same after
            `"static:"` for its table of token embeddings alone (`StaticTextEncoder`); or a `TextEncoder`. The latter
            and a folder of sentence-transformers keep their own pooling, length, normalisation and prompts.
        pooling: how token states become an embedding, see `pool`.
        max_length: tokens of a text that are read, special tokens included.
        dropout: probability of every dropout; the model's own if None.

    Returns:
        The encoder.

    Raises:
        InputError: the model is not found or cannot be reached, has no safetensors weights or no fast tokenizer; or an
            argument is out of range.

    Example:
        >>> import tempfile
        >>> from dipole.nn.text import new_bert
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     encoder = build_text_encoder(str(new_bert(["a few words"], folder, width=8)), max_length=16)
        >>> encoder.width, encoder.pooling
        (8, 'mean')
    """
    if isinstance(encoder, TextEncoder):
        built = encoder
    elif isinstance(encoder, str) and encoder.startswith(STATIC):
        built = open_static(encoder.removeprefix(STATIC), pooling=pooling, max_length=max_length)
    elif isinstance(encoder, str):
        backbone, tokenizer = open_transformer(encoder), open_tokenizer(encoder)
        # BERT's pooler is no part of a sentence embedding; without a gradient it would stall data-parallel training.
        if getattr(backbone, "pooler", None) is not None:
            backbone.pooler = None
        # transformers gives models in evaluation mode, in which the views of dropout would all be the same.
        options: dict[str, Any] = {"pooling": pooling, "max_length": max_length}
        options |= own_settings(encoder)
        if options.pop("lower_case", False):
            tokenizer = lower_cased(tokenizer)
        built = TextEncoder(backbone.train(), tokenizer, **options)
    else:
        kind = type(encoder).__name__
        raise InputError(
            f"encoder is {'missing' if encoder is None else f'a {kind}'}: expected a folder, a name or a TextEncoder. "
            "Wrap a model of your own: TextEncoder(model, tokenizer). A run that was trained with one needs it again."
        )
    if dropout is not None:
        set_dropout(built, dropout)
    return built


def own_settings(folder: str) -> dict[str, Any]:
    """Return what a folder of sentence-transformers says of its embeddings, as arguments of `TextEncoder`.

    One is no argument: `lower_case` says that texts are made lower case before its tokenizer reads them.

    Raises:
        InputError: it has modules or a pooling that dipole does not compute.
    """
    place = Path(folder)
    if not (place / "modules.json").is_file():
        return {}
    found: dict[str, Any] = {}
    for module in read_json(place / "modules.json"):
        kind, part = str(module["type"]).rpartition(".")[2], place / str(module.get("path", ""))
        if kind == "Pooling":
            found["pooling"] = _own_pooling(part / "config.json")
            found["prompt_left_out"] = read_json(part / "config.json").get("include_prompt") is False
        elif kind == "Normalize":
            found["unit_length"] = True
        elif kind == "Transformer":
            length = _own_length(place, part)
            found |= {} if length is None else {"max_length": length}
            found["lower_case"] = any(
                read_json(file).get("do_lower_case") is True
                for file in {place / "sentence_bert_config.json", part / "sentence_bert_config.json"}
                if file.is_file()
            )
        else:
            raise InputError(f"{place} ends in a module {kind!r}, which dipole does not compute: use another encoder.")
    settings = place / "config_sentence_transformers.json"
    if settings.is_file():
        content = read_json(settings)
        prompts = {name: text for name, text in (content.get("prompts") or {}).items() if text}
        default = content.get("default_prompt_name")
        found |= {"prompts": prompts, "default_prompt": default if default in prompts else None}
        if prompts and found.pop("prompt_left_out", False):
            raise InputError(
                f"{place} leaves the tokens of its prompts out of the pooling (include_prompt: false), which dipole "
                "does not compute: use another encoder, or remove its prompts."
            )
    found.pop("prompt_left_out", None)
    return found


def _own_pooling(path: Path) -> str:
    """The pooling of a folder of sentence-transformers."""
    content = read_json(path)
    named = content.get("pooling_mode")
    old = {"cls": "cls_token", "mean": "mean_tokens", "lasttoken": "lasttoken"}
    modes = [named] if named else [name for name, key in old.items() if content.get(f"pooling_mode_{key}")]
    known = {"cls": "cls", "mean": "mean", "lasttoken": "last"}
    others = [key for key, value in content.items() if key.startswith("pooling_mode_") and value]
    if len(modes) != 1 or modes[0] not in known or len(others) > 1:
        raise InputError(f"{path} asks for another pooling than cls, mean or lasttoken: use another encoder.")
    return known[modes[0]]


def _own_length(place: Path, part: Path) -> int | None:
    """The longest length of a folder of sentence-transformers, if it says one that the model can read."""
    names = ("sentence_bert_config.json", "tokenizer_config.json")
    keys = ("max_seq_length", "model_max_length")
    lengths = [
        read_json(folder / name).get(key)
        for name, key in zip(names, keys, strict=True)
        for folder in dict.fromkeys((part, place))
        if (folder / name).is_file()
    ]
    positions = (
        read_json(part / "config.json").get("max_position_embeddings") if (part / "config.json").is_file() else None
    )
    found = next((value for value in lengths if isinstance(value, int) and 1 < value < 10**6), None)
    return found if found is None or not isinstance(positions, int) else min(found, positions)
