"""Lexical search."""

from typing import ClassVar

from dipole.data.text.retrieval_set import RetrievalSet
from dipole.evaluation.bm25 import bm25_run
from dipole.evaluation.protocol import Baseline


class BM25(Baseline):
    """Okapi BM25, see `bm25_run`."""

    name: ClassVar[str] = "BM25"
    domains = ("text",)

    def search(self, task: RetrievalSet) -> dict[str, dict[str, float]]:
        """Return the best documents of every query with their scores."""
        return bm25_run(task)
