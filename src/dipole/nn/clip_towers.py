"""The two towers of a CLIP, as transformers and open_clip store it, as encoders of a modality."""

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from safetensors.torch import save_file
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.files import atomic_write, read_json, write_json
from dipole.nn.foreign import refuse_code
from dipole.nn.text.encoder import explained, open_tokenizer, quiet

MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)
OPEN_CLIP, OPEN_CLIP_WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"
ELSEWHERE = "weights_elsewhere"  # in a stored configuration: the weights are in dipole's own file


class ImageTower(nn.Module):
    """A CLIP's image tower with its projection: images in [0, 1] of any size in, embeddings out.

    Args:
        tower: from normalised images to embeddings, or to a transformers output with `image_embeds`.
        size: side of the images that it takes.
        width: of the embeddings.
        config: open_clip's configuration, if it is one of its towers.
        mean: per channel, subtracted from images in [0, 1].
        std: per channel, by which they are then divided.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        tower: nn.Module,
        size: int,
        width: int,
        config: dict[str, Any] | None = None,
        mean: Sequence[float] = MEAN,
        std: Sequence[float] = STD,
    ) -> None:
        super().__init__()
        self.tower, self.size, self.width, self.config = tower, size, width, config
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n d"]:
        """Return embeddings (N, D), not normalised."""
        if images.shape[-1] != self.size:
            images = F.interpolate(images, (self.size, self.size), mode="bicubic", antialias=True).clamp(0, 1)
        found: Any = self.tower((images - self.mean) / self.std)
        embeddings: Tensor = getattr(found, "image_embeds", found)
        return embeddings


class TextTower(nn.Module):
    """A CLIP's text tower with its projection and its tokenizer.

    Args:
        tower: from token ids and mask to a transformers output with `text_embeds`; or open_clip's, whose `encode_text`
            takes the ids.
        tokenizer: of transformers, or `OpenCLIPTokenizer`.
        width: of the embeddings.
        max_length: tokens of a text that are read.
        config: open_clip's configuration, if it is one of its towers.
    """

    def __init__(
        self, tower: nn.Module, tokenizer: Any, width: int, max_length: int, config: dict[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.tower, self.tokenizer, self.width, self.max_length, self.config = (
            tower,
            tokenizer,
            width,
            max_length,
            config,
        )

    def forward(self, tokens: Int[Tensor, "n 2 t"]) -> Float[Tensor, "n d"]:
        """Return embeddings (N, D), not normalised."""
        if self.config is not None:
            embeddings: Tensor = self.tower.encode_text(tokens[:, 0])  # type: ignore[operator]
            return embeddings
        return self.tower(input_ids=tokens[:, 0], attention_mask=tokens[:, 1]).text_embeds


class OpenCLIPTokenizer:
    """A tokenizer of open_clip, called like one of transformers.

    Args:
        tokenizer: from texts to ids (N, T), filled with 0.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def __call__(self, texts: list[str], **options: Any) -> dict[str, Tensor]:
        """Return `input_ids` and `attention_mask`; the length is the model's own."""
        ids = self.tokenizer(texts)
        return {"input_ids": ids, "attention_mask": (ids != 0).long()}


def is_clip(folder: str | Path) -> bool:
    """Return whether a folder holds a CLIP of transformers or open_clip, or a tower of one.

    Example:
        >>> is_clip("no/such/folder")
        False
    """
    folder = Path(folder)
    if (folder / OPEN_CLIP).is_file():
        return True
    if not (folder / "config.json").is_file():
        return False
    config = read_json(folder / "config.json")
    return isinstance(config, dict) and str(config.get("model_type", "")).startswith("clip")


def open_clip_tower(folder: str | Path, kind: str) -> ImageTower | TextTower:
    """Open a tower by the loaders of the library that has written it.

    Args:
        folder: of `CLIPModel.save_pretrained`, with the processor or tokenizer beside it, or with open_clip's
            `open_clip_config.json` and `open_clip_model.safetensors`.
        kind: `"image"` or `"text"`.

    Raises:
        InputError: the folder is not as above, its weights are pickles, or a package is missing.
    """
    folder = Path(folder)
    if (folder / OPEN_CLIP).is_file():
        return _from_open_clip(folder, kind)
    refuse_code(folder)
    import transformers

    options: dict[str, Any] = {"use_safetensors": True, "local_files_only": True, "dtype": torch.float32}
    with explained(str(folder)), quiet():
        if read_json(folder / "config.json").get("model_type") == "clip":
            # In a whole model the width that counts is that at the top; what its towers say of it is not used.
            both = transformers.CLIPConfig.from_pretrained(folder, local_files_only=True)
            own: Any = both.vision_config if kind == "image" else both.text_config
            own.projection_dim = both.projection_dim
            options["config"] = own
        if kind == "image":
            vision: Any = transformers.CLIPVisionModelWithProjection.from_pretrained(folder, **options)
            statistics = _statistics(folder)
            return ImageTower(vision.train(), vision.config.image_size, vision.config.projection_dim, None, *statistics)
        text = transformers.CLIPTextModelWithProjection.from_pretrained(folder, **options)
        config: Any = text.config
        tokenizer = open_tokenizer(str(folder))
        return TextTower(text.train(), tokenizer, config.projection_dim, config.max_position_embeddings)


