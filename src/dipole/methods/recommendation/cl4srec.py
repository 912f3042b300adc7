"""CL4SRec: SASRec and contrast of two views of a history."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from dipole.card import Card
from dipole.losses.mclrec import Similarity, two_view_info_nce
from dipole.methods.recommendation.base import SequentialRecommender
from dipole.ops.checks import check_at_least, check_choice, check_temperature
from dipole.views.sequences import SequenceViews


class CL4SRec(SequentialRecommender):
    """SASRec, whose states of two views of a history find each other among those of the batch.

        1. h = f(history), h₁, h₂ = f(two views of it)
        2. minimise the cross entropy of the next item and λ · NT-Xent(h₁, h₂)

    Args:
        sequence_weight: λ.
        temperature: of NT-Xent.
        similarity: `"dot"` or `"cosine"`.
        **options: arguments of `SequentialRecommender` and `Method`.

    Raises:
        InputError: an argument is out of range.
    """

    card = Card(
        name="cl4srec",
        slug="cl4srec",
        title="Contrastive Learning for Sequential Recommendation",
        authors="Xie, Sun, Liu, Wu, Gao, Zhang, Ding, Cui",
        year=2022,
        venue="ICDE",
        arxiv="2010.14395",
        field="recommendation",
        summary="SASRec with contrast of two hand-made views of a history: cropped, masked or reordered.",
        equations=("contrastive loss of two views", "joint objective"),
        official_code=None,
        differences=(
            "Views, similarity and temperature are those of MCLRec's code, so that the two differ in the augmenters "
            "alone: an operation is not drawn twice, masked items are padding, inner products with temperature 1.",
        ),
    )
    views_class = SequenceViews

    def __init__(
        self,
        *,
        sequence_weight: float = 0.1,
        temperature: float = 1.0,
        similarity: Similarity = "dot",
        **options: Any,
    ) -> None:
        super().__init__(**options)
        check_at_least(sequence_weight, 0, "sequence_weight")
        check_temperature(temperature)
        check_choice(similarity, ("dot", "cosine"), "similarity")
        self.sequence_weight, self.temperature, self.similarity = sequence_weight, temperature, similarity

    def loss_terms(self, batch: Mapping[str, Any]) -> dict[str, Tensor]:
        """Return the loss and its two parts."""
        h, h1, h2 = self.encode_views(batch["views"])
        recommendation = self.next_item_loss(h, batch["views"]["target"])
        contrast = two_view_info_nce(h1, h2, temperature=self.temperature, similarity=self.similarity)
        loss = recommendation + self.sequence_weight * contrast
        return {"loss": loss, "recommendation": recommendation, "sequences": contrast}

    def encode_views(self, views: Mapping[str, Tensor]) -> Tensor:
        """Return the states (3, N, H) of the histories and of their two views, from one pass of the encoder."""
        histories = torch.cat([views["history"][None], views["views"]]).flatten(0, 1)
        lengths = torch.cat([views["length"][None], views["view_lengths"]]).flatten()
        return self.encoder(histories, lengths).unflatten(0, (3, -1))
