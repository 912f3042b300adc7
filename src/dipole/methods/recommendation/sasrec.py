"""SASRec: self-attention over a user's items."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from dipole.card import Card
from dipole.data.recommendation.splits import last_of_parts
from dipole.data.samplers import Order, Subset
from dipole.methods.recommendation.base import SequentialRecommender
from dipole.ops.checks import check_choice


class SASRec(SequentialRecommender):
    """A causal transformer reads a history and predicts the next item among all items.

        1. h = f(history)          2. minimise the cross entropy of softmax(h Eᵀ), E the item embeddings

    Args:
        positions: `"last"`: a row for each prefix of a history, whose last state predicts, as in RecBole; `"all"`: a
            row for each history, cut into parts of `max_length`, of which every state predicts, as in the paper. An
            epoch has the same targets in a small part of the time.
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
            "layers normalised after each part, GELU; and one row for each prefix of a history, unless "
            "`--method.positions all`, which the recipe takes.",
        ),
    )

    def __init__(self, *, positions: Literal["last", "all"] = "last", **options: Any) -> None:
        super().__init__(**options)
        check_choice(positions, ("last", "all"), "positions")
        self.positions = positions

    def sampling(self, training_set: Any, batch_size: int) -> Order | None:
        """Return the rows of whole histories, if every state of theirs predicts."""
        if self.positions == "last":
            return None
        return Subset(torch.from_numpy(last_of_parts(training_set.rows.user, training_set.max_length)))

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the cross entropy of the next item."""
        history, length, target = (batch["views"][name] for name in ("history", "length", "target"))
        if self.positions == "last":
            return {"loss": self.next_item_loss(self.encoder(history, length), target)}
        states = self.encoder(history, length, every=True)
        # What follows each item: the next one of the history; the target follows the last.
        following = torch.cat([history[:, 1:], torch.zeros_like(history[:, :1])], dim=1)
        following = following.scatter(1, length[:, None] - 1, target[:, None])[:, : states.shape[1]]
        known = following > 0
        return {"loss": self.next_item_loss(states[known], following[known])}
