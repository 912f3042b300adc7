"""Ranking of the next item while a recommender trains."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor

from dipole.data.recommendation import SequenceSet
from dipole.evaluation.ranking import full_ranking, ranking_metrics
from dipole.nn import undisturbed

BLOCK = 1024  # users that are encoded at a time
Embed = Callable[[Mapping[str, Tensor]], Tensor]


@torch.no_grad()
def rank_next_items(
    embed: Embed, items: Float[Tensor, "m d"], sequences: SequenceSet, *, exclude_seen: bool = False
) -> Tensor:
    """Rank the next item of every row among all items, some users at a time.

    Args:
        embed: histories to states, `{"history": (N, L), "length": (N,)}` to (N, D).
        items: (1 + items, D), row 0 for the padding; also says on which device to compute.
        sequences: the rows.
        exclude_seen: items that the user has used before are no candidates.

    Returns:
        (N,) ranks from 1.
    """
    ranks = []
    for indices in torch.arange(len(sequences)).split(BLOCK):
        fetched: Any = sequences.fetch(indices)
        rows = {name: value.to(items.device) for name, value in fetched.items()}
        exclude = sequences.seen(indices).to(items.device) if exclude_seen else None
        ranks.append(full_ranking(embed(rows), items, rows["target"], exclude=exclude).cpu())
    return torch.cat(ranks) if ranks else torch.empty(0, dtype=torch.int64)


class OnlineRanking(Callback):
    """Log HR@10, NDCG@10 and MRR@10 of some validation rows after every epoch; training is not disturbed.

    Args:
        sequences: rows to rank; see `split_sequences`.
        most: the first so many rows are ranked.
    """

    def __init__(self, sequences: SequenceSet, *, most: int = 2048) -> None:
        self.sequences = sequences.head(most)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Rank with the encoder as it is now."""
        module: Any = pl_module
        with undisturbed(pl_module):
            ranks = rank_next_items(module.embed, module.encoder.item_embedding.weight, self.sequences)
        for name, value in ranking_metrics(ranks, [10]).items():
            pl_module.log(name.lower(), value, on_epoch=True, sync_dist=True)
