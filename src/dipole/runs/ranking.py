"""Rankings of texts put together, ordered anew, and written down."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from dipole.errors import InputError
from dipole.files import atomic_write
from dipole.nn.foreign import refuse_code, without_code
from dipole.ops.checks import check_at_least

TAG = "dipole"  # of a TREC run file


def reciprocal_rank_fusion(rankings: Sequence[Sequence[int]], *, constant: float = 60.0) -> list[tuple[int, float]]:
    """Put rankings of the same things together: `score = Σ_r 1 / (c + rank_r)`, over the rankings that hold a thing.

    Cormack, Clarke, Buettcher: *Reciprocal Rank Fusion outperforms Condorcet* (SIGIR 2009), c = 60.

    Args:
        rankings: of things by number, the best first.
        constant: c, 0 or more.

    Returns:
        Things and scores, the best first; of equal ones the smaller number.

    Raises:
        InputError: the constant is negative.

    Example:
        >>> [thing for thing, _ in reciprocal_rank_fusion([[7, 3], [3, 5]])]
        [3, 7, 5]
    """
    check_at_least(constant, 0, "constant")
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, thing in enumerate(ranking, start=1):
            scores[thing] = scores.get(thing, 0.0) + 1 / (constant + rank)
    return sorted(scores.items(), key=lambda entry: (-entry[1], entry[0]))


class Reranker:
    """A cross-encoder of sentence-transformers that scores queries and texts together.

    Args:
        name: folder or Hugging Face name; nothing of a folder is run.

    Raises:
        InputError: it cannot be opened.
    """

    def __init__(self, name: str) -> None:
        from sentence_transformers import CrossEncoder

        refuse_code(name)
        try:
            with without_code():
                self._model: Any = CrossEncoder(name, device="cpu", local_files_only=Path(name).is_dir())
        except Exception as error:
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            raise InputError(
                f"cannot open the cross-encoder {name!r} ({reason}). Expected a folder with config.json and "
                "model.safetensors of a model for sequence classification with one label."
            ) from error
        if int(self._model.config.num_labels) != 1:
            raise InputError(f"{name} has {self._model.config.num_labels} labels: a cross-encoder scores with one.")

    def scores(self, query: str, texts: Sequence[str]) -> Float[Tensor, "n"]:
        """Return the scores (N,) of texts for a query."""
        return torch.as_tensor(self._model.predict([(query, text) for text in texts], show_progress_bar=False)).float()

    def order(self, query: str, texts: Sequence[str]) -> tuple[Int64[Tensor, "n"], Float[Tensor, "n"]]:
        """Return places and scores, the best first."""
        scores = self.scores(query, texts)
        order = scores.argsort(descending=True, stable=True)
        return order, scores[order]


def write_trec_run(path: str | Path, run: Sequence[tuple[str, Sequence[tuple[str, float]]]]) -> None:
    """Write what was found as trec_eval reads it: `query Q0 document rank score tag`.

    Args:
        path: of the file.
        run: ids of queries, each with ids and scores of documents, the best first.

    Raises:
        InputError: an id holds white space.
    """
    lines = []
    for query, found in run:
        for rank, (document, score) in enumerate(found, start=1):
            if len(f"{query} {document}".split()) != 2:
                raise InputError(
                    f"id {query!r} or {document!r} is empty or holds white space: a TREC run cannot hold it."
                )
            lines.append(f"{query} Q0 {document} {rank} {score:.9g} {TAG}\n")
    with atomic_write(path) as temporary:
        temporary.write_text("".join(lines), encoding="utf-8")
