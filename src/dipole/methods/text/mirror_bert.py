"""Mirror-BERT."""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dipole.card import Card
from dipole.losses import nt_xent_loss
from dipole.methods.optimization import ScheduleName
from dipole.methods.text.embedding import SentenceEmbedding
from dipole.nn.text import add_drophead
from dipole.nn.text.dropout import check_probability
from dipole.ops.checks import check_temperature
from dipole.views.text import SpanMaskedTwins


class MirrorBERT(SentenceEmbedding):
    """A text attracts itself with a masked span, and repels every other text of the batch.

        1. x̄ = x with a random span of five characters masked          2. encode x and x̄, with dropout or drophead
        3. minimise NT-Xent over the 2N embeddings, with cosine similarities and temperature τ

    One pass over 10,000 texts is enough.

    Args:
        temperature: τ; authors: 0.04 for sentences, 0.2 for words.
        drophead: probability of an attention head being dropped; authors: 0.2 for BERT and 0.05 for RoBERTa, with
            dropout 0.
        dropout: probability of every dropout of the encoder; its own if None.
        max_length: tokens of a text; authors: 50 for sentences, 25 for words.
        learning_rate: see `Method`; so are the next two.
        schedule: of the learning rate.
        decay_all: biases and norms decay too.
        **options: further arguments of `SentenceEmbedding` and `Method`.

    Example:
        >>> import tempfile
        >>> from dipole.nn.text import new_bert
        >>> texts = ["a cat", "two dogs"]
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     method = MirrorBERT(encoder=str(new_bert(texts, folder, width=8)))
        >>> views = method.build_views()([{"text": text} for text in texts], method.encoder.tokenizer)
        >>> sorted(method.loss_terms({"views": views, "index": torch.arange(2)}))
        ['loss']
    """

    card = Card(
        name="mirror-bert",
        slug="mirror-bert",
        title="Fast, Effective, and Self-Supervised: Transforming Masked Language Models into Universal Lexical and "
        "Sentence Encoders",
        authors="Liu, Vulić, Korhonen, Collier",
        year=2021,
        venue="EMNLP",
        arxiv="2104.08027",
        field="text",
        summary="A text attracts itself with a masked span and other dropout, and repels the other texts.",
        equations=("InfoNCE over both views of the batch", "random span masking", "drophead"),
        official_code="cambridgeltl/mirror-bert",
        differences=(
            "The loss is the mean over the 2N anchors, as in the authors' code; the paper's sum is "
            '`nt_xent_loss(…, reduction="sum")`.',
            "The span is masked where it was drawn. The authors' code masks the first place at which the same "
            "characters stand: `--views.official_first_occurrence true`.",
            "The mean leaves padding out. The published BERT numbers average padding too: `--method.pooling "
            "mean_with_padding --views.fixed_length true`.",
            "If drophead drops all heads of a text, one is kept; the authors' code divides by zero.",
            "The loss is computed in float32, not in half precision; training runs in the precision of the run.",
            "A pair of texts without exactly one `||` is an error, not skipped.",
            "Texts are not lower-cased beyond what the tokenizer does.",
        ),
    )
    views_class = SpanMaskedTwins

    def __init__(
        self,
        *,
        temperature: float = 0.04,
        drophead: float = 0.0,
        dropout: float | None = 0.1,
        max_length: int = 50,
        learning_rate: float = 2e-5,
        schedule: ScheduleName = "constant",
        decay_all: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(
            dropout=dropout,
            max_length=max_length,
            learning_rate=learning_rate,
            schedule=schedule,
            decay_all=decay_all,
            **options,
        )
        check_temperature(temperature)
        check_probability(drophead, "drophead")
        self.temperature = temperature
        if drophead > 0:
            add_drophead(self.encoder, drophead)
        self._may_be_twins = dropout == 0 and drophead == 0

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return NT-Xent of the two views."""
        views = batch["views"]
        if self._may_be_twins and torch.equal(views["input_ids"][0], views["input_ids"][1]):
            self._may_be_twins = False  # say it once
            warnings.warn(
                "both views of every text are the same: without dropout, drophead and masked spans the loss only "
                "spreads the embeddings.",
                stacklevel=2,
            )
        z1, z2 = self.project(views)
        return {"loss": nt_xent_loss(z1, z2, temperature=self.temperature, gather=self.gather)}
