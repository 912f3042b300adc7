"""Sounds that are longer than what a model hears at a time: embedded part by part."""

from collections.abc import Iterator
from itertools import islice
from typing import Any, Literal

import torch
from torch import Tensor

from dipole.data.multimodal import ModalitySet
from dipole.errors import InputError

SoundWindows = Literal["first", "each", "mean"]
Batch = tuple[dict[str, list[Any]], Tensor]


def sound_batches(
    method: Any,
    rows: ModalitySet,
    name: str,
    how: SoundWindows,
    batch_size: int,
    skipped: list[tuple[str, str]],
    within: range,
) -> Iterator[Batch]:
    """Embed a modality of sounds, a few parts at a time; no file is decoded whole.

    Args:
        method: that embeds it.
        rows: of the table.
        name: of the modality.
        how: the `"first"` part of each sound; `"each"` part, with the columns `start` and `end` in seconds; or the
            `"mean"` over the parts, each as heavy as it is long.
        batch_size: parts at a time.
        skipped: gets what cannot be decoded, and how many sounds are heard in part alone.
        within: places of the rows.
    """
    views = method.build_views().only(name)
    parts = _parts(rows, name, how, skipped, within)
    sums: dict[int, Tensor] = {}
    weights: dict[int, float] = {}
    while chunk := list(islice(parts, batch_size)):
        batch = views([{name: sound} for *_, sound in chunk], method.tokenizers)
        vectors = method.embed({name: batch["inputs"][name].to(method.device)})
        columns: dict[str, list[Any]] = {"id": [rows.id(index) for index, *_ in chunk], "modality": [name] * len(chunk)}
        if how == "first":
            yield columns, vectors
            continue
        if how == "each":
            times = {"start": [start for _, start, *_ in chunk], "end": [end for _, _, end, _ in chunk]}
            yield {**columns, **times}, vectors
            continue
        for (index, start, end, _), vector in zip(chunk, vectors, strict=True):
            sums[index] = sums.get(index, 0) + vector * (end - start)
            weights[index] = weights.get(index, 0.0) + end - start
        done = [index for index in sums if index != chunk[-1][0]]
        if done:
            yield _means(rows, name, sums, weights, done)
    if sums:
        yield _means(rows, name, sums, weights, list(sums))


def _means(rows: ModalitySet, name: str, sums: dict[int, Tensor], weights: dict[int, float], done: list[int]) -> Batch:
    """Take finished sounds out of the sums."""
    vectors = torch.stack([sums.pop(index) / weights.pop(index) for index in done])
    return {"id": [rows.id(index) for index in done], "modality": [name] * len(done)}, vectors


def _parts(
    rows: ModalitySet, name: str, how: SoundWindows, skipped: list[tuple[str, str]], within: range
) -> Iterator[tuple[int, float, float, Tensor]]:
    """Row, begin and end of each part, and its samples; a sound that breaks off is left out from there on."""
    longer = 0
    present = rows.present(name)
    for index in (place for place in within if bool(present[place])):
        try:
            windows = rows.windows(name, index)
            longer += len(windows) > 1
            for start, end in windows[:1] if how == "first" else windows:
                yield index, start, end, rows.window(name, index, start)
        except InputError as error:
            skipped.append((rows.id(index), str(error.__cause__ or error)))
    if how == "first" and longer:
        skipped.append(
            (
                name,
                f"{longer} sounds are longer than the model hears at a time: what follows is not embedded; "
                "--loading.sound_windows each (or mean) embeds it",
            )
        )
