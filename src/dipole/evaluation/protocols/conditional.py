"""One modality from all others."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from dipole.evaluation.materials import ModalityMaterial
from dipole.evaluation.modal import ModalCandidate, Shares, rows_of
from dipole.evaluation.protocol import Measured, Protocol


class Conditional(Protocol):
    """How often each modality is found from all others of its row, by itself and by its class.

    What a row lacks has its stand-in, or is left out of the score; where neither can be, the row is no query.
    """

    name: ClassVar[str] = "conditional"
    domains = ("multimodal",)
    measures = "items"
    place = 20

    def lacks(self, material: ModalityMaterial) -> str | None:
        """Three modalities."""
        if all(len(one.items) < 3 for one in material.able(self.measures).values()):
            return "of two modalities it is retrieval"
        return None

    def measure(self, material: ModalityMaterial) -> Measured:
        """Return R@1 for each modality, by itself and by its class, and what chance would give."""
        shares = {name: Shares() for name in material.able(self.measures)}
        for name, candidate in material.able(self.measures).items():
            for target in candidate.items:
                _add(shares[name], candidate, target, material.labels)
        return Measured(rows_of(shares), {"rows": material.rows})


def _add(shares: Shares, candidate: ModalCandidate, target: str, labels: Sequence[str | None] | None) -> None:
    """Add the shares of one modality."""
    items = candidate.items
    own = items[target]
    others = [name for name in items if name != target]
    needed = [name for name in others if candidate.missing(name) is None]
    rows = [
        row
        for row, found in enumerate(own.rows)
        if found and any(items[name].rows[row] for name in others) and all(items[name].rows[row] for name in needed)
    ]
    if not rows:
        return
    queries = [_given(candidate, name, rows) for name in others]
    title = f"{target} | {', '.join(others)}"
    shares.add({f"{title} R@1": 1}, candidate, queries, own.embeddings, [own.rows[row] for row in rows])
    if labels is not None and all(labels[row] is not None for row in rows):
        alike: dict[str | None, dict[int, None]] = {}
        for row, label in enumerate(labels):
            alike.setdefault(label, {}).update(dict.fromkeys(own.rows[row]))
        relevant = [list(alike[labels[row]]) for row in rows]
        shares.add({f"{title} class": 1}, candidate, queries, own.embeddings, relevant)


def _given(candidate: ModalCandidate, name: str, rows: Sequence[int]) -> Tensor:
    """Embeddings (N, D) of a modality of some rows, its stand-in where it is missing."""
    items, stand_in = candidate.items[name], candidate.missing(name)
    return torch.stack(
        [items.first(row) if items.rows[row] or stand_in is None else stand_in.float().cpu() for row in rows]
    )
