"""Searches from one modality in another, for a report."""

from collections.abc import Mapping
from itertools import permutations

import torch
from torch import Tensor

from dipole.evaluation.cross_modal import related
from dipole.methods.multimodal.base import AnyModal
from dipole.report.cross_modal import Search, Shown
from dipole.runs.modality_items import Items, queries_of

MOST_PAIRS = 6
QUERIES = 4
FOUND = 4


@torch.inference_mode()
def searches(method: AnyModal, items: Mapping[str, Items], seed: int = 0) -> list[Search]:
    """Search with a few samples of each modality in each other one.

    Args:
        method: whose score is used.
        items: embedded contents of each modality.
        seed: of the choice of samples.
    """
    made: list[Search] = []
    for first, second in permutations(items, 2):
        own, other = items[first], items[second]
        pairs = related(own.rows, other.rows)
        known = torch.tensor([place for place, keys in enumerate(pairs) if keys])
        if not len(known) or len(made) == MOST_PAIRS:
            continue
        order = torch.randperm(len(known), generator=torch.Generator().manual_seed(seed))
        chosen = known[order[:QUERIES]].sort().values
        queries = queries_of(method, {first: own.embeddings[chosen]}, second)
        if queries is None:
            continue
        best = method.score(queries, other.embeddings).topk(min(FOUND, len(other.embeddings)), dim=1)
        rows = []
        for query, places, scores in zip(chosen.tolist(), best.indices.tolist(), best.values.tolist(), strict=True):
            found = (
                _shown(method, second, other, place, score, place in pairs[query])
                for place, score in zip(places, scores, strict=True)
            )
            rows.append((_shown(method, first, own, query), tuple(found)))
        made.append(Search(f"{first} → {second}", tuple(rows)))
    return made


def _shown(
    method: AnyModal, name: str, items: Items, place: int, score: float | None = None, belongs: bool | None = None
) -> Shown:
    """A content as a reader sees or hears it."""
    cell, facts = items.read[place](), method.modalities[name]
    if facts["kind"] == "sound" and isinstance(cell, Tensor):
        return Shown(items.shown[place], None, score, belongs, cell, int(facts["rate"]))
    return Shown(items.shown[place], _image(cell), score, belongs)


def _image(cell: object) -> Tensor | None:
    """The cell, if it is an image."""
    return cell if isinstance(cell, Tensor) and cell.ndim == 3 else None
