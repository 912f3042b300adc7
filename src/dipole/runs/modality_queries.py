"""Queries of a search with a model of several modalities: texts, image files, sound files."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from dipole.data.multimodal.media_folder import kind_of_file
from dipole.errors import InputError
from dipole.methods.multimodal.base import AnyModal
from dipole.runs.modality_batches import embed_cells

logger = logging.getLogger(__name__)


def embed_modal_queries(
    method: AnyModal, loading: Mapping[str, Any], queries: Sequence[str], *, modality: str | None = None
) -> list[tuple[str, Tensor]]:
    """Embed queries as `dipole embed` does the cells of a table.

    Args:
        method: in evaluation mode.
        loading: how the run reads data, with every default.
        queries: what ends like the name of an image or a sound file is one, where the model knows such; everything else
            is a text.
        modality: that which all queries are of, where this is not to be inferred.

    Returns:
        For each query the modality that it is of, and its vector (D,), on the CPU.

    Raises:
        InputError: a query is empty, of nothing that the model knows, or a file that cannot be read.
    """
    names = [modality_of_query(method, query, modality) for query in queries]
    found: dict[int, Tensor] = {}
    with torch.inference_mode():
        for name in dict.fromkeys(names):
            places = [place for place, own in enumerate(names) if own == name]
            cells = [queries[place] for place in places]
            vectors, kept, told = embed_cells(method, loading, name, cells)
            lost = sorted(set(range(len(cells))) - set(kept))
            if lost:
                why = told[0] if told else "it is empty"
                raise InputError(f"the query {cells[lost[0]]!r} is of {name} and cannot be read ({why}).")
            if told:
                logger.warning("%s", "; ".join(told))
            found.update(zip([places[place] for place in kept], vectors, strict=True))
    return [(name, found[place]) for place, name in enumerate(names)]


def modality_of_query(method: AnyModal, query: str, modality: str | None = None) -> str:
    """Return which modality of a method a query is of.

    Raises:
        InputError: the method does not know it, or knows several of its kind.
    """
    kinds = {name: str(facts["kind"]) for name, facts in method.modalities.items()}
    known = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
    if modality is not None:
        if modality not in kinds:
            raise InputError(f"there is no modality {modality!r}: the model knows {known}.")
        return modality
    if not query.strip():
        raise InputError("a query is empty: give a text or a file.")
    file = kind_of_file(query)
    kind = file if file in kinds.values() else "text"
    fitting = [name for name, own in kinds.items() if own == kind]
    if not fitting:
        raise InputError(f"the query {query!r} is a {file or kind}, and the model knows {known}: give another query.")
    if len(fitting) > 1 and kind != "text":
        raise InputError(
            f"the query {query!r} may be of {' or '.join(fitting)}: say which by --by, e.g. --by {fitting[0]}."
        )
    return fitting[0]
