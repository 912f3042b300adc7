"""Factors of users and items."""

from typing import Any, ClassVar

import numpy as np
from torch import Tensor

from dipole.data.recommendation import SequenceSet
from dipole.evaluation.next_items import history_matrix, ranks_by_scores, training_matrix
from dipole.evaluation.protocol import Baseline

FACTORS, ROUNDS, REGULARIZATION, CONFIDENCE = 64, 15, 0.1, 10.0


class ALS(Baseline):
    """Factors of a weighted matrix, fitted by alternating least squares (of `implicit`).

    Users are folded in by all of their history. Hu, Koren, Volinsky: *Collaborative Filtering for Implicit Feedback
    Datasets* (ICDM 2008).
    """

    name: ClassVar[str] = "ALS"
    domains = ("recommendation",)
    package = "implicit"
    extra = "recommendation"

    def rank_items(self, test: SequenceSet, exclude_seen: bool) -> Tensor:
        """Return the ranks (N,) of the next items, see `als_ranks`."""
        return als_ranks(test, exclude_seen=exclude_seen)


def als_ranks(test: SequenceSet, *, seed: int = 0, exclude_seen: bool = False) -> Tensor:
    """Return the ranks (N,) of the next items by the inner products of factors.

    Args:
        test: histories and their next items.
        seed: of the factors before fitting.
        exclude_seen: items that the user has used before are no candidates.
    """
    from implicit.cpu.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(
            factors=FACTORS,
            regularization=REGULARIZATION,
            alpha=CONFIDENCE,
            iterations=ROUNDS,
            num_threads=1,  # the order of sums, and so the last bits, depend on it
            random_state=seed,
        )
        model.fit(training_matrix(test), show_progress=False)
        history = history_matrix(test)
        items = np.asarray(model.item_factors)
        users: Any = model.recalculate_user(np.arange(history.shape[0]), history)
    return ranks_by_scores(test, lambda part: users[part] @ items.T, exclude_seen=exclude_seen)
