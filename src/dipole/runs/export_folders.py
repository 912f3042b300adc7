"""Encoders as folders that other libraries open: timm, transformers, sentence-transformers, torch.export."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from dipole.errors import InputError
from dipole.files import read_json, write_json
from dipole.methods.base import Method
from dipole.methods.joint_embedding import JointEmbedding
from dipole.methods.text.embedding import SentenceEmbedding
from dipole.nn.text import StaticTextEncoder
from dipole.runs.export import embedding_network, quiet_export
from dipole.runs.loading import load
from dipole.runs.model import DESCRIPTION, model_config, model_folder
from dipole.runs.model_card import model_card
from dipole.runs.text_model import REST, is_shared

TOLERANCE = 1e-5  # of the largest difference to the method, relative to the largest value
FORMATS = ("timm", "transformers", "sentence-transformers", "torch.export")

TIMM = """import timm

encoder = timm.create_model("local-dir:{folder}", pretrained=True, num_classes=0).eval()
features = encoder((images - {mean}) / {std})  # images (N, 3, {size}, {size}) in [0, 1]"""
IMAGES_OF_TRANSFORMERS = """from transformers import AutoModel

encoder = AutoModel.from_pretrained("{folder}").eval()
features = encoder((images - {mean}) / {std}).pooler_output  # images (N, 3, {size}, {size}) in [0, 1]"""
TEXTS_OF_TRANSFORMERS = """from transformers import AutoModel, AutoTokenizer

tokens = AutoTokenizer.from_pretrained("{folder}")(texts, padding=True, truncation=True, return_tensors="pt")
states = AutoModel.from_pretrained("{folder}")(**tokens).last_hidden_state  # then {pooling}"""
SENTENCES = """from sentence_transformers import SentenceTransformer

embeddings = SentenceTransformer("{folder}").encode(["a sentence", "another one"])"""
PROGRAM = """import torch

encoder = torch.export.load("{folder}/encoder.pt2").module()
embeddings = encoder({inputs})"""


