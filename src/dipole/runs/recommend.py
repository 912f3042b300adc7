"""Recommend items with a trained run."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from dipole.data.recommendation import Interactions, load_interactions
from dipole.errors import InputError
from dipole.evaluation.ranking import top_items
from dipole.methods.recommendation.base import SequentialRecommender
from dipole.runs.directory import Run
from dipole.runs.domains.recommendation import COLUMNS, DOMAIN, states
from dipole.runs.loading import load
from dipole.runs.model import model_config


@dataclass(frozen=True)
class Recommended:
    """An item for a user.

    Args:
        rank: from 1.
        score: inner product of the user's state and the item's embedding.
        item: name.
        title: what people read; the name if the data have no titles.
    """

    rank: int
    score: float
    item: str
    title: str


def recommend(
    run: str | Path,
    users: Sequence[str] = (),
    *,
    items: Sequence[str] = (),
    k: int = 10,
    include_seen: bool = False,
    data: str | None = None,
    data_root: str | Path | None = None,
    loading: Mapping[str, Any] | None = None,
) -> dict[str, list[Recommended]]:
    """Recommend items to users of the data, or to somebody who has used the given items.

    All that a user has done is read, also what training left out. Items that training has not seen are unknown to the
    model: they do not count in a history.

    Args:
        run: a run directory, or a model folder.
        users: names of users in the data.
        items: names of items in the order of time, of a user who is not in the data.
        k: items for each user.
        include_seen: also recommend what the user has used before.
        data: interactions to read the histories from; those of the run if it is None.
        data_root: folder of named data sets; that of the run if it is None.
        loading: which columns are read and how, where it differs from the run.

    Returns:
        For each user, and for `items` under `"you"`, the best items, the best first.

    Raises:
        InputError: the run has no such model, or there is nobody, no such user or no known item.
    """
    if bool(users) == bool(items):
        raise InputError("recommend for whom? Name users of the data, or items that somebody has used; not both.")
    method = load(run)
    if not isinstance(method, SequentialRecommender):
        raise InputError(f"{run} is a run of {method.card.name}, which recommends no items.")
    table = _own_history(method, items) if items else _table(method, run, data, data_root, loading or {})
    rows = [0] if items else [_find(table, user) for user in users]
    empty = [table.users[row] for row in rows if not len(table.history(row))]
    if empty:
        raise InputError(f"nothing that {empty[0]} has used is known to the model: there is nothing to go by.")
    seen = None
    if not include_seen:
        histories = [torch.from_numpy(table.history(row)) for row in rows]
        seen = torch.nn.utils.rnn.pad_sequence(histories, batch_first=True)
    with torch.inference_mode():
        embedding = method.encoder.item_embedding.weight
        found = top_items(states(method, table, np.array(rows)), embedding, k, exclude=seen)
    return {
        table.users[row]: [
            Recommended(place, score, table.items[item - 1], table.title(item))
            for place, (item, score) in enumerate(zip(chosen, scores, strict=True), start=1)
            if item
        ]
        for row, chosen, scores in zip(rows, found.items.tolist(), found.scores.tolist(), strict=True)
    }


def _table(
    method: SequentialRecommender,
    run: str | Path,
    data: str | None,
    root: str | Path | None,
    loading: Mapping[str, Any],
) -> Interactions:
    """The interactions of the run or of `data`, in terms of the items that the model knows."""
    columns: dict[str, Any] = model_config(run).get("columns", {})
    columns = columns | {name: value for name, value in loading.items() if name in COLUMNS}
    if data is None:
        if not (Path(run) / "config.yaml").is_file():
            raise InputError(f"{run} is a model that does not say where histories are: give --data, or --history.")
        settings = Run.open(run).settings()
        data, root = settings.data or DOMAIN.default_data, root or settings.data_root
    return load_interactions(data, root, min_interactions=1, **columns).with_items(method.catalogue)


def _own_history(method: SequentialRecommender, items: Sequence[str]) -> Interactions:
    """A table of one user."""
    place = {name: index for index, name in enumerate(method.catalogue, start=1)}
    for name in items:
        if name not in place:
            raise InputError(f"the model knows no item {name!r}.{_hint(name, method.catalogue)}")
    item = np.array([place[name] for name in items], dtype=np.int64)
    return Interactions("items", ("you",), method.catalogue, np.zeros_like(item), item)


def _find(table: Interactions, user: str) -> int:
    """The row of a user."""
    if user not in table.users:
        raise InputError(f"{table.name} has no user {user!r}.{_hint(user, table.users)}")
    return table.users.index(user)


def _hint(name: str, known: Sequence[str]) -> str:
    """What was probably meant."""
    close = difflib.get_close_matches(name, known, 1)
    return f" Did you mean {close[0]!r}?" if close else f" Names look like {known[0]!r}."
