"""Fine-tuning of a retriever with relevant passages, as Contriever's authors do it."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.losses import hard_negatives_info_nce_loss, info_nce_loss
from dipole.losses.common import unit_rows
from dipole.losses.info_nce import check_label_smoothing
from dipole.methods.text.contriever import CARD, collapse_monitors
from dipole.methods.text.pairs import TextPairs, Tuples


class ContrieverFinetune(TextPairs):
    """A question finds a relevant passage among all passages of the batch, negatives of other questions too.

        1. of every question: draw a relevant passage and n negatives, hard ones with some probability
        2. q = f(question), p = f(passage)
        3. minimise InfoNCE of the question and its passage against all passages, with inner products and temperature τ

    Args:
        encoder: what is fine-tuned, see `SentenceEmbedding`.
        temperature: τ.
        normalize: compare by cosines in place of inner products.
        label_smoothing: ε of the cross entropy.
        max_length: tokens of a text that are read for inference.
        learning_rate: after warm-up.
        warmup_epochs: see `Method`; so are the next three.
        adam_beta2: β₂.
        adam_epsilon: ε of the optimiser.
        decay_all: biases and norms decay too.
        **options: further arguments of `TextPairs`, such as prompts, masks, Matryoshka widths or distillation, of
            `SentenceEmbedding` and `Method`.

    Example:
        >>> import tempfile, torch
        >>> from dipole.nn.text import new_bert
        >>> relevant, other = [{"text": "cats"}], [{"text": "dogs"}]
        >>> record = {"question": "who purrs?", "positive_ctxs": relevant, "negative_ctxs": other}
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     method = ContrieverFinetune(encoder=str(new_bert(["cats", "dogs"], folder, width=8)), max_length=64)
        >>> views = method.build_views()([record, record], method.encoder.tokenizer)
        >>> sorted(method.loss_terms({"views": views, "index": torch.arange(2)}))
        ['accuracy', 'key_std', 'loss', 'query_std']
    """

    card = replace(
        CARD,
        name="contriever-finetune",
        summary="A question finds its relevant passage among all passages of the batch, hard negatives included.",
        equations=("InfoNCE in the batch with hard negatives",),
        differences=(
            "The optimiser is AdamW, the only one that the authors' code has; the paper names ASAM. Learning rate 1e-5 "
            "and temperature 0.05 are as remembered from the paper, not checked.",
            "Questions with too few negatives are filled up with passages that do not count, so that every process has "
            "as many.",
            "Which characters the authors' text normalisation replaces was not checked: quotes, hyphens, spaces and "
            "control characters here.",
            "Logits and cross entropy are float32 in every precision.",
        ),
    )

    def __init__(
        self,
        *,
        encoder: str | nn.Module = "facebook/contriever",
        temperature: float = 0.05,
        normalize: bool = False,
        label_smoothing: float = 0.0,
        max_length: int = 512,
        learning_rate: float = 1e-5,
        warmup_epochs: float = 0.04,
        adam_beta2: float = 0.98,
        adam_epsilon: float = 1e-6,
        decay_all: bool = True,
        **options: Any,
    ) -> None:
        super().__init__(
            encoder=encoder,
            temperature=temperature,
            normalize=normalize,
            max_length=max_length,
            learning_rate=learning_rate,
            warmup_epochs=warmup_epochs,
            adam_beta2=adam_beta2,
            adam_epsilon=adam_epsilon,
            decay_all=decay_all,
            **options,
        )
        check_label_smoothing(label_smoothing)
        if label_smoothing and (self.scope != "batch" or self.false_negative_threshold is not None):
            raise InputError(
                f"label_smoothing is {label_smoothing}: it spreads over all candidates, so it needs scope 'batch' and "
                "no false_negative_threshold."
            )
        self.label_smoothing = label_smoothing

    def contrast(self, tuples: Tuples, exclude: Tensor | None) -> Tensor:
        """Return InfoNCE from questions to passages."""
        if not self.label_smoothing:
            return super().contrast(tuples, exclude)
        questions, relevant, negatives, valid = tuples
        options: dict[str, Any] = {
            "temperature": self.temperature,
            "label_smoothing": self.label_smoothing,
            "normalize": self.normalize,
            "gather": self.gather,
        }
        if not negatives.shape[1]:
            return info_nce_loss(questions, relevant, **options)
        return hard_negatives_info_nce_loss(
            questions, relevant, negatives.flatten(0, 1), valid=valid.flatten(), **options
        )

    def monitored(self, tuples: Tuples) -> dict[str, Tensor]:
        """Return what shows a collapse."""
        candidates = torch.cat([tuples.positives, tuples.negatives[tuples.valid]]).detach()
        questions, relevant, others = (
            unit_rows(rows, self.normalize) for rows in (tuples.queries, tuples.positives, candidates)
        )
        return collapse_monitors(questions, relevant, others)