def export_folder(run: str | Path, to: str, out: str | Path, *, license_name: str | None = None) -> Path:
    """Write the encoder of a run as a folder that another library opens, with a model card.

    - `"timm"`: `timm.create_model("local-dir:FOLDER", pretrained=True)`, if the encoder is one of timm's.
    - `"transformers"`: `AutoModel.from_pretrained(FOLDER)`; of timm's image encoders too.
    - `"sentence-transformers"`: `SentenceTransformer(FOLDER)` of texts.
    - `"torch.export"`: `torch.export.load("FOLDER/encoder.pt2")` of images and texts, whatever the encoder.

    What was written is opened again and compared with the method before it takes its name.

    Args:
        run: a run directory or a model folder.
        to: one of these.
        out: the folder, which must not exist or be empty.
        license_name: of the weights, for the card, e.g. `"apache-2.0"`.

    Returns:
        The folder.

    Raises:
        InputError: the encoder has no such form, something is in the way, or the folder computes something else.
    """
    out = Path(out)
    if to not in FORMATS:
        raise InputError(f"--to {to}: expected onnx, hub, {', '.join(FORMATS)}.")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"{out} is there already: name a folder that is not, or an empty one.")
    method = load(run)
    out.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name[:40]}."))
    try:
        example = _WRITERS[to](method, Path(run), temporary)
        shown = example.replace("{folder}", "this folder")
        card = model_card(run, method.card, _field(method), to, shown, license_name=license_name)
        (temporary / "README.md").write_text(card, encoding="utf-8")
        temporary.chmod(0o755)
        os.replace(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return out


def _field(method: Method) -> str:
    """The field by which hubs sort the model."""
    return "text" if isinstance(method, SentenceEmbedding) else "vision"


def _write_timm(method: Method, run: Path, folder: Path, example: str = TIMM) -> str:
    """Write what timm writes, and read it as timm does."""
    import timm
    from timm.models import save_for_hf

    encoder = _image_encoder(method)
    backbone: Any = encoder.backbone
    if not hasattr(backbone, "pretrained_cfg"):
        raise InputError(
            f"{model_config(run)['method'].get('encoder')} is no encoder of timm's: use --to torch.export or onnx."
        )
    size = int(model_config(run)["image_size"])
    mean, std = (_numbers(value) for value in (encoder.mean, encoder.std))
    save_for_hf(
        backbone.to(memory_format=torch.contiguous_format),  # as safetensors stores them
        str(folder),
        safe_serialization=True,
        data_config={"mean": tuple(mean), "std": tuple(std), "input_size": (3, size, size)},
    )
    config = read_json(folder / "config.json")
    config.get("model_args", {}).pop("num_classes", None)  # which whoever opens it gives, transformers among them
    write_json(folder / "config.json", config)
    try:
        again = timm.create_model(f"local-dir:{folder}", pretrained=True, num_classes=0).eval()
    except RuntimeError as error:
        raise InputError(
            "timm cannot build this encoder: its first convolution was made smaller for images of "
            f"{size} pixels. Use --to torch.export or onnx."
        ) from error
    images = _images(size)
    with torch.inference_mode():
        _compare(again((images - encoder.mean) / encoder.std), encoder(images))
    shaped = {key: f"torch.tensor({value}).view(3, 1, 1)" for key, value in (("mean", mean), ("std", std))}
    filled = example.replace("{size}", str(size)).replace("{mean}", shaped["mean"]).replace("{std}", shaped["std"])
    return f"import torch\n{filled}"


def _write_transformers(method: Method, run: Path, folder: Path) -> str:
    """Write a backbone and its tokenizer; of images the folder that timm writes, which transformers opens too."""
    if not isinstance(method, SentenceEmbedding):
        return _write_timm(method, run, folder, IMAGES_OF_TRANSFORMERS)
    encoder = method.encoder
    if isinstance(encoder, StaticTextEncoder):
        raise InputError("a table of token embeddings is no model of transformers: use --to sentence-transformers.")
    _copy(run, folder)
    from transformers import AutoModel, AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(folder)(["a text", "another, longer one"], padding=True, return_tensors="pt")
    with torch.inference_mode():
        states = [
            model.eval()(tokens["input_ids"], attention_mask=tokens["attention_mask"]).last_hidden_state
            for model in (AutoModel.from_pretrained(folder), cast(Any, encoder.backbone))
        ]
    mask = tokens["attention_mask"][:, :, None].bool()
    _compare(states[0].masked_fill(~mask, 0), states[1].masked_fill(~mask, 0))
    pooling = "their mean over the mask" if encoder.pooling == "mean" else f"pooling '{encoder.pooling}'"
    return TEXTS_OF_TRANSFORMERS.replace("{pooling}", pooling)


def _write_sentences(method: Method, run: Path, folder: Path) -> str:
    """Write a model of sentence-transformers, which the folder of a run of texts is."""
    if not isinstance(method, SentenceEmbedding) or not is_shared(method.encoder):
        raise InputError(f"{method.card.name} has no encoder of texts that sentence-transformers can compute.")
    _copy(run, folder)
    from sentence_transformers import SentenceTransformer

    from dipole.nn.text import encode_texts

    texts = ["a text", "another one that is a little longer"]
    found = SentenceTransformer(str(folder), device="cpu").encode(texts, convert_to_tensor=True)
    _compare(found.cpu(), encode_texts(method.encoder, texts).cpu())
    return SENTENCES


def _write_program(method: Method, run: Path, folder: Path) -> str:
    """Write the graph of the encoder with its weights."""
    network, inputs, free = embedding_network(method, model_config(run))
    with torch.no_grad(), quiet_export():
        program = torch.export.export(
            network, args=(), kwargs=inputs, dynamic_shapes=free, prefer_deferred_runtime_asserts_over_guards=True
        )
        torch.export.save(program, folder / "encoder.pt2")
    other = {name: torch.cat([value, value.flip(0)]) for name, value in inputs.items()}
    with torch.inference_mode():
        _compare(torch.export.load(folder / "encoder.pt2").module()(**other), network(**other))
    return PROGRAM.replace("{inputs}", ", ".join(f"{name}={name}" for name in inputs))


_WRITERS: dict[str, Callable[[Method, Path, Path], str]] = {
    "timm": _write_timm,
    "transformers": _write_transformers,
    "sentence-transformers": _write_sentences,
    "torch.export": _write_program,
}


def _image_encoder(method: Method) -> Any:
    """The encoder of images, ready to compute."""
    if not isinstance(method, JointEmbedding) or not hasattr(method.encoder, "backbone"):
        raise InputError(f"{method.card.name} has no encoder of images.")
    return method.encoder.cpu().eval()


def _copy(run: Path, folder: Path) -> None:
    """Copy a model without what only dipole reads."""
    own = {DESCRIPTION, REST, "README.md", "onnx"}
    for path in model_folder(run).iterdir():
        if path.name not in own:
            (shutil.copytree if path.is_dir() else shutil.copy2)(path, folder / path.name)


def _images(size: int) -> Tensor:
    """Images to compare with."""
    return torch.rand(3, 3, size, size, generator=torch.Generator().manual_seed(0))


def _numbers(values: Tensor) -> list[float]:
    """Numbers of a buffer as people write them."""
    return [float(f"{value:.6g}") for value in values.flatten().tolist()]


def _compare(found: Tensor, expected: Tensor) -> None:
    """Require that what was written computes what the method does."""
    if found.shape != expected.shape:
        shapes = json.dumps([list(found.shape), list(expected.shape)])
        raise InputError(f"what was written computes another shape than the method ({shapes}): it was removed.")
    difference = float((found - expected).abs().max() / expected.abs().max().clamp_min(1e-6))
    if not difference < TOLERANCE:
        raise InputError(f"what was written differs from the method by {difference:.2g}: it was removed.")
