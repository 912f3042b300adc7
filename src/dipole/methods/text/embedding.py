"""Methods that bring views of a text together: one encoder, or a second one that follows it."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dipole.losses.common import accumulate
from dipole.methods.base import Method
from dipole.methods.optimization import OptimizerName, ScheduleName
from dipole.nn.text import Pooling, TextEncoder, build_text_encoder
from dipole.ops import GradCache
from dipole.ops.checks import check_at_least
from dipole.views.text import DropoutTwins, TextViews


class SentenceEmbedding(Method):
    """An encoder that embeds V views of every text.

    Args:
        encoder: folder or Hugging Face name of a transformers model, the same after `static:` for its table of token
            embeddings, or a `TextEncoder`.
        pooling: `"mean"` over the tokens, `"cls"`, `"mean_with_padding"` or `"first_last_average"`.
        max_length: tokens of a text that are read, special tokens included.
        dropout: probability of every dropout of the encoder; the model's own if it is None.
        gather: contrast against the embeddings of all processes.
        chunk_size: encode this many texts at a time and again for the gradient (GradCache); all at once if None.
        optimizer: see `Method`; so are the next three.
        learning_rate: after warm-up.
        weight_decay: of matrices.
        schedule: of the learning rate.
        **optimization: further arguments of `Method`.
    """

    domain: ClassVar[str] = "text"
    views_class: ClassVar[type[TextViews]] = DropoutTwins
    # Whether a batch holds V views of the same texts, so that these can be compared with one another.
    compares_views: ClassVar[bool] = True

    def __init__(
        self,
        *,
        encoder: str | nn.Module = "bert-base-uncased",
        pooling: Pooling = "mean",
        max_length: int = 128,
        dropout: float | None = None,
        gather: bool = True,
        chunk_size: int | None = None,
        optimizer: OptimizerName = "adamw",
        learning_rate: float = 2e-5,
        weight_decay: float = 0.01,
        schedule: ScheduleName = "linear",
        **optimization: Any,
    ) -> None:
        super().__init__(
            optimizer=optimizer,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            schedule=schedule,
            **optimization,
        )
        if chunk_size is not None:
            check_at_least(chunk_size, 1, "chunk_size")
        self.encoder: TextEncoder = build_text_encoder(encoder, pooling=pooling, max_length=max_length, dropout=dropout)
        self.gather = gather
        self.chunk_size = chunk_size

    @property
    def num_views(self) -> int:
        """Number of views that the loss needs of every text."""
        return 2

    @property
    def similarity(self) -> Literal["cosine", "dot"]:
        """How embeddings are compared."""
        return "cosine"

    @property
    def refresh_encoder(self) -> TextEncoder:
        """The encoder whose embeddings `refresh` sees."""
        return self.encoder

    def build_views(self, **options: Any) -> TextViews:
        """Return the views that the method trains on."""
        return self.views_class(num_views=self.num_views, max_length=self.encoder.max_length, **options)

    def project(self, views: Mapping[str, Tensor]) -> Float[Tensor, "v n d"]:
        """Embed views, `input_ids` and `attention_mask` (V, N, T), for the loss: (V, N, D), not normalised."""
        return encode_views(self.encoder, views, self.chunk_size)

    def embed(self, inputs: Mapping[str, Tensor]) -> Float[Tensor, "n d"]:
        """Return embeddings (N, D) of `input_ids` and `attention_mask` (N, T), not normalised."""
        return accumulate(self.encoder(inputs["input_ids"], inputs["attention_mask"]))


def encode_views(encoder: nn.Module, views: Mapping[str, Tensor], chunk_size: int | None = None) -> Tensor:
    """Apply an encoder to all rows (V, N, T) in one pass, or in chunks that are encoded again for the gradient."""
    shape = views["input_ids"].shape[:2]
    rows = torch.stack([views["input_ids"], views["attention_mask"]], dim=2).flatten(0, 1)

    def encode(rows: Tensor) -> Tensor:
        return encoder(rows[:, 0], rows[:, 1])

    embedded = encode(rows) if chunk_size is None else GradCache(encode, chunk_size)(rows)
    return accumulate(embedded).unflatten(0, shape)
