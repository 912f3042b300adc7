"""Decoder language models as text encoders: bidirectional attention, latent attention, prompts left out, LoRA."""

import copy
from collections.abc import Mapping
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.nn.text.bidirectional import make_bidirectional
from dipole.nn.text.encoder import TextEncoder
from dipole.nn.text.latent_attention import LatentAttentionPooling
from dipole.nn.text.pooling import pool
from dipole.ops.checks import check_at_least, check_choice

DecoderPooling = Literal["latent_attention", "mean", "last"]
DECODER_POOLINGS = ("latent_attention", "mean", "last")
PROBES = ("a", "The", "7", "(", "é")


class DecoderEncoder(TextEncoder):
    """A decoder whose tokens see the whole text, with NV-Embed's pooling.

    Every text ends in the end token, which takes part in the pooling. The tokens of a prompt do not: a text that begins
    with one of `prompts` is pooled over the rest of it. Which tokens these are is found by tokenising the prompt alone
    and before texts; where a prompt's last token merges with the text, it counts as text.

    Args:
        backbone: a decoder of transformers without a head.
        tokenizer: its fast tokenizer; one that adds no end token is made to add it.
        pooling: `"latent_attention"`, `"mean"` or `"last"`.
        bidirectional: drop the causal mask.
        latents: arguments of `LatentAttentionPooling`.
        max_length: tokens of a text, special tokens included.
        prompts: texts that may stand before a text, by name.
        default_prompt: see `TextEncoder`.
        unit_length: scale embeddings to length 1.

    Raises:
        InputError: an unknown pooling, or an architecture that cannot be made bidirectional.
    """

    def __init__(
        self,
        backbone: nn.Module,
        tokenizer: Any,
        *,
        pooling: DecoderPooling = "latent_attention",
        bidirectional: bool = True,
        latents: Mapping[str, Any] | None = None,
        max_length: int = 512,
        prompts: Mapping[str, str] | None = None,
        default_prompt: str | None = None,
        unit_length: bool = False,
    ) -> None:
        check_choice(pooling, DECODER_POOLINGS, "pooling")
        if bidirectional:
            make_bidirectional(backbone)
        super().__init__(
            backbone,
            tokenizer,
            pooling="last" if pooling == "last" else "mean",
            max_length=max_length,
            prompts=prompts,
            default_prompt=default_prompt,
            unit_length=unit_length,
        )
        add_end(self.tokenizer)
        self.kind: DecoderPooling = pooling
        self.bidirectional, self.latents = bidirectional, dict(latents or {})
        self.latent_attention: LatentAttentionPooling | None = None
        if pooling == "latent_attention":
            self.latent_attention = LatentAttentionPooling(self.width, **self.latents)
        self._prefixes: dict[str, list[int]] = {}

    def forward(
        self, input_ids: Int[Tensor, "n t"], attention_mask: Int[Tensor, "n t"] | Bool[Tensor, "n t"]
    ) -> Float[Tensor, "n d"]:
        """Return embeddings (N, D); the zero vector for a row without tokens that count."""
        hidden = self.backbone(input_ids=input_ids, attention_mask=attention_mask.long()).last_hidden_state
        return self.pooled(hidden, self.pool_mask(input_ids, attention_mask))

    def pooled(self, hidden: Float[Tensor, "n t d"], mask: Bool[Tensor, "n t"]) -> Float[Tensor, "n d"]:
        """Return embeddings of states, of the tokens that count."""
        attention = self.latent_attention
        found = pool(hidden, mask, self.pooling) if attention is None else attention(hidden, mask)
        return nn.functional.normalize(found, dim=1) if self.unit_length else found

    def pool_mask(
        self, input_ids: Int[Tensor, "n t"], attention_mask: Int[Tensor, "n t"] | Bool[Tensor, "n t"]
    ) -> Bool[Tensor, "n t"]:
        """Return which tokens count: those that are neither padding nor of a prompt."""
        counted = attention_mask.bool().clone()
        for prompt in self.prompts.values():
            prefix = torch.tensor(self.prefix(prompt), device=input_ids.device)
            if 0 < len(prefix) <= input_ids.shape[1]:
                begins = (input_ids[:, : len(prefix)] == prefix).all(dim=1)
                counted[:, : len(prefix)] &= ~begins[:, None]
        return counted

    def prefix(self, prompt: str) -> list[int]:
        """Return the tokens with which every text begins that stands behind a prompt."""
        if prompt not in self._prefixes:
            rows = self.tokenizer([prompt + probe for probe in PROBES])["input_ids"]
            rows.append(self.tokenizer(prompt)["input_ids"])
            shared = 0
            while all(len(row) > shared and row[shared] == rows[0][shared] for row in rows):
                shared += 1
            self._prefixes[prompt] = rows[0][:shared]
        return self._prefixes[prompt]


def add_end(tokenizer: Any) -> None:
    """Let a fast tokenizer end every text in its end token, where it does not do so; in place.

    Raises:
        InputError: it has no end token.
    """
    end = tokenizer.eos_token_id
    if end is None:
        raise InputError("the tokenizer has no end token (eos_token), in which texts of a decoder end: set one.")
    ids = tokenizer("a")["input_ids"]
    if ids[-1] == end:
        return
    from tokenizers.processors import TemplateProcessing

    begin = tokenizer.bos_token if ids[0] == tokenizer.bos_token_id else None
    tokens = [(tokenizer.eos_token, end)] + ([(begin, tokenizer.bos_token_id)] if begin else [])
    before = f"{begin} " if begin else ""
    tokenizer._tokenizer.post_processor = TemplateProcessing(
        single=f"{before}$A {tokenizer.eos_token}",
        pair=f"{before}$A {tokenizer.eos_token} $B:1 {tokenizer.eos_token}:1",
        special_tokens=tokens,
    )


def add_lora(backbone: nn.Module, *, rank: int, alpha: float, dropout: float) -> None:
    """Add low-rank adapters to all linear layers of a transformer and train nothing else of it; in place (peft).

    Hu et al.: *LoRA* (ICLR 2022).

    Args:
        backbone: the transformer.
        rank: r.
        alpha: adapters are scaled by α / r.
        dropout: before the adapters.

    Raises:
        InputError: an argument is out of range.
    """
    from peft import LoraConfig, inject_adapter_in_model

    check_at_least(rank, 1, "lora_rank")
    check_at_least(alpha, 0, "lora_alpha")
    if not 0 <= dropout < 1:
        raise InputError(f"lora_dropout is {dropout}: expected a probability from 0 to below 1.")
    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules="all-linear")  # type: ignore[arg-type]
    backbone.requires_grad_(False)
    inject_adapter_in_model(config, backbone)


def without_adapters(backbone: nn.Module) -> nn.Module:
    """Return a copy of a transformer in which low-rank adapters are part of the weights; itself if it has none."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    if not any(isinstance(module, BaseTunerLayer) for module in backbone.modules()):
        return backbone
    copied = copy.deepcopy(backbone)
    for name, module in list(copied.named_modules()):
        if isinstance(module, BaseTunerLayer):
            module.merge()
            parent, _, own = name.rpartition(".")
            setattr(copied.get_submodule(parent), own, module.get_base_layer())
    for attribute in ("peft_config", "_hf_peft_config_loaded"):
        if attribute in vars(copied):
            delattr(copied, attribute)
    return copied
