"""Who used what, in the order of time."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Int64

from dipole.errors import InputError
from dipole.ops.checks import check_at_least


@dataclass(frozen=True)
class Interactions:
    """Interactions of users with items: sorted by user, and by time within a user.

    Item 0 is padding and no item, so that item i has the name `items[i − 1]`.

    Attributes:
        name: of the data.
        users: names of the users.
        items: names of the items.
        user: (n,) index into `users`, ascending.
        item: (n,) 1 to the number of items.
        skipped: what was left out, with counts.
        titles: of items by their names, for people to read.
    """

    name: str
    users: tuple[str, ...]
    items: tuple[str, ...]
    user: Int64[np.ndarray, " n"]
    item: Int64[np.ndarray, " n"]
    skipped: tuple[str, ...] = ()
    titles: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.user)

    def __repr__(self) -> str:
        counts = f"{len(self)} interactions, {len(self.users)} users, {len(self.items)} items"
        return f"Interactions({self.name!r}, {counts})"

    def title(self, item: int) -> str:
        """What people read for an item (from 1): its title, or its name."""
        return self.items[item - 1] if self.titles is None else self.titles[item - 1]

    def history(self, user: int) -> Int64[np.ndarray, " k"]:
        """Return the items (k,) of a user in the order of time."""
        first, last = np.searchsorted(self.user, [user, user + 1])
        return self.item[first:last]

    def keep(self, rows: np.ndarray) -> "Interactions":
        """Return some interactions; users and items that none is left of are dropped and the others renumbered.

        Args:
            rows: (n,) bool, or indices in ascending order.
        """
        users, user = np.unique(self.user[rows], return_inverse=True)
        items, item = np.unique(self.item[rows], return_inverse=True)
        return replace(
            self,
            users=tuple(self.users[index] for index in users),
            items=tuple(self.items[index - 1] for index in items),
            titles=None if self.titles is None else tuple(self.titles[index - 1] for index in items),
            user=user.astype(np.int64),
            item=item.astype(np.int64) + 1,
        )

    def with_items(self, items: Sequence[str]) -> "Interactions":
        """Return the interactions in terms of the items of a model; those with others are left out.

        The users stay, also those of whom nothing is left.
        """
        place = {name: index for index, name in enumerate(items, start=1)}
        lookup = np.array([0, *(place.get(name, 0) for name in self.items)])
        titles = None
        if self.titles is not None:
            known = dict(zip(self.items, self.titles, strict=True))
            titles = tuple(known.get(name, name) for name in items)
        item = lookup[self.item]
        unseen = int((item == 0).sum())
        notes = (f"{unseen} interactions with items that training has not seen",) if unseen else ()
        return replace(
            self,
            items=tuple(items),
            titles=titles,
            user=self.user[item > 0],
            item=item[item > 0],
            skipped=(*self.skipped, *notes),
        )


def interactions_of(
    users: Sequence[str], items: Sequence[str], times: np.ndarray | None = None, name: str = "interactions"
) -> Interactions:
    """Sort interactions by user and time; those of one time keep their order.

    Users and items are numbered in the order in which they first appear.

    Args:
        users: n names.
        items: n names.
        times: (n,) numbers; if they are None, interactions are in the order of time already.
        name: of the data.

    Raises:
        InputError: there are none, or the lengths differ.

    Example:
        >>> found = interactions_of(["ann", "bob", "ann"], ["tea", "tea", "milk"], np.array([2, 1, 1]))
        >>> found.users, found.items, found.user.tolist(), found.item.tolist()
        (('ann', 'bob'), ('tea', 'milk'), [0, 0, 1], [2, 1, 1])
    """
    if not len(users) or len(users) != len(items) or (times is not None and len(times) != len(users)):
        raise InputError(f"{name}: {len(users)} users and {len(items)} items: expected one of each, and one or more.")
    user_index = {user: index for index, user in enumerate(dict.fromkeys(users))}
    item_index = {item: index for index, item in enumerate(dict.fromkeys(items), start=1)}
    user = np.array([user_index[each] for each in users], dtype=np.int64)
    item = np.array([item_index[each] for each in items], dtype=np.int64)
    order = np.argsort(user, kind="stable") if times is None else np.lexsort((times, user))
    return Interactions(name, tuple(user_index), tuple(item_index), user[order], item[order])


def k_core(interactions: Interactions, k: int = 5) -> Interactions:
    """Leave out users and items with fewer than k interactions, again and again until all have k.

    Args:
        interactions: see `Interactions`.
        k: 1 or more; 1 keeps all.

    Raises:
        InputError: nothing is left.

    Example:
        >>> found = interactions_of(["ann", "ann", "bob", "bob", "cat"], ["tea", "milk", "tea", "milk", "tea"])
        >>> k_core(found, 2)
        Interactions('interactions', 4 interactions, 2 users, 2 items)
    """
    check_at_least(k, 1, "min_interactions")
    left = interactions
    while len(left):
        enough = (np.bincount(left.user)[left.user] >= k) & (np.bincount(left.item)[left.item] >= k)
        if enough.all():
            break
        left = left.keep(enough)
    if not len(left):
        raise InputError(
            f"{interactions.name}: no user and item has {k} interactions with others that have as many: "
            "give more data, or a smaller --loading.min_interactions."
        )
    dropped = len(interactions) - len(left)
    if not dropped:
        return left
    note = f"{dropped} interactions of users or items with fewer than {k}"
    return replace(left, skipped=(*interactions.skipped, note))


def keep_last(interactions: Interactions, count: int | None) -> Interactions:
    """Keep the latest interactions of every user.

    Args:
        interactions: see `Interactions`.
        count: how many; all if None.

    Example:
        >>> keep_last(interactions_of(["ann", "ann", "bob"], ["tea", "milk", "tea"]), 1).item.tolist()
        [2, 1]
    """
    if count is None:
        return interactions
    check_at_least(count, 1, "last")
    ends = np.searchsorted(interactions.user, interactions.user, side="right")
    return interactions.keep(np.arange(len(interactions)) >= ends - count)
