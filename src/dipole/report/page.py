"""Put the parts of a report together."""

import json
import platform
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from jaxtyping import Float, Int, UInt8
from markupsafe import Markup
from torch import Tensor

from dipole import __version__
from dipole.errors import InputError
from dipole.files import atomic_write
from dipole.report.cross_modal import Search
from dipole.report.forecasts import ForecastPlot
from dipole.report.neighbours import Neighbours, find_neighbours
from dipole.report.projection import plane, sample
from dipole.report.run_files import GEOMETRY, SCORES, read_curves, read_diagnostics, read_evaluations, read_settings
from dipole.report.section import Section, rendered
from dipole.report.thumbnails import Sprite, make_sprite

LONGEST_TEXT = 240  # characters that are shown of a text
MONITORED = (*GEOMETRY, *(f"{name}_{moment}" for name in SCORES for moment in ("mean", "variance")), "score_auc")


def build_report(
    run_dir: str | Path,
    *,
    embeddings: Float[Tensor, "n d"] | None = None,
    images: UInt8[Tensor, "n 3 h w"] | None = None,
    texts: Sequence[str] | None = None,
    labels: Mapping[str, Int[Tensor, "n"]] | None = None,
    class_names: Mapping[str, Sequence[str]] | None = None,
    ids: Sequence[str] | None = None,
    forecasts: Sequence[ForecastPlot] = (),
    searches: Sequence[Search] | None = None,
    method: str | None = None,
    data: str | None = None,
    sections: Sequence[Section] = (),
    scores: bool = True,
    embeds: bool = True,
    created: datetime | None = None,
    points: int = 1500,
    samples: int = 8,
    neighbours: int = 8,
    seed: int = 0,
) -> Path:
    """Write `report.html` into a run directory: one file that needs nothing else, the network included.

    It shows the evaluation (`evaluation.json`), a map of the embeddings, nearest neighbours, the distributions of
    positive and negative scores over time (`diagnostics.json`), the training curves (`metrics.csv`) and the settings
    (`config.yaml`). Where a file or an argument is missing, the section says how to produce it.

    Args:
        run_dir: the run directory.
        embeddings: (N, D) of the data set to show, normally the test set.
        images: (N, 3, H, W) uint8, for the thumbnails.
        texts: N texts, in place of thumbnails.
        labels: label factors by name, each (N,), negative where unknown; `"label"`, or else the first, is the main one.
        class_names: names of the values of each factor.
        ids: names of the samples.
        forecasts: of a time series, shown beside what came.
        searches: from one modality in another, in place of nearest neighbours.
        method: name of the method for the heading; default: the name of the run directory.
        data: name of the data set for the heading.
        sections: further parts of the page.
        scores: False if the method compares no views, so that there are no scores of pairs to expect.
        embeds: False if the method is a language model, of which no map is drawn.
        created: date of the report; default: now.
        points: largest number of points on the map.
        samples: number of samples whose neighbours are shown.
        neighbours: number of neighbours of each.
        seed: of the map and of the choice of samples.

    Returns:
        The path of the page.

    Raises:
        InputError: the directory is missing, a file in it is not what dipole writes, or arguments do not fit together.

    Example:
        >>> import tempfile
        >>> page = build_report(tempfile.mkdtemp(), method="DCL", data="digits")
        >>> page.name, "DCL on digits" in page.read_text()
        ('report.html', True)
    """
    run_dir = Path(run_dir)
    if not run_dir.is_dir():
        raise InputError(f"{run_dir} is not a directory: give the folder that `dipole train` made.")
    labels, class_names = labels or {}, class_names or {}
    _check(embeddings, {**labels, "images": images, "texts": texts, "ids": ids})
    diagnostics = read_diagnostics(run_dir / "diagnostics.json")
    curves = read_curves(run_dir / "metrics.csv", MONITORED if diagnostics else ())
    main = "label" if "label" in labels else next(iter(labels), None)
    names = _Names(labels, class_names, ids, texts)
    mapped = None if embeddings is None else sample(len(embeddings), points, seed)
    found = None
    shown = images is not None or texts is not None
    if embeddings is not None and shown and searches is None and len(embeddings) > 1:
        found = find_neighbours(embeddings, labels.get(main) if main else None, samples, neighbours, seed)
    sprite = _sprite(images, mapped, found)
    map_data = _map(embeddings, mapped, names, sprite, main, seed)
    evaluations = read_evaluations(run_dir / "evaluation.json")
    context = {
        "title": " on ".join(part for part in (method or run_dir.resolve().name, data) if part),
        "run": shlex.quote(str(run_dir)),
        "created": created or datetime.now(),
        "versions": {
            "dipole": __version__,
            "torch": torch.__version__,
            "lightning": version("lightning"),
            "python": platform.python_version(),
        },
        "shape": None if embeddings is None else tuple(embeddings.shape),
        "settings": read_settings(run_dir / "config.yaml"),
        "curves": curves,
        "diagnostics": diagnostics,
        "evaluations": evaluations,
        "map": map_data,
        "gallery": None if found is None else _gallery(found, names, sprite, main),
        "searches": searches,
        "sprite": sprite,
        "sections": sections,
        "embeds": embeds,
        "scores": scores or bool(diagnostics),
        "forecasts": forecasts,
        "plots": _as_json(
            {
                "curves": curves,
                "scores": diagnostics,
                "map": map_data,
                "forecasts": [forecast.to_dict() for forecast in forecasts],
                "pictures": [each["figure"] for table in evaluations for each in table["pictures"]],
            }
        ),
    }
    return _render(run_dir / "report.html", context)


