"""MultiCSR, stage 3: training on triplets that a language model has written."""

from collections.abc import Mapping
from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor, nn

from dipole.card import Card
from dipole.errors import InputError
from dipole.losses import masked_contrast_loss
from dipole.methods.text.pairs import TextPairs, Tuples
from dipole.methods.text.simcse import dense_tanh
from dipole.nn.text import Pooling


class MultiCSR(TextPairs):
    """A sentence finds the one that follows from it; what a frozen encoder finds too similar is no negative.

        1. encode sentence, positive and hard negative          2. z = tanh(A h + b), while training
        3. m_ij = 0 where a frozen encoder says cos(p_i, p_j^±) > φ, 1 elsewhere and for the positive
        4. minimise −log [ exp(s_ii⁺ / τ) / Σ_j m_ij exp(s_ij^± / τ) ]

    The stages before it write and curate the triplets: `dipole triplets` and `dipole curate`.

    Args:
        teacher: the frozen encoder; the authors' is an unsupervised SimCSE of the same family. A copy of the encoder as
            it begins if None.
        false_negative_threshold: φ; no mask if None.
        form: of the loss: what is meant (`"info_nce"`), or what the authors' code computes (`"official_bce"`), see
            `masked_contrast_loss`.
        head: train through a dense layer and tanh, which embeddings for inference do not pass.
        temperature: τ.
        pooling: see `SentenceEmbedding`; so are the next three.
        max_length: tokens of a sentence.
        learning_rate: after warm-up.
        weight_decay: of matrices.
        **options: further arguments of `TextPairs`, `SentenceEmbedding` and `Method`.

    Example:
        >>> import tempfile, torch
        >>> from dipole.nn.text import new_bert
        >>> triplets = [{"text": "a cat", "positive": "a pet", "negative": "no cat"}] * 2
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     method = MultiCSR(encoder=str(new_bert(["a cat", "no pet"], folder, width=8)))
        >>> views = method.build_views()(triplets, method.encoder.tokenizer)
        >>> sorted(method.loss_terms({"views": views, "index": torch.arange(2)}))
        ['accuracy', 'loss', 'masked']
    """

    card = Card(
        name="multicsr",
        slug="multicsr",
        title="Large Language Models can Contrastively Refine their Generation for Better Sentence Representation "
        "Learning",
        authors="Wang, Li, Cheng, Soh, Bing",
        year=2024,
        venue="NAACL",
        arxiv="2310.10962",
        field="text",
        summary="Triplets that a language model wrote and scored; negatives that are none are masked.",
        equations=("stage 1 (`opposing-instructions`)", "stage 2 (`curate_triplets`)", "stage 3 (masked InfoNCE)"),
        official_code="Circle-Ming/MultiCSR",
        differences=(
            "Masked candidates leave the denominator. The authors' code sets their logits to 0 and takes the binary "
            'cross entropy of all entries: `form="official_bce"`.',
            "The mask compares the cosine with φ; the authors' code cos / τ with 20 φ, which is the same at τ = 0.05.",
            "The frozen encoder is in evaluation mode and no part of the weights. The authors' runs with dropout and "
            "stands in optimiser and checkpoint.",
            "Curation asks for a gap of γ = 1 as the authors' figure; their code for unequal scores: `official_gap`.",
            "The paper's text was not at hand but for its beginning: ω and the tables are not known.",
        ),
    )

    def __init__(
        self,
        *,
        teacher: str | nn.Module | None = None,
        false_negative_threshold: float | None = 0.95,
        form: Literal["info_nce", "official_bce"] = "info_nce",
        head: bool = True,
        temperature: float = 0.05,
        pooling: Pooling = "cls",
        max_length: int = 32,
        learning_rate: float = 5e-5,
        weight_decay: float = 0.0,
        **options: Any,
    ) -> None:
        super().__init__(
            teacher=teacher,
            false_negative_threshold=false_negative_threshold,
            temperature=temperature,
            pooling=pooling,
            max_length=max_length,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            **options,
        )
        if form == "official_bce" and self.scope != "batch":
            raise InputError(f"form 'official_bce' contrasts with the whole batch: scope cannot be {self.scope!r}.")
        self.form = form
        self.head: nn.Module = dense_tanh(self.encoder.width) if head else nn.Identity()

    def project(self, views: Mapping[str, Tensor]) -> Float[Tensor, "v n d"]:
        """Embed views through the head."""
        return self.head(super().project(views))

    def contrast(self, tuples: Tuples, exclude: Tensor | None) -> Tensor:
        """Return the masked loss of triplets."""
        if self.form == "info_nce" or exclude is None:
            return super().contrast(tuples, exclude)
        if tuples.negatives.shape[1] != 1 or not bool(tuples.valid.all()):
            raise InputError("form 'official_bce' needs one hard negative of every sentence: complete the triplets.")
        return masked_contrast_loss(
            tuples.queries,
            tuples.positives,
            tuples.negatives[:, 0],
            exclude,
            form=self.form,
            temperature=self.temperature,
            gather=self.gather,
        )
