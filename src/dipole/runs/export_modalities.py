"""The towers of a model of several modalities for other runtimes."""

import copy
import logging
from contextlib import ExitStack
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import torch
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.files import atomic_write
from dipole.losses.common import accumulate
from dipole.methods.multimodal.base import AnyModal
from dipole.nn.clip_towers import ImageTower, OpenCLIPTokenizer, TextTower
from dipole.nn.modalities import PretrainedText
from dipole.runs.export import traceable, write_onnx

logger = logging.getLogger(__name__)
TOLERANCE = 1e-5  # of the largest difference to the method, whose embeddings have length 1
OUTPUT = "modality_embedding"
TEXTS = ("a text", "another one that is longer", "one"), ("words", "a text of some more words than the others", "x y")


def export_modalities(method: AnyModal, folder: Path) -> Path:
    """Write a file `NAME.onnx` for each modality of images, texts or vectors, and check it against the method.

    Each computes `modality_embedding` (N, D), as `method.embed` does: projected, of unit length if compared so.
    Images come as `images`, float32 (N, 3, S, S) in [0, 1], of the side S that the encoder takes; texts as `input_ids`
    and `attention_mask`, int64 (N, T), of the tokenizer in `towers/NAME/` of the model; vectors as `vectors`, float32
    (N, F). N and T are free, T not with towers of open_clip.

    Args:
        method: in evaluation mode.
        folder: made if it is missing. It gets all of the files or none.

    Returns:
        The folder.

    Raises:
        InputError: the method has none of these modalities, or a file computes something else.
    """
    if folder.is_file() or folder.suffix:
        raise InputError(f"--out {folder}: expected a folder, which gets a file for each modality.")
    kinds = {name: facts["kind"] for name, facts in method.modalities.items()}
    names = [name for name, kind in kinds.items() if kind in ("image", "text", "vector")]
    if not names:
        raise InputError(
            f"the model knows {', '.join(kinds)}: none of images, texts or vectors, which can be exported."
        )
    left = [f"{name} ({kind})" for name, kind in kinds.items() if name not in names]
    if left:
        logger.warning("not exported: %s. Only images, texts and vectors are.", ", ".join(left))
    folder.mkdir(parents=True, exist_ok=True)
    method.to("cpu")
    with ExitStack() as stack:
        for name in names:
            file = stack.enter_context(atomic_write(folder / f"{quote(name, safe=' ')}.onnx"))
            _export(method, name, file)
    return folder


def _export(method: AnyModal, name: str, file: Path) -> None:
    """Write one tower.

    Raises:
        InputError: it computes something else, or cannot be written.
    """
    kind, encoder = method.modalities[name]["kind"], copy.deepcopy(method.encoders[name]).eval()
    inputs, other, free = _inputs(method, name, encoder)
    tower = _Tower(method, name, _traceable(encoder)).eval()
    fastpath = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # its fused operation is not ONNX's
    try:
        computed = write_onnx(tower, inputs, free, OUTPUT, file, other)
    except torch.onnx.OnnxExporterError as error:
        raise InputError(f"the encoder of {name} cannot be written as ONNX: {str(error).splitlines()[0]}") from error
    finally:
        torch.backends.mha.set_fastpath_enabled(fastpath)
    with torch.inference_mode():
        given = torch.stack(list(other.values()), dim=1) if kind == "text" else next(iter(other.values()))
        expected = method.embed({name: given})
    if computed.shape != expected.shape:
        raise InputError(
            f"{method.card.name} embeds {name} by more than an encoder and a projection: such a method is not exported."
        )
    difference = float((computed - expected).abs().max())
    if not difference < TOLERANCE:
        raise InputError(
            f"the exported encoder of {name} differs from the method by {difference:.2g}: nothing is written."
        )


def _inputs(method: AnyModal, name: str, encoder: nn.Module) -> tuple[dict[str, Tensor], dict[str, Tensor], Any]:
    """Inputs to trace with, others to compare with, and which of their sizes are free."""
    facts, batch = method.modalities[name], torch.export.Dim("n", min=1)
    generator = torch.Generator().manual_seed(0)
    if facts["kind"] == "text":
        length = int(cast(Any, encoder).max_length)
        tokenizer = method.tokenizers[name]
        free = (
            {0: batch}
            if isinstance(tokenizer, OpenCLIPTokenizer)
            else {0: batch, 1: torch.export.Dim("t", min=1, max=length)}
        )
        keys = ("input_ids", "attention_mask")
        first, second = (_tokens(tokenizer, list(texts), length) for texts in TEXTS)
        return dict(zip(keys, first, strict=True)), dict(zip(keys, second, strict=True)), dict.fromkeys(keys, free)
    shape: tuple[int, ...]
    if facts["kind"] == "image":
        size = encoder.size if isinstance(encoder, ImageTower) else int(facts["size"])
        key, shape = "images", (3, size, size)
    else:
        key, shape = "vectors", (int(facts["width"]),)
    drawn = [torch.rand(count, *shape, generator=generator) for count in (2, 5)]
    return {key: drawn[0]}, {key: drawn[1]}, {key: {0: batch}}


def _tokens(tokenizer: Any, texts: list[str], length: int) -> tuple[Tensor, Tensor]:
    """Ids and mask of texts."""
    found = tokenizer(texts, truncation=True, max_length=length, padding=True, return_tensors="pt")
    return found["input_ids"], found["attention_mask"]


def _traceable(encoder: nn.Module) -> nn.Module:
    """The encoder in operations that ONNX has."""
    if isinstance(encoder, PretrainedText):
        encoder.encoder = cast(Any, traceable(encoder.encoder))
    if isinstance(encoder, ImageTower | TextTower) and hasattr(encoder.tower, "set_attn_implementation"):
        cast(Any, encoder.tower).set_attn_implementation("eager")
    return encoder


class _Tower(nn.Module):
    """From inputs of a modality to its embeddings as they are compared; nothing is missing."""

    def __init__(self, method: AnyModal, name: str, encoder: nn.Module) -> None:
        super().__init__()
        self.name, self.encoder, self.projection = name, encoder, method.projections[name]
        self._method = [method]  # in a list, so that it is no part of this module

    def forward(
        self,
        images: Tensor | None = None,
        vectors: Tensor | None = None,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
    ) -> Tensor:
        if input_ids is not None and attention_mask is not None:
            given = torch.stack([input_ids, attention_mask], dim=1)
        else:
            given = cast(Tensor, vectors if images is None else images)
        method, features = self._method[0], accumulate(self.encoder(given))
        present = torch.ones(features.shape[0], dtype=torch.bool)  # `len` would fix the size
        return method.comparable(method.project(self.name, features, present))