class _Names:
    """Labels and identifiers in words."""

    def __init__(
        self,
        labels: Mapping[str, Tensor],
        class_names: Mapping[str, Sequence[str]],
        ids: Sequence[str] | None,
        texts: Sequence[str] | None,
    ) -> None:
        self.labels = {factor: values.tolist() for factor, values in labels.items()}
        self.class_names, self.ids, self.texts = class_names, ids, texts

    def label(self, factor: str, index: int) -> str | None:
        """The name of a sample's class; None where it is unknown."""
        value = self.labels[factor][index]
        return None if value < 0 else self._class_name(factor, value)

    def classes(self, factor: str, rows: list[int]) -> dict[str, Any]:
        """The classes among these samples in their order, and the place of each sample's class; None where unknown."""
        values = sorted({self.labels[factor][row] for row in rows if self.labels[factor][row] >= 0})
        place = {value: at for at, value in enumerate(values)}
        return {
            "classes": [self._class_name(factor, value) for value in values],
            "values": [place.get(self.labels[factor][row]) for row in rows],
        }

    def _class_name(self, factor: str, value: int) -> str:
        """The name of a class, or its number."""
        names = self.class_names.get(factor, ())
        return str(names[value]) if value < len(names) else str(value)

    def id(self, index: int) -> str:
        """The name of a sample; a text is its own name."""
        if self.texts is not None:
            return shorten(self.texts[index], LONGEST_TEXT, placeholder=" …") or "(empty)"
        return f"#{index}" if self.ids is None else str(self.ids[index])


def _check(embeddings: Tensor | None, others: Mapping[str, Any]) -> None:
    """Require one image, text, label and identifier for each embedding."""
    if embeddings is None:
        return
    if embeddings.ndim != 2 or not bool(embeddings.isfinite().all()):
        raise InputError(f"embeddings of shape {tuple(embeddings.shape)} must be finite and (N, D): check the encoder.")
    for name, values in others.items():
        if values is not None and len(values) != len(embeddings):
            raise InputError(f"{name} has {len(values)} entries and embeddings {len(embeddings)}: pass one for each.")


def _sprite(images: Tensor | None, mapped: Tensor | None, found: Neighbours | None) -> Sprite | None:
    """Thumbnails of all samples that appear on the page."""
    if images is None or mapped is None or not len(mapped):
        return None
    shown = [mapped] if found is None else [mapped, found.queries, found.nearest.flatten()]
    return make_sprite(images, torch.cat(shown))


def _map(
    embeddings: Tensor | None,
    mapped: Tensor | None,
    names: _Names,
    sprite: Sprite | None,
    main: str | None,
    seed: int,
) -> dict[str, Any] | None:
    """Points of the map with everything their colours and hover cards need."""
    if embeddings is None or mapped is None:
        return None
    coordinates = plane(embeddings[mapped], seed)
    if coordinates is None:
        return None
    rows = mapped.tolist()
    factors = sorted(names.labels, key=lambda factor: factor != main)
    return {
        "x": [round(value, 3) for value in coordinates[:, 0].tolist()],
        "y": [round(value, 3) for value in coordinates[:, 1].tolist()],
        "ids": [names.id(row) for row in rows],
        "texts": names.texts is not None,
        "cells": None if sprite is None else [sprite.cell[row] for row in rows],
        "columns": None if sprite is None else sprite.columns,
        "factors": [{"name": factor, **names.classes(factor, rows)} for factor in factors],
    }


def _gallery(found: Neighbours, names: _Names, sprite: Sprite | None, main: str | None) -> dict[str, Any]:
    """Rows of thumbnails or texts, and how many neighbours share the label of their query."""

    def card(index: int, wanted: str | None = None, score: float | None = None) -> dict[str, Any]:
        label = names.label(main, index) if main else None
        known = wanted is not None and label is not None
        place = (
            {}
            if sprite is None
            else dict(zip(("row", "column"), divmod(sprite.cell[index], sprite.columns), strict=True))
        )
        return {
            **place,
            "id": names.id(index),
            "label": label,
            "score": score,
            "match": (label == wanted) if known else None,
        }

    rows = []
    for query, nearest, scores in zip(
        found.queries.tolist(), found.nearest.tolist(), found.similarity.tolist(), strict=True
    ):
        head = card(query)
        rows.append((head, [card(index, head["label"], score) for index, score in zip(nearest, scores, strict=True)]))
    verdicts = [one["match"] for _, row in rows for one in row if one["match"] is not None]
    return {"texts": sprite is None, "rows": rows, "matches": sum(verdicts), "judged": len(verdicts)}


def _as_json(content: Any) -> Markup:
    """JSON that cannot end the script element it stands in."""
    return Markup(json.dumps(content, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"))


def _render(path: Path, context: dict[str, Any]) -> Path:
    """Fill the template and write the page."""
    from plotly.offline import get_plotlyjs

    assets = files("dipole.report") / "assets"
    page = rendered(
        "page.html.j2",
        **context,
        style=Markup((assets / "style.css").read_text(encoding="utf-8")),
        script=Markup((assets / "report.js").read_text(encoding="utf-8")),
        plotly=Markup(get_plotlyjs()),
    )
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")
    return path
