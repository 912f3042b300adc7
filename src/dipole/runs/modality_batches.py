"""Embeddings of the cells of several modalities, a batch at a time."""

from collections.abc import Iterator, Mapping, Sequence
from math import nan
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from dipole.data.multimodal import Kind, ModalitySet, Reading, parse_modalities
from dipole.data.multimodal.table import column_of
from dipole.errors import InputError
from dipole.methods.multimodal.base import AnyModal
from dipole.runs.directory import Run
from dipole.runs.model import model_config
from dipole.runs.sound_windows import Batch, SoundWindows, sound_batches

OPTIONS = ("label", "image_size", "sample_rate", "seconds", "encoding", "check")


def reading_of(method: AnyModal, loading: Mapping[str, Any]) -> Reading:
    """Return how a source is read of which a model's modalities are embedded, those that it has.

    Args:
        method: whose modalities they are.
        loading: every option of the domain; its `modalities` choose some of the model's.

    Raises:
        InputError: it chooses none of them.
    """
    kinds: dict[str, Kind] = {name: facts["kind"] for name, facts in method.modalities.items()}
    chosen = parse_modalities(loading["modalities"]) or kinds
    wanted = {name: kind for name, kind in kinds.items() if name in chosen}
    if not wanted:
        raise InputError(f"modalities are {', '.join(chosen)}: the model knows {', '.join(kinds)}.")
    return Reading(modalities=wanted, partial=True, **{name: loading[name] for name in OPTIONS})


def loading_of_model(source: str | Path) -> dict[str, Any]:
    """Return how a run of several modalities, or a model of one, reads data, with every default.

    Args:
        source: a run, which says more than the model in it, or a model folder.
    """
    from dipole.runs.domains import get_domain

    domain = get_domain("multimodal")
    given = dict(model_config(source).get("loading", {}))
    if (Path(source) / "config.yaml").is_file():
        given |= Run.open(source).settings().loading
    return {**domain.loading_defaults(), **domain.known_loading(given)}


def modality_batches(
    method: AnyModal,
    rows: ModalitySet,
    windows: SoundWindows,
    batch_size: int,
    skipped: list[tuple[str, str]],
    within: range,
) -> Iterator[Batch]:
    """Embed all cells of a set, modality by modality.

    Args:
        method: that embeds.
        rows: whose columns are modalities of the method.
        windows: what becomes of longer sounds, see `sound_batches`.
        batch_size: cells at a time.
        skipped: to which what cannot be read is added.
        within: places of the rows.

    Yields:
        Columns `id` and `modality`, with windows also `start` and `end`; and vectors (N, D).
    """
    start, end = within.start, within.stop
    for name, column in rows.columns.items():
        if column.kind == "sound":
            yield from sound_batches(method, rows, name, windows, batch_size, skipped, within)
            continue
        one, views = rows.only(name), method.build_views().only(name)
        for indices in (start + rows.present(name)[start:end].nonzero().flatten()).split(batch_size):
            indices, cells = _readable(one, indices, skipped)
            if not cells:
                continue
            batch = views(cells, method.tokenizers)
            kept = batch["present"][name]
            if not bool(kept.any()):
                continue
            vectors = method.embed({name: batch["inputs"][name][kept].to(method.device)})
            ids = [rows.id(index) for index in indices[kept].tolist()]
            nothing = dict.fromkeys(("start", "end"), [nan] * len(ids)) if windows == "each" else {}
            yield {"id": ids, "modality": [name] * len(ids), **nothing}, vectors


def _readable(
    rows: ModalitySet, indices: Tensor, skipped: list[tuple[str, str]]
) -> tuple[Tensor, list[dict[str, Any]]]:
    """The rows of a batch that can be read; the others are added to `skipped`."""
    try:
        return indices, rows.fetch(indices)
    except InputError:
        kept, cells = [], []
        for index in indices:
            try:
                cells += rows.fetch(index[None])
                kept.append(index)
            except InputError as error:
                skipped.append((rows.id(int(index)), str(error.__cause__ or error)))
        return torch.stack(kept) if kept else indices[:0], cells


def embed_contents(method: AnyModal, name: str, contents: Sequence[Any]) -> Tensor:
    """Embed contents of a modality as the views take them: (N, D), where the method is."""
    batch = method.build_views().only(name)([{name: content} for content in contents], method.tokenizers)
    return method.embed({name: batch["inputs"][name].to(method.device)})


def embed_cells(
    method: AnyModal,
    loading: Mapping[str, Any],
    name: str,
    cells: Sequence[Any],
    *,
    batch_size: int = 256,
) -> tuple[Tensor, list[int], list[str]]:
    """Embed contents that stand in no table as `dipole embed` does those of one.

    Sounds are read at the rate and the length that the model hears. Of longer ones a vector is that of the first part,
    or the mean over the parts where the run's `sound_windows` is not `first`.

    Args:
        method: that embeds them.
        loading: every option of the domain.
        name: of the modality that they are.
        cells: paths or bytes of files, texts, lists of numbers or names, as a table holds them.
        batch_size: how many are embedded at once.

    Returns:
        Vectors (N, D) on the CPU, the places of the cells that they are of, and what else there is to tell.
    """
    facts = method.modalities[name]
    options = {key: loading[key] for key in OPTIONS}
    if facts["kind"] == "sound":
        options |= {"sample_rate": int(facts["rate"]), "seconds": facts["samples"] / facts["rate"]}
    skipped: list[tuple[str, str]] = []
    column = column_of(Path("cells"), name, cells, cast(Kind, facts["kind"]), Reading(**options), skipped)
    rows = ModalitySet("cells", {name: column})
    windows: SoundWindows = "first" if loading["sound_windows"] == "first" else "mean"
    found: list[tuple[int, Tensor]] = []
    for columns, vectors in modality_batches(method, rows, windows, batch_size, skipped, range(len(rows))):
        found += zip(map(int, columns["id"]), vectors.float().cpu(), strict=True)
    found.sort(key=lambda each: each[0])
    told = [f"{what}: {reason}" for what, reason in skipped]
    vectors = torch.stack([vector for _, vector in found]) if found else torch.zeros(0, 0)
    return vectors, [place for place, _ in found], told
