"""Interactions that follow simple rules, for trying things out."""

import numpy as np

from dipole.data.recommendation.interactions import Interactions, interactions_of


def toy_interactions(users: int = 300, items: int = 60, seed: int = 0) -> Interactions:
    """Return users who walk through a catalogue of six shelves.

    Everybody prefers one shelf, takes its items in their order more often than not, and sometimes anything else.

    Args:
        users: number of users.
        items: number of items, a multiple of 6.
        seed: of the draws.

    Example:
        >>> toy_interactions()
        Interactions('toy-interactions', 4413 interactions, 300 users, 60 items)
    """
    generator = np.random.default_rng(seed)
    shelf = items // 6
    names: list[str] = []
    used: list[str] = []
    for user in range(users):
        first = shelf * int(generator.integers(6))
        item = first + int(generator.integers(shelf))
        for _ in range(int(generator.integers(8, 23))):
            names.append(f"user-{user}")
            used.append(f"item-{item}")
            draw = generator.random()
            if draw < 0.7:
                item = first + (item + 1 - first) % shelf
            elif draw < 0.9:
                item = first + int(generator.integers(shelf))
            else:
                item = int(generator.integers(items))
    return interactions_of(names, used, name="toy-interactions")
