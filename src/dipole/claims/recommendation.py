"""Experiments on interactions: the next item, ranked among all."""

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from dipole.claims.base import Arm, Claim, Data, Metrics
from dipole.claims.training import run_config
from dipole.data.recommendation import Interactions, SequenceSet, load_interactions, split_sequences
from dipole.evaluation.baselines.als import als_ranks
from dipole.evaluation.baselines.item_knn import item_knn_ranks
from dipole.evaluation.baselines.markov import markov_ranks
from dipole.evaluation.baselines.popularity import popularity_ranks
from dipole.evaluation.ranking import ranking_metrics
from dipole.methods.recommendation.base import SequentialRecommender
from dipole.runs import load, train
from dipole.runs.domains.recommendation import rank

CUTOFFS = (10, 20)


@dataclass(frozen=True)
class InteractionData(Data):
    """Histories to train on, and the last item of every user to rank among all items.

    Learning rates are chosen by the items before the last. Nothing is masked: what a user has used stays a candidate.

    Args:
        name: of the interactions.
        last: the latest so many interactions of every user are kept.
        max_length: items of a history.
        width: of the encoder.
        dropout: of states and of attention weights.
    """

    name: str
    last: int
    max_length: int
    width: int
    dropout: float

    tuning_metric = "HR@20"
    tuning = "learning rate by HR@20 of the validation rows"

    @property
    def label(self) -> str:
        """Name of the data, and what is taken of them."""
        return f"{self.name}, last {self.last} interactions of a user"

    def load(self, data_root: str | Path | None = None) -> Interactions:
        """Return the table."""
        return load_interactions(self.name, data_root, last=self.last)

    def size(self, loaded: Any) -> int:
        """Number of rows that are trained on."""
        return len(self._parts(loaded)[0])

    def once(self, claim: Claim, arm: Arm, rate: float, seed: int, loaded: Any, *, tune: bool) -> Metrics:
        """Train a recommender and rank."""
        _, validation, test = self._parts(loaded)
        encoder = {
            "max_length": self.max_length,
            "width": self.width,
            "dropout": self.dropout,
            "attention_dropout": self.dropout,
        }
        config = run_config(arm, self.name, rate, seed, encoder)
        with tempfile.TemporaryDirectory() as folder:
            run = train(config, Path(folder) / "run", sets=loaded, monitor=False, progress=False)
            method = cast(SequentialRecommender, load(run.path))
        return dict(ranking_metrics(rank(method, validation if tune else test), CUTOFFS))

    def references(self, claim: Claim, arm: Arm, loaded: Any) -> dict[str, dict[str, float]]:
        """What one would take without a method of this library."""
        _, _, test = self._parts(loaded)
        simple = {
            "popularity": popularity_ranks,
            "item-kNN": item_knn_ranks,
            "Markov chain": markov_ranks,
            "ALS": als_ranks,
        }
        return {name: dict(ranking_metrics(ranks(test), CUTOFFS)) for name, ranks in simple.items()}

    def _parts(self, table: Interactions) -> tuple[SequenceSet, SequenceSet, SequenceSet]:
        """Rows for training, validation and test."""
        return split_sequences(table, max_length=self.max_length)
