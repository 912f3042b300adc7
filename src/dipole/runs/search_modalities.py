"""Search a table of several modalities by text, with a model that has seen both."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch

from dipole.data.multimodal import Reading, load_rows, parse_modalities
from dipole.errors import InputError
from dipole.methods.multimodal.base import AnyModal
from dipole.runs.domains import domain_of
from dipole.runs.loading import load
from dipole.runs.modality_items import embed_items, queries_of
from dipole.runs.model import model_config

READ = ("label", "image_size", "sample_rate", "seconds", "encoding")


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
    data_root: str | Path | None = None,
    loading: Mapping[str, Any] | None = None,
    progress: bool = False,
) -> list[list[tuple[float, str, str]]]:
    """Find the rows of a table whose sounds, images or other contents are nearest to each text.

    Args:
        run: a run or model folder with a modality of texts.
        source: a table or the name of a set; it needs no column of texts. Of several other modalities, the first one
            that it has is searched.
        queries: texts.
        k: contents found for each query.
        data_root: folder of named data sets.
        loading: how the table is read, where it differs from the run.
        progress: show a progress bar.

    Returns:
        For each query score, name of the first row with the content, and what a reader sees, the best first.

    Raises:
        InputError: the model has no texts, or the table nothing to search.
    """
    method, config = cast(AnyModal, load(run)), model_config(run)
    kinds = {name: facts["kind"] for name, facts in method.modalities.items()}
    text = next((name for name, kind in kinds.items() if kind == "text"), None)
    if text is None:
        raise InputError(f"{run} knows {', '.join(kinds)}: none of them is of texts to search by.")
    domain = domain_of(config["name"], config["method"])
    given = {**domain.loading_defaults(), **config.get("loading", {}), **(loading or {})}
    options = {name: given[name] for name in READ}
    wanted = parse_modalities((loading or {}).get("modalities")) or {
        name: cast(Any, kind) for name, kind in kinds.items()
    }
    rows = load_rows(source, data_root, reading=Reading(modalities=wanted, partial=True, **options))
    target = next((name for name in rows.columns if name != text and name in kinds), None)
    if target is None:
        raise InputError(f"{source} holds {', '.join(rows.columns)}: nothing of {', '.join(kinds)} to search in.")
    items = embed_items(method, rows.only(target), progress=progress)[target]
    views = method.build_views().only(text)
    batch = views([{text: [query]} for query in queries], method.tokenizers)
    embedded = method.embed({text: batch["inputs"][text].to(method.device)}).float().cpu()
    parts = queries_of(method, {text: embedded}, target)
    if parts is None:
        raise InputError(f"{run} needs all its modalities to search for {target}.")
    best = method.score(parts, items.embeddings).topk(min(k, len(items.embeddings)), dim=1)
    first: dict[int, int] = {}
    for row, places in enumerate(items.rows):
        for place in places:
            first.setdefault(place, row)
    captions = rows.keys(text) if text in rows.columns else [None] * len(rows)
    return [
        [
            (score, rows.id(first[place]), _shown(captions[first[place]], items.shown[place]))
            for score, place in zip(scores, places, strict=True)
        ]
        for scores, places in zip(best.values.tolist(), best.indices.tolist(), strict=True)
    ]


def _shown(caption: Any, otherwise: str) -> str:
    """The caption of a row, if there is one."""
    return caption[0] if caption else otherwise
