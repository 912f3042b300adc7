"""One modality from another."""

from itertools import permutations
from typing import ClassVar

from dipole.evaluation.cross_modal import KS, related
from dipole.evaluation.materials import ModalityMaterial
from dipole.evaluation.modal import ModalCandidate, Shares, rows_of
from dipole.evaluation.protocol import Measured, Protocol


class ModalRetrieval(Protocol):
    """R@1, R@5 and R@10 from each modality to each other one."""

    name: ClassVar[str] = "retrieval"
    domains = ("multimodal",)
    measures = "items"
    place = 0

    def measure(self, material: ModalityMaterial) -> Measured:
        """Return three columns for each pair, and what chance would give."""
        shares = {name: Shares() for name in material.able(self.measures)}
        for name, candidate in material.able(self.measures).items():
            for first, second in permutations(candidate.items, 2):
                self._add(shares[name], candidate, first, second)
        return Measured(rows_of(shares), {"rows": material.rows})

    @staticmethod
    def _add(shares: Shares, candidate: ModalCandidate, first: str, second: str) -> None:
        """Add the shares of one direction."""
        items = candidate.items
        pairs = related(items[first].rows, items[second].rows)
        known = [place for place, keys in enumerate(pairs) if keys]
        if not known:
            return
        queries = candidate.queries({first: items[first].embeddings[known]}, second)
        if queries is not None:
            names = {f"{first} → {second} R@{k}": k for k in KS}
            shares.add(names, candidate, queries, items[second].embeddings, [pairs[place] for place in known])
