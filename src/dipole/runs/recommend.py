"""Recommend items with a trained run."""

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dipole.data.recommendation import Interactions, load_interactions
from dipole.errors import InputError
from dipole.evaluation.ranking import top_items
from dipole.methods.recommendation.base import SequentialRecommender
from dipole.runs.directory import Run
from dipole.runs.domains.recommendation import COLUMNS, DOMAIN, states
from dipole.runs.loading import load
from dipole.runs.model import model_config

EVERYBODY = "all"
BLOCK = 4096  # users at a time


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


@dataclass(frozen=True)
class Wanted:
    """What is recommended, and what is not.

    Args:
        k: items for each user.
        include_seen: also recommend what the user has used before.
        allowed: the only items that are recommended; all if None.
        excluded: items that are not recommended, to anybody (under None) or to a user.
    """

    k: int = 10
    include_seen: bool = False
    allowed: Sequence[str] | None = None
    excluded: Mapping[str | None, Sequence[str]] | None = None


def recommend(
    run: str | Path,
    users: Sequence[str] | str = (),
    *,
    items: Sequence[str] = (),
    k: int = 10,
    include_seen: bool = False,
    allowed: Sequence[str] | None = None,
    excluded: Mapping[str | None, Sequence[str]] | None = None,
    data: str | None = None,
    data_root: str | Path | None = None,
    loading: Mapping[str, Any] | None = None,
) -> dict[str, list[Recommended]]:
    """Recommend items to users of the data, or to somebody who has used the given items.

    All that a user has done is read, also what training left out. Items that training has not seen are unknown to the
    model: they do not count in a history.

    Args:
        run: a run directory, or a model folder.
        users: names of users in the data; `"all"` for everybody who has used an item that the model knows.
        items: names of items in the order of time, of a user who is not in the data.
        k: items for each user.
        include_seen: also recommend what the user has used before.
        allowed: see `Wanted`.
        excluded: see `Wanted`.
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
    if items:
        rows = np.zeros(1, dtype=np.int64)
    elif users == EVERYBODY and EVERYBODY not in table.users:
        rows = np.unique(table.user)
    else:
        rows = np.array(_find(table, [users] if isinstance(users, str) else users), dtype=np.int64)
    return dict(recommendations(method, table, rows, Wanted(k, include_seen, allowed, excluded)))


@torch.inference_mode()
def recommendations(
    method: SequentialRecommender, table: Interactions, rows: np.ndarray, wanted: Wanted
) -> Iterator[tuple[str, list[Recommended]]]:
    """Yield users and what is recommended to them, some users at a time.

    Args:
        method: a recommender.
        table: histories in terms of the items that the method knows.
        rows: which users.
        wanted: see `Wanted`.

    Raises:
        InputError: k is below 1, or none of the allowed items is known to the model.
    """
    place = {name: index for index, name in enumerate(table.items, start=1)}
    columns = _allowed(place, wanted.allowed)
    embedding = method.encoder.item_embedding.weight[columns]
    column = torch.zeros(1 + len(table.items), dtype=torch.long)  # 0 for what is not allowed anyway
    column[columns] = torch.arange(len(columns))
    excluded = wanted.excluded or {}
    for start in range(0, len(rows), BLOCK):
        part = rows[start : start + BLOCK]
        left_out = []
        for row in part.tolist():
            names = [*excluded.get(None, ()), *excluded.get(table.users[row], ())]
            gone = [place[name] for name in names if name in place]
            seen = [] if wanted.include_seen else table.history(row).tolist()
            left_out.append(torch.tensor([*seen, *gone], dtype=torch.long))
        padded = torch.nn.utils.rnn.pad_sequence(left_out, batch_first=True)
        found = top_items(states(method, table, part), embedding, wanted.k, exclude=column[padded])
        chosen = columns[found.items]
        for row, items, scores in zip(part.tolist(), chosen.tolist(), found.scores.tolist(), strict=True):
            yield (
                table.users[row],
                [
                    Recommended(rank, score, table.items[item - 1], table.title(item))
                    for rank, (item, score) in enumerate(zip(items, scores, strict=True), start=1)
                    if item
                ],
            )


def _allowed(place: Mapping[str, int], allowed: Sequence[str] | None) -> Tensor:
    """The places of the items that may be recommended, behind that of the padding."""
    if allowed is None:
        return torch.arange(1 + len(place))
    known = sorted({place[name] for name in allowed if name in place})
    if not known:
        raise InputError(
            f"the model knows none of the {len(allowed)} items that are allowed. Names look like {next(iter(place))!r}."
        )
    return torch.tensor([0, *known])


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


def _find(table: Interactions, users: Sequence[str]) -> list[int]:
    """The rows of users who have used something."""
    place = {name: row for row, name in enumerate(table.users)}
    for user in users:
        if user not in place:
            raise InputError(f"{table.name} has no user {user!r}.{_hint(user, table.users)}")
        if not len(table.history(place[user])):
            raise InputError(f"nothing that {user} has used is known to the model: there is nothing to go by.")
    return [place[user] for user in users]


def _hint(name: str, known: Sequence[str]) -> str:
    """What was probably meant."""
    close = difflib.get_close_matches(name, known, 1)
    return f" Did you mean {close[0]!r}?" if close else f" Names look like {known[0]!r}."
