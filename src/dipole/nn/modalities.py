"""Encoders of modalities by name: images, texts, sounds, vectors, categories."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.nn.clap_towers import is_clap, open_clap_tower
from dipole.nn.clip_towers import is_clip, open_clip_tower
from dipole.nn.encoders import build_encoder
from dipole.nn.sound import SoundEncoder, SoundGRU
from dipole.nn.text import TextEncoder, build_text_encoder
from dipole.nn.trained import open_trained_encoder

LEARNED = ("transformer", "bag")  # text encoders whose tokenizer is learned from the texts


class VectorEncoder(nn.Module):
    """Standardise a vector and pass it through a perceptron; or hand it on as it is.

    Args:
        mean: of the training vectors.
        std: standard deviation of the training vectors, above 0.
        hidden: width of the two hidden layers; None for the vector itself.

    Example:
        >>> VectorEncoder([0.0, 0.0], [1.0, 2.0], hidden=4)(torch.rand(3, 2)).shape
        torch.Size([3, 4])
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: list[float], std: list[float], hidden: int | None = 256) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean))
        self.register_buffer("std", torch.tensor(std))
        self.width = len(mean) if hidden is None else hidden
        self.layers = (
            None
            if hidden is None
            else nn.Sequential(nn.Linear(len(mean), hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU())
        )

    def forward(self, vectors: Float[Tensor, "n f"]) -> Float[Tensor, "n d"]:
        """Return features (N, D)."""
        if self.layers is None:
            return vectors
        features: Tensor = self.layers((vectors - self.mean) / self.std)
        return features


class CategoryEncoder(nn.Embedding):
    """A learned vector for each name.

    Args:
        names: number of names.
        width: D.

    Example:
        >>> CategoryEncoder(3, 4)(torch.tensor([2, 0])).shape
        torch.Size([2, 4])
    """

    def __init__(self, names: int, width: int = 256) -> None:
        super().__init__(names, width)
        self.width = width


class TokenEncoder(nn.Module):
    """A small text encoder whose tokenizer is learned from the texts: a bag of tokens, or a transformer over them.

    The mean over the tokens is taken, padding left out. Positions are learned; normalisation goes before each layer.

    Args:
        vocabulary: number of tokens.
        width: D.
        layers: of the transformer; 0 for a bag.
        max_length: tokens of a text that are read.

    Example:
        >>> tokens = torch.ones(2, 2, 5, dtype=torch.long)  # ids and mask
        >>> TokenEncoder(10, width=64, layers=1)(tokens).shape
        torch.Size([2, 64])
    """

    def __init__(self, vocabulary: int, *, width: int = 128, layers: int = 2, max_length: int = 32) -> None:
        super().__init__()
        if width < 1 or layers < 0 or (layers and width % HEAD):
            raise InputError(f"a text encoder of {layers} layers of width {width}: expected a multiple of {HEAD}.")
        self.width, self.max_length = width, max_length
        self.tokenizer: Any = None
        self.tokens = nn.Embedding(vocabulary, width)
        nn.init.normal_(self.tokens.weight, std=width**-0.5)
        self.positions: nn.Parameter | None = None
        self.transformer: nn.TransformerEncoder | None = None
        if layers:
            self.positions = nn.Parameter(torch.randn(max_length, width) * 0.01)
            layer = nn.TransformerEncoderLayer(
                width, width // HEAD, 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
            )
            self.transformer = nn.TransformerEncoder(layer, layers, nn.LayerNorm(width), enable_nested_tensor=False)

    def forward(self, tokens: Int[Tensor, "n 2 t"]) -> Float[Tensor, "n d"]:
        """Return features (N, D) of ids and attention masks."""
        ids, mask = tokens[:, 0], tokens[:, 1].bool()
        states = self.tokens(ids)
        if self.transformer is not None and self.positions is not None:
            states = self.transformer(states + self.positions[: ids.shape[1]], src_key_padding_mask=~mask)
        weight = mask[..., None].to(states.dtype)
        return (states * weight).sum(dim=1) / weight.sum(dim=1).clamp_min(1)


class PretrainedText(nn.Module):
    """A transformers model, whose tokenizer it brings along.

    Args:
        encoder: the model with its pooling.
    """

    def __init__(self, encoder: TextEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.width, self.max_length = encoder.width, encoder.max_length
        self.tokenizer = encoder.tokenizer

    def forward(self, tokens: Int[Tensor, "n 2 t"]) -> Float[Tensor, "n d"]:
        """Return features (N, D) of ids and attention masks."""
        features: Tensor = self.encoder(tokens[:, 0], tokens[:, 1])
        return features


HEAD = 32  # width of an attention head


def build_modality_encoder(
    encoder: str | nn.Module, facts: Mapping[str, Any], *, pretrained: bool = False, max_length: int = 32
) -> nn.Module:
    """Build an encoder from inputs of a modality, as `ModalityViews` makes them, to features (N, F).

    Args:
        encoder: a module with the attribute `width`, F; or a name:
            of images and texts: the folder of a CLIP of transformers or open_clip, whose tower is taken;
            of sounds and texts: the folder of a CLAP of transformers, likewise;
            of images: see `build_encoder`, or the folder of a run of dipole on images, whose encoder is taken;
            of texts: `"transformer"` or `"transformer-WIDTH-LAYERS"`, `"bag"` or `"bag-WIDTH"`, whose tokenizer is
            learned from the texts; or what `build_text_encoder` takes;
            of sounds: `"convnet"` or `"convnet-WIDTH"`, `"gru"` or `"gru-WIDTH"`, on log-mel spectrograms;
            of vectors: `"mlp"` or `"mlp-WIDTH"`, or `"identity"`;
            of categories: `"embedding"` or `"embedding-WIDTH"`.
        facts: what is known of the modality, `kind` first of all, see `ModalitySet.facts`.
        pretrained: load timm's weights of an image encoder.
        max_length: tokens of a text that are read.

    Raises:
        InputError: there is no such encoder of this kind, or a module has no width.

    Example:
        >>> build_modality_encoder("mlp-8", {"kind": "vector", "mean": [0.0], "std": [1.0]}).width
        8
    """
    if isinstance(encoder, nn.Module):
        if not isinstance(getattr(encoder, "width", None), int):
            raise InputError(f"the encoder {type(encoder).__name__} has no attribute width: set it to its features' F.")
        return encoder
    kind = facts["kind"]
    if kind in ("image", "text") and is_clip(encoder):
        return open_clip_tower(encoder, kind)
    if kind in ("sound", "text") and is_clap(encoder):
        return open_clap_tower(encoder, kind, facts.get("rate"))
    if kind == "image":
        if Path(encoder).is_dir():
            return open_trained_encoder(encoder)
        return build_encoder(encoder, image_size=facts["size"], pretrained=pretrained)
    name, sizes = _named(encoder)
    width = sizes[0] if sizes else None
    if kind == "text":
        if not learns_tokenizer(encoder):
            return PretrainedText(build_text_encoder(encoder, max_length=max_length))
        layers = 0 if name == "bag" else sizes[1] if len(sizes) > 1 else 2
        return TokenEncoder(facts["vocabulary"], width=width or 128, layers=layers, max_length=max_length)
    if (kind, name) == ("sound", "convnet"):
        return SoundEncoder(facts["rate"], width=width or 32)
    if (kind, name) == ("sound", "gru"):
        return SoundGRU(facts["rate"], width=width or 64)
    if (kind, name) == ("category", "embedding"):
        return CategoryEncoder(max(1, len(facts["names"])), width or 256)
    if kind == "vector" and name in ("mlp", "identity"):
        return VectorEncoder(facts["mean"], facts["std"], None if name == "identity" else width or 256)
    raise InputError(f"encoder is {encoder!r} for a {kind}: expected {_NAMES[kind]}.")


def learns_tokenizer(encoder: str | nn.Module) -> bool:
    """Return whether a text encoder needs a tokenizer that is learned from the texts.

    Example:
        >>> learns_tokenizer("transformer-64-1"), learns_tokenizer("bert-base-uncased")
        (True, False)
    """
    return isinstance(encoder, TokenEncoder) or (isinstance(encoder, str) and _named(encoder)[0] in LEARNED)


_NAMES = {
    "sound": "'convnet', 'convnet-WIDTH', 'gru', 'gru-WIDTH', or the folder of a CLAP",
    "category": "'embedding' or 'embedding-WIDTH'",
    "vector": "'mlp', 'mlp-WIDTH' or 'identity'",
}


def _named(encoder: str) -> tuple[str, list[int]]:
    """A name and the numbers behind it; the whole as a name if they are none."""
    name, *sizes = encoder.split("-")
    if all(size.isdecimal() and int(size) > 0 for size in sizes):
        return name, [int(size) for size in sizes]
    return encoder, []