def save_clip_tower(encoder: nn.Module, folder: str | Path) -> None:
    """Write a tower so that `open_clip_tower` opens it; one of transformers opens in transformers, too.

    Of open_clip the configuration alone is written: the weights of a single tower are no model of its own, see
    `save_clip`.
    """
    if not isinstance(encoder, ImageTower | TextTower):
        return
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if encoder.config is not None:
        write_json(folder / OPEN_CLIP, {**encoder.config, ELSEWHERE: True})
        return
    with quiet():
        encoder.tower.save_pretrained(folder)  # type: ignore[operator]
    if isinstance(encoder, ImageTower):
        _write_statistics(encoder, folder)


def save_clip(image: ImageTower, text: TextTower, scale: float, folder: str | Path) -> None:
    """Write two towers as one model that `CLIPModel.from_pretrained` or `open_clip.create_model` opens.

    Args:
        image: trained, of the same library as the other.
        text: trained.
        scale: of the logits, 1 / τ.
        folder: made if it is missing. Of transformers: the model, the tokenizer and the processor of images. Of
            open_clip: `open_clip_config.json` and `open_clip_model.safetensors`.
    """
    folder, log_scale = Path(folder), torch.tensor(math.log(scale))
    folder.mkdir(parents=True, exist_ok=True)
    if text.config is not None:
        weights = {**text.tower.state_dict(), **{f"visual.{k}": v for k, v in image.tower.state_dict().items()}}
        weights["logit_scale"] = log_scale.expand_as(weights["logit_scale"])
        with atomic_write(folder / OPEN_CLIP_WEIGHTS) as temporary:
            save_file({name: weight.detach().contiguous().clone() for name, weight in weights.items()}, temporary)
        write_json(folder / OPEN_CLIP, {key: value for key, value in text.config.items() if key != ELSEWHERE})
        return
    import transformers

    vision, language = (cast(transformers.PreTrainedModel, tower.tower) for tower in (image, text))
    config = transformers.CLIPConfig(
        vision_config=vision.config.to_dict(), text_config=language.config.to_dict(), projection_dim=text.width
    )
    model = transformers.CLIPModel(config)
    weights = {**vision.state_dict(), **language.state_dict(), "logit_scale": log_scale}
    model.load_state_dict(weights)
    with quiet():
        model.save_pretrained(folder)
        text.tokenizer.save_pretrained(folder)
    _write_statistics(image, folder)


def _write_statistics(image: ImageTower, folder: Path) -> None:
    """Write how pixels are normalised, as the image processor of transformers reads it."""
    statistics = {"image_mean": image.mean.flatten().tolist(), "image_std": image.std.flatten().tolist()}
    sizes = {"size": {"height": image.size, "width": image.size}, "do_center_crop": False}
    write_json(
        folder / "preprocessor_config.json", {"image_processor_type": "CLIPImageProcessor", **statistics, **sizes}
    )


def _statistics(folder: Path) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and standard deviation of the pixels, CLIP's own unless the folder says others."""
    path = folder / "preprocessor_config.json"
    found = read_json(path) if path.is_file() else {}
    return found.get("image_mean", MEAN), found.get("image_std", STD)


@contextmanager
def _unheard() -> Iterator[None]:
    """Keep open_clip from warning that weights are random, where they come from elsewhere."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)


def _from_open_clip(folder: Path, kind: str) -> ImageTower | TextTower:
    """A tower of open_clip's local folders."""
    try:
        import open_clip
    except ImportError as error:
        raise InputError(f"{folder} is a model of open_clip: pip install 'dipole[clip]'.") from error
    refuse_code(folder)
    config = read_json(folder / OPEN_CLIP)
    stored = any(folder.glob("*.safetensors"))
    if not stored and not config.get(ELSEWHERE):
        raise InputError(f"{folder} has no *.safetensors: write open_clip_model.safetensors; pickles are not read.")
    with explained(str(folder), "open_clip"), nullcontext() if stored else _unheard():
        model: Any = open_clip.create_model(f"local-dir:{folder}", load_weights=stored)
        width = int(config["model_cfg"]["embed_dim"])
        if kind == "image":
            size = model.visual.image_size
            preprocess = config.get("preprocess_cfg", {})
            statistics = preprocess.get("mean", MEAN), preprocess.get("std", STD)
            side = size[0] if isinstance(size, Sequence) else int(size)
            return ImageTower(model.visual.train(), side, width, config, *statistics)
        tokenizer = OpenCLIPTokenizer(open_clip.get_tokenizer(f"local-dir:{folder}"))
        length = int(model.context_length)
    del model.visual
    model.logit_scale.requires_grad_(False)  # the method has its own
    return TextTower(model.train(), tokenizer, width, length, config)
