"""Recommenders that read a user's history and score every item as the next one."""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from dipole.losses.common import accumulate
from dipole.methods.base import Method
from dipole.methods.optimization import OptimizerName, ScheduleName
from dipole.nn.recommendation import SASRecEncoder
from dipole.views.sequences import NextItem


class SequentialRecommender(Method):
    """An encoder of histories that is trained to predict the next item.

    Args:
        items: number of items; the data decide.
        max_length: the latest so many items of a history are read.
        width: of states and item embeddings.
        heads: of the attention.
        layers: of the encoder.
        inner_width: of the feed-forward networks.
        dropout: of embeddings and hidden states.
        attention_dropout: of attention weights.
        optimizer: see `Method`; so are the next three.
        learning_rate: after warm-up.
        weight_decay: of matrices.
        schedule: of the learning rate.
        **optimization: further arguments of `Method`.
    """

    domain: ClassVar[str] = "recommendation"
    views_class: ClassVar[type[NextItem]] = NextItem
    # Names of the items, in their order from 1; what has trained the method sets them.
    catalogue: tuple[str, ...] = ()

    def __init__(
        self,
        *,
        items: int = 1,
        max_length: int = 50,
        width: int = 64,
        heads: int = 2,
        layers: int = 2,
        inner_width: int = 256,
        dropout: float = 0.5,
        attention_dropout: float = 0.5,
        optimizer: OptimizerName = "adam",
        learning_rate: float = 1e-3,
        weight_decay: float = 0.0,
        schedule: ScheduleName = "constant",
        **optimization: Any,
    ) -> None:
        super().__init__(
            optimizer=optimizer,
            learning_rate=learning_rate,
            weight_decay=weight_decay,
            schedule=schedule,
            **optimization,
        )
        self.encoder = SASRecEncoder(
            items,
            max_length=max_length,
            width=width,
            heads=heads,
            layers=layers,
            inner_width=inner_width,
            dropout=dropout,
            attention_dropout=attention_dropout,
        )

    def next_item_loss(self, states: Float[Tensor, "n h"], targets: Int[Tensor, " n"]) -> Float[Tensor, ""]:
        """Return the cross entropy of the next items among all items, the padding included, as in RecBole."""
        return F.cross_entropy(accumulate(self.encoder.scores(states)), targets)

    def embed(self, inputs: Mapping[str, Tensor]) -> Float[Tensor, "n h"]:
        """Return the states (N, H) of histories: `history` (N, L) and `length` (N,)."""
        return accumulate(self.encoder(inputs["history"], inputs["length"]))
