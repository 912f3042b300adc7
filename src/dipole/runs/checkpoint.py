"""Checkpoints without pickle: tensors in safetensors, everything else as JSON in its header."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import CheckpointIO
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from dipole.errors import InputError
from dipole.files import atomic_write
from dipole.runs.safety import is_pickle


def to_tree(value: Any, tensors: dict[str, Tensor]) -> Any:
    """Turn nested containers into JSON, moving tensors to `tensors` and leaving their names in their place.

    Raises:
        TypeError: a value that neither JSON nor safetensors can hold.

    Example:
        >>> to_tree({"step": 3, 0: (1.5, None)}, {})
        {'dict': [['step', 3], [0, {'tuple': [1.5, None]}]]}
    """
    if isinstance(value, Tensor):
        name = str(len(tensors))
        # A copy of its own, because safetensors refuses tensors that share memory.
        tensors[name] = value.detach().to("cpu", copy=True).contiguous()
        return {"tensor": name}
    if isinstance(value, dict):
        return {"dict": [[to_tree(key, tensors), to_tree(entry, tensors)] for key, entry in value.items()]}
    if isinstance(value, tuple):
        return {"tuple": [to_tree(entry, tensors) for entry in value]}
    if isinstance(value, list):
        return [to_tree(entry, tensors) for entry in value]
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise TypeError(f"a checkpoint cannot hold {type(value).__name__}: {value!r}")


def from_tree(tree: Any, tensors: dict[str, Tensor]) -> Any:
    """Undo `to_tree`.

    Example:
        >>> tensors = {}
        >>> from_tree(to_tree({"step": 3, 0: (torch.ones(1), None)}, tensors), tensors)
        {'step': 3, 0: (tensor([1.]), None)}
    """
    if isinstance(tree, list):
        return [from_tree(entry, tensors) for entry in tree]
    if not isinstance(tree, dict):
        return tree
    (kind, content), *_ = tree.items()
    if kind == "tensor":
        return tensors[content]
    if kind == "dict":
        return {from_tree(key, tensors): from_tree(entry, tensors) for key, entry in content}
    return tuple(from_tree(entry, tensors) for entry in content)


def checksum(tensors: Mapping[str, Tensor]) -> str:
    """Return a hash of the bytes of tensors, in the order of their names.

    Example:
        >>> checksum({"a": torch.zeros(2)}) == checksum({"a": torch.ones(2)})
        False
    """
    found = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        found.update(name.encode())
        found.update(tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


class SafeCheckpointIO(CheckpointIO):
    """Write and read Lightning's checkpoints as one safetensors file, whole or not at all."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint to a temporary file and rename it."""
        tensors: dict[str, Tensor] = {}
        tree = json.dumps(to_tree(checkpoint, tensors))
        with atomic_write(path) as temporary:
            save_file(tensors, temporary, metadata={"dipole_checkpoint": tree, "checksum": checksum(tensors)})

    def load_checkpoint(self, path: str | Path, *_: Any, **__: Any) -> dict[str, Any]:
        """Read a checkpoint that `save_checkpoint` wrote.

        Raises:
            InputError: the file is a pickle, or not a whole checkpoint of dipole.
        """
        if is_pickle(path):
            raise InputError(f"{path} is a pickle: refused. dipole's checkpoints are safetensors files.")
        try:
            with safe_open(path, framework="pt") as file:
                metadata = file.metadata() or {}
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a dict
            checkpoint = from_tree(json.loads(metadata["dipole_checkpoint"]), tensors)
            if not isinstance(checkpoint, dict):
                raise ValueError("its header describes no checkpoint")
            if checksum(tensors) != metadata["checksum"]:
                raise ValueError("its tensors are not those that were written")
        except (SafetensorError, KeyError, TypeError, ValueError, OSError, RecursionError) as error:
            raise InputError(f"{path} is not a whole checkpoint of dipole ({error}). Start the run anew.") from error
        return checkpoint

    def remove_checkpoint(self, path: str | Path) -> None:
        """Delete a checkpoint."""
        Path(path).unlink(missing_ok=True)


def default_precision() -> str:
    """Return Lightning's precision for this machine: bf16 where its products are faster, else float32.

    On a processor that is so with AMX. With AVX-512's instructions for bf16 alone (an Intel Xeon of 2023) training took
    1.3 (`convnet4`) to 1.5 times (ResNet-18) as long as in float32.

    Example:
        >>> default_precision() in {"bf16-mixed", "32-true"}
        True
    """
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported(including_emulation=False) else "32-true"
    return "bf16-mixed" if torch.cpu._is_amx_tile_supported() else "32-true"
