"""Fine-tuning of a retriever with relevant passages, as Contriever's authors do it."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from dipole.losses import hard_negatives_info_nce_loss, info_nce_loss
from dipole.methods.text.contriever import CARD, ContrieverInBatch, collapse_monitors
from dipole.views.text import TextViews, TrainingPassages


class ContrieverFinetune(ContrieverInBatch):
    """A question finds a relevant passage among all passages of the batch, negatives of other questions too.

        1. of every question: draw a relevant passage and n negatives, hard ones with some probability
        2. q = f(question), p = f(passage)
        3. minimise InfoNCE of the question and its passage against all passages, with inner products and temperature τ

    Args:
        encoder: what is fine-tuned, see `SentenceEmbedding`.
        learning_rate: after warm-up.
        **options: arguments of `ContrieverInBatch`, `SentenceEmbedding` and `Method`.

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
    views_class = TrainingPassages
    compares_views = False

    def __init__(
        self, *, encoder: str | nn.Module = "facebook/contriever", learning_rate: float = 1e-5, **options: Any
    ) -> None:
        super().__init__(encoder=encoder, learning_rate=learning_rate, **options)

    def build_views(self, **options: Any) -> TextViews:
        """Return the questions and passages that the method trains on."""
        return TrainingPassages(max_length=self.encoder.max_length, **options)

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return InfoNCE from questions to passages; of N questions the first N passages are relevant."""
        views = batch["views"]
        questions, passages = (
            self.finished(
                self.project({name: views[f"{side}_{name}"][None] for name in ("input_ids", "attention_mask")})[0]
            )
            for side in ("query", "passage")
        )
        relevant, negatives = passages[: len(questions)], passages[len(questions) :]
        valid = views["passage_valid"]
        if len(negatives):
            loss = hard_negatives_info_nce_loss(
                questions,
                relevant,
                negatives,
                valid=valid[len(questions) :],
                gather=self.gather,
                **self.hyperparameters,
            )
        else:
            loss = info_nce_loss(questions, relevant, gather=self.gather, **self.hyperparameters)
        candidates = passages.detach()[valid]
        return {"loss": loss, **collapse_monitors(questions, relevant, candidates)}
