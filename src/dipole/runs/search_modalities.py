"""Search contents of several modalities by text, image or sound, with a model that has seen them."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from dipole.data.multimodal import ModalitySet, load_rows
from dipole.errors import InputError
from dipole.methods.multimodal.base import AnyModal
from dipole.runs.domains import domain_of
from dipole.runs.kept_contents import Candidates, kept_contents
from dipole.runs.loading import load
from dipole.runs.modality_batches import loading_of_model, reading_of
from dipole.runs.modality_items import embed_items, queries_of
from dipole.runs.modality_queries import embed_modal_queries
from dipole.runs.model import model_config
from dipole.runs.stored_modalities import is_stored, stored_candidates, stored_modalities

Hits = list[tuple[float, str, str]]  # score, id, what a reader sees


def is_multimodal(run: str | Path) -> bool:
    """Return whether a folder holds a run or a model of several modalities.

    Example:
        >>> is_multimodal("no/such/folder")
        False
    """
    try:
        config = model_config(run)
    except InputError:
        return False
    return domain_of(config["name"], config["method"]).name == "multimodal"


@torch.inference_mode()
def search_modalities(
    run: str | Path,
    source: str,
    queries: Sequence[str],
    *,
    k: int = 10,
    by: str | None = None,
    find: str | None = None,
    given: Mapping[str, str] | None = None,
    data_root: str | Path | None = None,
    loading: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> list[Hits]:
    """Find what is nearest to each query: images by a text, texts by an image, sounds by a sound.

    Args:
        run: a run or model folder.
        source: a table or a folder of image and sound files, whose embeddings are kept for the next search; the name of
            a set; or what `dipole embed` wrote: a Parquet file of embeddings or a folder of them.
        queries: texts, or paths of image or sound files, see `embed_modal_queries`.
        k: contents found for each query.
        by: modality of the queries, where it is not to be inferred.
        find: modality that is searched; by default the first that the source has and no query is of, or that of the
            query if the source has nothing else.
        given: one content more of other modalities, by name, that stands beside every query; a model such as Symile's
            is searched with all modalities but one.
        data_root: folder of named data sets.
        loading: how the source is read, where it differs from the run.
        progress: show a progress bar.

    Returns:
        For each query score, name of the first row with the content, and what a reader sees, the best first.

    Raises:
        InputError: the model does not know what a query is of, or the source has nothing to search.
    """
    method = cast(AnyModal, load(run))
    options = {**loading_of_model(run), **(loading or {})}
    beside = {
        name: embed_modal_queries(method, options, [content], modality=name)[0][1]
        for name, content in (given or {}).items()
    }
    embedded = embed_modal_queries(method, options, queries, modality=by)
    searched: _Searched = (
        _Stored(method, run, source, len(embedded[0][1]))
        if is_stored(source, method)
        else _Read(method, run, source, options, data_root, progress)
    )
    found: dict[int, Hits] = {}
    for name in dict.fromkeys(name for name, _ in embedded):
        places = [place for place, (own, _) in enumerate(embedded) if own == name]
        vectors = method.comparable(torch.stack([embedded[place][1] for place in places]))
        target = _target(searched.names, source, {name, *beside}, name, find)
        parts = _parts(method, {name: vectors, **{n: v.expand_as(vectors) for n, v in beside.items()}}, name, target)
        best = _best(method, parts, searched.candidates(target), k)
        found.update(zip(places, best, strict=True))
    return [found[place] for place in range(len(queries))]


class _Searched:
    """What is searched: which modalities it has, and their contents."""

    names: Sequence[str]

    def candidates(self, name: str) -> Iterator[Candidates]:
        """Yield the contents of a modality, some at a time."""
        raise NotImplementedError


class _Read(_Searched):
    """A table, a folder or a set, whose contents are embedded when they are asked for."""

    def __init__(
        self,
        method: AnyModal,
        run: str | Path,
        source: str,
        loading: Mapping[str, Any],
        root: str | Path | None,
        progress: bool,
    ) -> None:
        self.method, self.progress = method, progress
        self.rows: ModalitySet = load_rows(source, root, reading=reading_of(method, loading))
        self.origin = run, source, root, loading
        self.names = list(self.rows.columns)

    def candidates(self, name: str) -> Iterator[Candidates]:
        """Yield all contents at once, embedded now or in a search before."""
        yield kept_contents(*self.origin, self.rows, name, lambda: self._embedded(name))

    def _embedded(self, name: str) -> Candidates:
        """Embed all contents."""
        rows = self.rows
        items = embed_items(self.method, rows.only(name), progress=self.progress)[name]
        first: dict[int, int] = {}
        for row, places in enumerate(items.rows):
            for place in places:
                first.setdefault(place, row)
        text = next((each for each, column in rows.columns.items() if column.kind == "text" and each != name), None)
        captions: Sequence[Any] = [None] * len(rows) if text is None else rows.keys(text)
        shown = [_shown(captions[first[place]], said) for place, said in enumerate(items.shown)]
        return Candidates(items.embeddings, [rows.id(first[place]) for place in range(len(shown))], shown)


def _shown(caption: Any, otherwise: str) -> str:
    """The caption of a row, if there is one."""
    return str(caption[0]) if caption else otherwise


class _Stored(_Searched):
    """Embeddings that `dipole embed` wrote."""

    def __init__(self, method: AnyModal, run: str | Path, source: str, width: int) -> None:
        self.method, self.source = method, source
        self.names = stored_modalities(source, method, width, run)

    def candidates(self, name: str) -> Iterator[Candidates]:
        """Yield a piece of a file at a time."""
        for vectors, ids, shown in stored_candidates(self.source, name, self.method):
            yield Candidates(vectors, ids, shown)


def _target(names: Sequence[str], source: str, given: set[str], by: str, find: str | None) -> str:
    """The modality that is searched."""
    if find is not None:
        if find not in names:
            raise InputError(f"{source} holds {', '.join(names)}: there is no {find!r} to search in.")
        return find
    found = next((name for name in names if name not in given), None)
    return by if found is None and by in names else found or _nothing(names, source, given)


def _nothing(names: Sequence[str], source: str, given: set[str]) -> str:
    raise InputError(f"{source} holds {', '.join(names)}: nothing to find by {', '.join(sorted(given))}.")


def _parts(method: AnyModal, given: dict[str, Tensor], by: str, target: str) -> list[Tensor]:
    """What is scored against the contents of the target.

    Raises:
        InputError: the method needs more than is given.
    """
    if target == by and len(given) == 1:
        return [given[by]]
    if target in given:
        raise InputError(f"{target} is given and searched for: search for another modality, by --find.")
    parts = queries_of(method, given, target)
    if parts is None:
        lacking = [name for name in method.modalities if name != target and name not in given]
        raise InputError(
            f"to find {target}, this method needs {', '.join(lacking)}, too: give them by --given, e.g. --given "
            f"{lacking[0]}=…"
        )
    return parts


def _best(method: AnyModal, parts: Sequence[Tensor], pieces: Iterator[Candidates], k: int) -> list[Hits]:
    """The k contents of highest score for each query, over all pieces."""
    best: list[Hits] = [[] for _ in parts[0]]
    for piece in pieces:
        found = method.score(parts, piece.embeddings).topk(min(k, len(piece.ids)), dim=1)
        for own, scores, places in zip(best, found.values.tolist(), found.indices.tolist(), strict=True):
            own += [(s, piece.ids[p], piece.shown[p]) for s, p in zip(scores, places, strict=True)]
            own.sort(key=lambda hit: -hit[0])
            del own[k:]
    return best
