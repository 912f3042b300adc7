"""The next item among all items."""

from typing import ClassVar

from dipole.evaluation.materials import InteractionMaterial
from dipole.evaluation.protocol import Measured, Protocol
from dipole.evaluation.ranking import CUTOFFS, ranking_metrics


class Ranking(Protocol):
    """HR and NDCG of the last item of every user among all items, as in RecBole."""

    name: ClassVar[str] = "ranking"
    domains = ("recommendation",)
    measures = "rank_items"
    place = 0
    exclude_seen: ClassVar[bool] = False
    heading: ClassVar[str] = "{}"

    def measure(self, material: InteractionMaterial) -> Measured:
        """Return a column for each metric and cutoff."""
        rows = {}
        for name, candidate in material.able(self.measures).items():
            metrics = ranking_metrics(candidate.rank_items(material.test, self.exclude_seen), CUTOFFS)
            rows[name] = {self.heading.format(key): value for key, value in metrics.items() if key[:3] != "MRR"}
        return Measured(rows)


class Unseen(Ranking):
    """The same, where only what the user has not used before is a candidate."""

    name: ClassVar[str] = "unseen"
    place = 10
    exclude_seen = True
    heading = "{}, unseen"
