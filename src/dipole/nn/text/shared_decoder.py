"""The pooling of a decoder as a module of sentence-transformers, which names it in `modules.json`."""

from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from sentence_transformers.base.modules import Module

from dipole.files import read_json, write_json
from dipole.nn.text.latent_attention import LatentAttentionPooling
from dipole.nn.text.pooling import pool

CONFIG, WEIGHTS = "config.json", "model.safetensors"


class DecoderPoolingModule(Module):
    """What `DecoderEncoder` does behind the transformer: prompts are left out, tokens pooled.

    Args:
        width: D.
        pooling: `"latent_attention"`, `"mean"` or `"last"`.
        prefixes: token ids of the prompts that are left out.
        latents: arguments of `LatentAttentionPooling`.
    """

    def __init__(
        self, width: int, pooling: str, prefixes: list[list[int]], latents: dict[str, Any] | None = None
    ) -> None:
        super().__init__()
        self.settings = {"width": width, "pooling": pooling, "prefixes": prefixes, "latents": latents or {}}
        self.prefixes, self.pooling = prefixes, pooling
        self.latent_attention = None
        if pooling == "latent_attention":
            self.latent_attention = LatentAttentionPooling(width, **(latents or {}))

    def forward(self, features: Any, **options: Any) -> dict[str, Any]:
        """Add `sentence_embedding` to what the transformer has found."""
        ids, mask = features["input_ids"], features["attention_mask"].bool().clone()
        for tokens in self.prefixes:
            prefix = torch.tensor(tokens, device=ids.device)
            if 0 < len(prefix) <= ids.shape[1]:
                begins = (ids[:, : len(prefix)] == prefix).all(dim=1)
                mask[:, : len(prefix)] &= ~begins[:, None]
        hidden = features["token_embeddings"]
        found = (
            pool(hidden, mask, "last" if self.pooling == "last" else "mean")
            if self.latent_attention is None
            else self.latent_attention(hidden, mask)
        )
        return {**features, "sentence_embedding": found}

    def get_embedding_dimension(self) -> int:
        """Return D."""
        return int(self.settings["width"])  # type: ignore[call-overload]

    get_sentence_embedding_dimension = get_embedding_dimension

    def save(self, output_path: str, *args: Any, **options: Any) -> None:
        """Write the settings and the weights."""
        folder = Path(output_path)
        write_json(folder / CONFIG, self.settings)
        save_file({name: value.contiguous() for name, value in self.state_dict().items()}, folder / WEIGHTS)

    @classmethod
    def load(  # type: ignore[override]
        cls, model_name_or_path: str, subfolder: str = "", **options: Any
    ) -> "DecoderPoolingModule":
        """Read what `save` has written."""
        folder = Path(model_name_or_path) / subfolder
        module = cls(**read_json(folder / CONFIG))
        module.load_state_dict(load_file(folder / WEIGHTS))
        return module
