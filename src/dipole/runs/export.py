"""Encoders for other runtimes."""

import copy
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.files import atomic_write
from dipole.methods.base import Method
from dipole.methods.joint_embedding import JointEmbedding
from dipole.methods.text.embedding import SentenceEmbedding
from dipole.nn.text import StaticTextEncoder, TextEncoder
from dipole.runs.loading import load
from dipole.runs.model import model_config, model_folder

TOLERANCE = 1e-3  # of the largest difference to PyTorch, relative to the largest value


def export_onnx(run: str | Path, out: str | Path | None = None) -> Path:
    """Write the encoder of a run as ONNX and check it against PyTorch.

    Texts: `input_ids` and `attention_mask`, int64 (N, T), to `sentence_embedding` (N, D); the tokenizer is in the
    model's folder.
    Images: `images`, float32 (N, 3, S, S) in [0, 1], to `image_embedding` (N, F). N and T are free.
    Several modalities: a folder with a file for each that can be written, see `export_modalities`.

    Args:
        run: a run directory or a model folder.
        out: the file to write, or the folder; `onnx/model.onnx`, or `onnx`, in the model's folder if it is None.

    Returns:
        The path of the file, or the folder.

    Raises:
        InputError: there is no model, a package is missing, or the written file computes something else.
    """
    try:
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401 - what torch.onnx stands on
    except ImportError as error:
        raise InputError(f"ONNX needs the package {error.name}: pip install 'dipole[onnx]'.") from error
    method = load(run)
    if method.domain == "multimodal":
        from dipole.runs.export_modalities import export_modalities

        return export_modalities(cast(Any, method), model_folder(run) / "onnx" if out is None else Path(out))
    path = model_folder(run) / "onnx" / "model.onnx" if out is None else Path(out)
    if path.is_dir():
        raise InputError(f"--out {path} is a folder: name a file, e.g. {path / 'model.onnx'}.")
    network, inputs, free = embedding_network(method, model_config(run))
    output = "image_embedding" if "images" in inputs else "sentence_embedding"
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as temporary:
        other = {name: torch.cat([value, value.flip(0)]) for name, value in inputs.items()}
        computed = write_onnx(network, inputs, free, output, temporary, other)
        with torch.inference_mode():
            expected: Tensor = network(**other)
        difference = float((computed - expected).abs().max() / expected.abs().max().clamp_min(1e-6))
        if not difference < TOLERANCE:
            raise InputError(f"the exported encoder differs from PyTorch by {difference:.2g}: it was not written.")
    return path


def write_onnx(
    network: nn.Module, inputs: dict[str, Tensor], free: Any, output: str, path: Path, other: dict[str, Tensor]
) -> Tensor:
    """Write a network as ONNX and return what onnxruntime computes with it.

    Args:
        network: in evaluation mode.
        inputs: to trace it with.
        free: sizes of them that may change, see `torch.onnx.export`.
        output: name of what it computes.
        path: to write.
        other: inputs to compute with.
    """
    import onnxruntime

    with quiet_export():
        torch.onnx.export(
            network,
            kwargs=inputs,
            f=path,
            input_names=list(inputs),
            output_names=[output],
            dynamic_shapes=free,
            dynamo=True,
            external_data=False,
            verbose=False,
        )
        session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        (computed,) = session.run(None, {name: value.numpy() for name, value in other.items()})
    return torch.from_numpy(computed)


def embedding_network(method: Method, config: dict[str, Any]) -> tuple[nn.Module, dict[str, Tensor], Any]:
    """The network to trace, inputs to trace it with, and which of their sizes are free."""
    batch = torch.export.Dim("n", min=1)
    if isinstance(method, SentenceEmbedding):
        encoder: TextEncoder = copy.deepcopy(method.encoder).eval()
        length = torch.export.Dim("t", min=1, max=encoder.max_length)
        tokens = encoder.tokenizer(
            ["a text", "another one that is longer"], padding=True, return_tensors="pt", return_token_type_ids=False
        )
        inputs = {"input_ids": tokens["input_ids"], "attention_mask": tokens["attention_mask"]}
        return traceable(encoder), inputs, {name: {0: batch, 1: length} for name in inputs}
    if isinstance(method, JointEmbedding):
        size = int(config["image_size"])
        images = torch.rand(2, 3, size, size, generator=torch.Generator().manual_seed(0))
        return _Images(method).eval(), {"images": images}, {"images": {0: batch}}
    raise InputError(f"{method.card.name} has no encoder of texts or images to export.")


def traceable(encoder: TextEncoder) -> nn.Module:
    """Return a text encoder in operations that ONNX has; it is changed in place."""
    if isinstance(encoder, StaticTextEncoder):
        return _Static(encoder).eval()
    cast(Any, encoder.backbone).set_attn_implementation("eager")
    return encoder


class _Images(nn.Module):
    """Embedding of images in [0, 1]."""

    def __init__(self, method: JointEmbedding) -> None:
        super().__init__()
        self.encoder = method.encoder

    def forward(self, images: Tensor) -> Tensor:
        return self.encoder(images).float()


class _Static(nn.Module):
    """The mean of a text's rows of a table."""

    def __init__(self, encoder: StaticTextEncoder) -> None:
        super().__init__()
        self.register_buffer("table", encoder.table())
        self.register_buffer("special", encoder.special)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        table, special = self.get_buffer("table"), self.get_buffer("special")
        counted = (attention_mask.bool() & ~special[input_ids]).to(table.dtype)
        return (table[input_ids] * counted[:, :, None]).sum(dim=1) / counted.sum(dim=1, keepdim=True).clamp_min(1)


@contextmanager
def quiet_export() -> Iterator[None]:
    """Keep the exporter from reporting its steps."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
