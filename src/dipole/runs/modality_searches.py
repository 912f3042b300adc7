"""Searches from one modality, or from all others, in another, for a report."""

from collections.abc import Mapping, Sequence
from itertools import islice, permutations

import torch
from torch import Tensor

from dipole.evaluation.cross_modal import related
from dipole.methods.multimodal.base import AnyModal
from dipole.report.cross_modal import Search, Shown
from dipole.runs.modality_items import Items, queries_of

MOST_PAIRS, MOST_JOINT = 6, 4
QUERIES = 4
FOUND = 4


@torch.inference_mode()
def searches(method: AnyModal, items: Mapping[str, Items], seed: int = 0) -> list[Search]:
    """Search with a few samples: each modality by all others, if there are three, and each by each other one.

    Args:
        method: whose score is used.
        items: embedded contents of each modality.
        seed: of the choice of samples.
    """
    joint = (_joint(method, items, target, seed) for target in items if len(items) > 2)
    made = [search for search in joint if search is not None][:MOST_JOINT]
    pairs = (_pair(method, items, first, second, seed) for first, second in permutations(items, 2))
    return made + list(islice((search for search in pairs if search is not None), MOST_PAIRS))


def _joint(method: AnyModal, items: Mapping[str, Items], target: str, seed: int) -> Search | None:
    """A search for a modality by what rows have of all others; None where no row has all, or the method needs more."""
    others = [name for name in items if name != target]
    full = [row for row, own in enumerate(items[target].rows) if own and all(items[name].rows[row] for name in others)]
    if not full:
        return None
    chosen = _drawn(torch.tensor(full), seed).tolist()
    given = {name: torch.stack([items[name].first(row) for row in chosen]) for name in others}
    queries = queries_of(method, given, target)
    if queries is None:
        return None
    shown = [tuple(_shown(method, name, items[name], items[name].rows[row][0]) for name in others) for row in chosen]
    belong = [items[target].rows[row] for row in chosen]
    return _search(method, f"{' + '.join(others)} → {target}", target, items[target], queries, shown, belong)


def _pair(method: AnyModal, items: Mapping[str, Items], first: str, second: str, seed: int) -> Search | None:
    """A search from one modality in another; None where no row has both, or the method needs more."""
    own, other = items[first], items[second]
    pairs = related(own.rows, other.rows)
    known = torch.tensor([place for place, keys in enumerate(pairs) if keys])
    if not len(known):
        return None
    chosen = _drawn(known, seed)
    queries = queries_of(method, {first: own.embeddings[chosen]}, second)
    if queries is None:
        return None
    shown = [(_shown(method, first, own, place),) for place in chosen.tolist()]
    return _search(method, f"{first} → {second}", second, other, queries, shown, [pairs[p] for p in chosen.tolist()])


def _drawn(known: Tensor, seed: int) -> Tensor:
    """A few of what is known, in order."""
    order = torch.randperm(len(known), generator=torch.Generator().manual_seed(seed))
    return known[order[:QUERIES]].sort().values


def _search(
    method: AnyModal,
    title: str,
    target: str,
    contents: Items,
    queries: Sequence[Tensor],
    shown: Sequence[tuple[Shown, ...]],
    belong: Sequence[Sequence[int]],
) -> Search:
    """What is found for each query."""
    best = method.score(queries, contents.embeddings).topk(min(FOUND, len(contents.embeddings)), dim=1)
    rows = []
    for query, own, places, scores in zip(shown, belong, best.indices.tolist(), best.values.tolist(), strict=True):
        found = (
            _shown(method, target, contents, place, score, place in own)
            for place, score in zip(places, scores, strict=True)
        )
        rows.append((query, tuple(found)))
    return Search(title, tuple(rows))


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
