"""SASRec: self-attention over a user's items."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from dipole.card import Card
from dipole.methods.recommendation.base import SequentialRecommender


class SASRec(SequentialRecommender):
    """A causal transformer reads a history and predicts the next item among all items.

        1. h = f(history)          2. minimise the cross entropy of softmax(h Eᵀ), E the item embeddings

    Args:
        **options: arguments of `SequentialRecommender` and `Method`.

    Example:
        >>> import torch
        >>> method = SASRec(items=9, max_length=4, width=8)
        >>> views = {"history": torch.tensor([[3, 5, 0, 0]]), "length": torch.tensor([2]), "target": torch.tensor([7])}
        >>> sorted(method.loss_terms({"views": views, "index": torch.arange(1)}))
        ['loss']
    """

    card = Card(
        name="sasrec",
        slug="sasrec",
        title="Self-Attentive Sequential Recommendation",
        authors="Kang, McAuley",
        year=2018,
        venue="ICDM",
        arxiv="1808.09781",
        field="recommendation",
        summary="A causal transformer over a user's items predicts the next one; no contrast, the baseline.",
        equations=("self-attention over the history", "score of the next item"),
        official_code="kang205/SASRec",
        differences=(
            "As RecBole's version, on which MCLRec stands: cross entropy over all items, not one sampled negative, "
            "layers normalised after each part, GELU, one row for each prefix of a history.",
        ),
    )

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the cross entropy of the next item."""
        views = batch["views"]
        states = self.encoder(views["history"], views["length"])
        return {"loss": self.next_item_loss(states, views["target"])}
