"""SimCSE without labels."""

from collections.abc import Mapping
from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from dipole.card import Card
from dipole.losses import info_nce_loss
from dipole.methods.text.embedding import SentenceEmbedding
from dipole.nn.text import Pooling
from dipole.ops.checks import check_temperature
from dipole.views.text import DropoutTwins, TextViews


class SimCSE(SentenceEmbedding):
    """A sentence finds itself, seen through another dropout mask, among the sentences of the batch.

        1. encode every sentence twice, with dropout          2. z = head(h), while training
        3. minimise InfoNCE of z₁ and z₂ with cosine similarities and temperature τ, from view 1 to view 2

    Args:
        temperature: τ.
        head: train through a dense layer and tanh, which embeddings for inference do not pass.
        pooling: see `SentenceEmbedding`; so are the next three.
        max_length: tokens of a sentence.
        learning_rate: after warm-up.
        weight_decay: of matrices.
        **options: further arguments of `SentenceEmbedding` and `Method`.

    Example:
        >>> import tempfile, torch
        >>> from dipole.nn.text import new_bert
        >>> texts = ["a cat", "two dogs"]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     method = SimCSE(encoder=str(new_bert(texts, folder, width=8)))
        >>> views = method.build_views()([{"text": text} for text in texts], method.encoder.tokenizer)
        >>> sorted(method.loss_terms({"views": views, "index": torch.arange(2)}))
        ['loss']
    """

    card = Card(
        name="simcse",
        slug="simcse",
        title="SimCSE: Simple Contrastive Learning of Sentence Embeddings",
        authors="Gao, Yao, Chen",
        year=2021,
        venue="EMNLP",
        arxiv="2104.08821",
        field="text",
        summary="A sentence finds itself under another dropout mask among the sentences of the batch.",
        equations=("eq. 4 (unsupervised SimCSE)",),
        official_code="princeton-nlp/SimCSE",
        differences=(
            "Of the training recipe, weight decay 0 and the linear schedule are those of the authors' trainer; it does "
            "not choose the checkpoint by STS-B.",
            "With several processes gradients reach the embeddings of all of them; the authors' reach their own only.",
        ),
    )
    views_class: ClassVar[type[TextViews]] = DropoutTwins

    def __init__(
        self,
        *,
        temperature: float = 0.05,
        head: bool = True,
        pooling: Pooling = "cls",
        max_length: int = 32,
        learning_rate: float = 3e-5,
        weight_decay: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(
            pooling=pooling, max_length=max_length, learning_rate=learning_rate, weight_decay=weight_decay, **options
        )
        check_temperature(temperature)
        self.temperature = temperature
        self.head: nn.Module = dense_tanh(self.encoder.width) if head else nn.Identity()

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return InfoNCE from view 1 to view 2."""
        z1, z2 = self.head(self.project(batch["views"]))
        return {"loss": info_nce_loss(z1, z2, temperature=self.temperature, gather=self.gather)}

    def embed(self, inputs: Mapping[str, Tensor], *, head: bool = False) -> Float[Tensor, "n d"]:
        """Return embeddings (N, D), not normalised.

        Args:
            inputs: `input_ids` and `attention_mask` (N, T).
            head: pass them through the head of the training.
        """
        embedded = super().embed(inputs)
        return self.head(embedded) if head else embedded


def dense_tanh(width: int) -> nn.Sequential:
    """Return the head `tanh(A h + b)`, with weights as BERT draws them.

    Example:
        >>> import torch
        >>> dense_tanh(4)(torch.zeros(1, 4))
        tensor([[0., 0., 0., 0.]], grad_fn=<TanhBackward0>)
    """
    dense = nn.Linear(width, width)
    nn.init.normal_(dense.weight, std=0.02)
    nn.init.zeros_(dense.bias)
    return nn.Sequential(dense, nn.Tanh())
