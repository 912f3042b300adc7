"""Decoder language models whose tokens see the whole text."""

from typing import Any

from torch import nn

from dipole.errors import InputError

# Architectures of transformers of which a test shows that every token sees every other one afterwards.
BIDIRECTIONAL = (
    "gemma",
    "granite",
    "llama",
    "mistral",
    "olmo",
    "olmo2",
    "phi3",
    "qwen2",
    "qwen3",
    "smollm3",
    "stablelm",
    "starcoder2",
)


def make_bidirectional(decoder: nn.Module) -> nn.Module:
    """Let every token of a decoder attend to every token that is no padding; in place.

    The causal mask and sliding windows go, positions stay. The setting is part of the model's configuration
    (`is_causal`), so that a saved model is bidirectional in transformers and sentence-transformers as well.

    Lee et al.: *NV-Embed* (ICLR 2025), sec. 3.1.1.

    Args:
        decoder: a model of transformers without a head (`AutoModel`), of an architecture in `BIDIRECTIONAL`.

    Returns:
        The decoder.

    Raises:
        InputError: another architecture.

    Example:
        >>> from transformers import LlamaConfig, LlamaModel
        >>> sizes = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
        >>> decoder = make_bidirectional(LlamaModel(LlamaConfig(vocab_size=9, **sizes)))
        >>> decoder.config.is_causal
        False
    """
    config: Any = getattr(decoder, "config", None)
    kind = getattr(config, "model_type", type(decoder).__name__)
    if kind not in BIDIRECTIONAL:
        raise InputError(
            f"a {kind} cannot be made bidirectional: expected one of {', '.join(BIDIRECTIONAL)}. Other encoders need "
            "no switch, or stay causal with the pooling 'last'."
        )
    config.is_causal = False
    config.sliding_window = None
    if getattr(config, "use_sliding_window", None):
        config.use_sliding_window = False
    layers = getattr(config, "layer_types", None)
    if layers:
        config.layer_types = ["full_attention"] * len(layers)
    for module in decoder.modules():
        if getattr(module, "is_causal", None) is True:
            module.is_causal = False  # type: ignore[assignment]
        if getattr(module, "sliding_window", None):
            module.sliding_window = None  # type: ignore[assignment]
        if getattr(module, "has_sliding_layers", False):
            module.has_sliding_layers = False  # type: ignore[assignment]
        if getattr(module, "attention_type", None) == "sliding_attention":
            module.attention_type = "full_attention"  # type: ignore[assignment]
    return decoder
