"""Folders of models from elsewhere: read as data, never run.

Every loader that opens such a folder calls `refuse_code` first and works inside `without_code`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from dipole.errors import InputError
from dipole.files import read_json

# Large and read by the tokenizers' own parser, which knows no code.
_DATA = ("tokenizer.json", "vocab.json", "added_tokens.json")
# Of open_clip's tokenizers; everything else reaches a loader of transformers as it stands.
_TOKENIZER_OPTIONS = {
    "clean",
    "context_length",
    "language",
    "reduction_mask",
    "strip_sep_token",
    "use_fast",
    "lower_case",
}
# Modules of libraries that are installed; nothing of the folder is imported.
_KNOWN_MODULES = ("sentence_transformers.", "dipole.nn.text.shared_decoder.")
_DEPTH = 3  # of folders: the modules of sentence-transformers and the parts of pipelines lie one below


def refuse_code(folder: str | Path) -> None:
    """Refuse a folder whose files name code to be run: its own, or modules to be imported.

    Looked for in every JSON file: `auto_map` and `trust_remote_code` (transformers, open_clip), modules that are not
    sentence-transformers' own (`modules.json`), imports that peft would make (`auto_mapping`, `megatron_config`), and
    options of tokenizers that open_clip would hand on. Folders that open_clip's configuration names (`hf_model_name`,
    `hf_tokenizer_name`) are looked at, too.

    Args:
        folder: of a model; a name of the hub passes, since nothing of it is run without being asked for.

    Raises:
        InputError: a file names code; the message says which.

    Example:
        >>> refuse_code("bert-base-uncased")
    """
    _refuse(Path(folder), set())


def _refuse(folder: Path, seen: set[Path]) -> None:
    """`refuse_code`, of each folder once."""
    if not folder.is_dir() or folder.resolve() in seen:
        return
    seen.add(folder.resolve())
    for path in sorted(folder.rglob("*.json")):
        if path.name in _DATA or len(path.relative_to(folder).parts) > _DEPTH:
            continue
        content = read_json(path)
        found = _named_code(content)
        if path.name == "modules.json" and isinstance(content, list):
            kinds = [str(entry.get("type")) for entry in content if isinstance(entry, Mapping)]
            found = found or next((kind for kind in kinds if not kind.startswith(_KNOWN_MODULES)), None)
        if found is not None:
            raise InputError(
                f"{path} names code that is to be run ({found}): refused. dipole runs no code from the folder of a "
                "model; use one of an architecture that the library has, and remove the entry."
            )
        for name in _folders(content):
            _refuse(Path(name), seen)


def _named_code(content: Any) -> str | None:
    """The first entry that would have code run, at any depth."""
    waiting = [content]
    while waiting:
        value = waiting.pop()
        if isinstance(value, list):
            waiting += value
        if not isinstance(value, Mapping):
            continue
        for key in ("auto_map", "trust_remote_code", "auto_mapping", "megatron_config", "custom_pipelines"):
            if value.get(key):
                return key
        options = value.get("tokenizer_kwargs")
        if isinstance(options, Mapping) and not set(options) <= _TOKENIZER_OPTIONS:
            return f"tokenizer_kwargs.{min(set(options) - _TOKENIZER_OPTIONS)}"
        waiting += value.values()
    return None


def _folders(content: Any) -> Iterator[str]:
    """Other folders that open_clip would open by the names in a configuration."""
    text = content.get("model_cfg", {}).get("text_cfg", {}) if isinstance(content, Mapping) else {}
    for key in ("hf_model_name", "hf_tokenizer_name"):
        if isinstance(text, Mapping) and isinstance(text.get(key), str):
            yield text[key]


@contextmanager
def without_code() -> Iterator[None]:
    """Keep transformers from asking whether code of a model may run: it is refused, whoever calls the loader."""
    if find_spec("transformers") is None:  # nothing asks
        yield
        return
    from transformers import dynamic_module_utils

    before = dynamic_module_utils.TIME_OUT_REMOTE_CODE
    dynamic_module_utils.TIME_OUT_REMOTE_CODE = 0
    try:
        yield
    finally:
        dynamic_module_utils.TIME_OUT_REMOTE_CODE = before
