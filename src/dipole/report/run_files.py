"""What a run directory tells: settings, training curves, diagnostics, evaluation. A missing file gives None."""

import csv
import math
from pathlib import Path
from typing import Any, TypedDict

from dipole.errors import InputError
from dipole.evaluation.stored import tables
from dipole.files import read_json, read_yaml

GEOMETRY = ("alignment", "uniformity", "tolerance", "effective_rank")
SCORES = ("positive", "negative")
LOWER_IS_BETTER = {"alignment", "uniformity"}
ERRORS = {"MSE", "MAE"}  # lower is better too, at any horizon


class Curve(TypedDict):
    """One metric over the epochs."""

    name: str
    epochs: list[float]
    values: list[float]


def read_settings(path: Path) -> dict[str, list[tuple[str, str]]] | None:
    """Read `config.yaml` as groups of (dotted name, value), one group for each top-level mapping."""
    if not path.is_file():
        return None
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise InputError(f"{path} holds {type(content).__name__}: expected settings by name.")
    groups: dict[str, list[tuple[str, str]]] = {}
    for name, value in content.items():
        if isinstance(value, dict) and value:
            groups[str(name)] = _flatten(value)
        else:
            groups.setdefault("run", []).append((str(name), _shown(value)))
    return groups


def _flatten(content: dict[Any, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested settings under dotted names; the levels `init_args` say nothing to a reader."""
    rows = []
    for name, value in content.items():
        key = prefix.rstrip(".") if name == "init_args" else f"{prefix}{name}"
        if isinstance(value, dict) and value:
            rows.extend(_flatten(value, f"{key}." if key else ""))
        else:
            rows.append((key, _shown(value)))
    return rows


def _shown(value: Any) -> str:
    """A setting as a reader writes it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(_shown(item) for item in value) or "none"
    return str(value)


def read_curves(path: Path, leave_out: tuple[str, ...] = ()) -> list[Curve] | None:
    """Read `metrics.csv` as one curve for each metric with a finite value: losses first, then in the file's order."""
    if not path.is_file():
        return None
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    curves = []
    for name in rows[0] if rows else ():
        if name in {"epoch", "step", *leave_out}:
            continue
        pairs = [(_number(row.get("epoch")), _number(row.get(name))) for row in rows]
        known = [(epoch, value) for epoch, value in pairs if epoch is not None and value is not None]
        if known:
            curves.append(Curve(name=name, epochs=[epoch for epoch, _ in known], values=[value for _, value in known]))
    return sorted(curves, key=lambda curve: "loss" not in curve["name"])


def _number(text: Any) -> float | None:
    """A finite number, or None."""
    try:
        value = float(text)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def read_diagnostics(path: Path) -> dict[str, Any] | None:
    """Read `diagnostics.json` as columns: each quantity over the epochs, histograms included."""
    if not path.is_file():
        return None
    content = read_json(path)
    try:
        entries = content["epochs"]
        if not entries:
            return None
        columns: dict[str, Any] = {"epochs": [entry["epoch"] for entry in entries]}
        for name in GEOMETRY:
            columns[name] = [entry[name] for entry in entries]
        for name in SCORES:
            columns[name] = {
                "mean": [entry[name]["mean"] for entry in entries],
                "deviation": [math.sqrt(entry[name]["variance"]) for entry in entries],
                "density": [[round(value, 4) for value in entry["histogram"][name]] for entry in entries],
            }
        columns["auc"] = [entry.get("auc") for entry in entries]  # older runs have none
        columns["edges"] = entries[-1]["histogram"]["edges"]
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not what GeometryMonitor writes ({error!r}). Train again or delete it.") from error
    return columns


def read_evaluations(path: Path) -> list[dict[str, Any]]:
    """Read `evaluation.json` as tables, oldest first, each with `data`, `protocols`, `rows`, `settings` and `pictures`.

    Rows hold the name of the encoder, its values, and which of them are the best.
    """
    if not path.is_file():
        return []
    content = read_json(path)
    found = [_evaluation(path, table) for table in tables(content)]
    if not found:
        raise InputError(f"{path} is not what `dipole evaluate` writes ({content!r:.40}). Evaluate again.")
    return found


def _evaluation(path: Path, content: dict[str, Any]) -> dict[str, Any]:
    """One table."""
    try:
        protocols = [str(name) for name in content["protocols"]]
        table = [(str(row["encoder"]), [_number(row.get(name)) for name in protocols]) for row in content["rows"]]
        settings = [(name.replace("_", " "), value) for name, value in _flatten(content.get("settings", {}))]
        pictures = [
            {"title": str(each["title"]), "lead": str(each["lead"]), "figure": dict(each["figure"])}
            for each in content.get("pictures", [])
        ]
        intervals = {str(row): dict(each) for row, each in content.get("intervals", {}).items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InputError(f"{path} is not what `dipole evaluate` writes ({error!r}). Evaluate again.") from error
    columns = zip(protocols, zip(*(values for _, values in table), strict=True), strict=True)
    best = [
        (min if _lower_is_better(name) else max)((value for value in column if value is not None), default=None)
        for name, column in columns
    ]
    rows = [
        {
            "encoder": encoder,
            "cells": [
                _cell(value, top, intervals.get(encoder, {}).get(name), bar=not _lower_is_better(name))
                for name, value, top in zip(protocols, values, best, strict=True)
            ],
        }
        for encoder, values in table
    ]
    data = Path(str(content.get("data", ""))).name
    return {"data": data, "protocols": protocols, "rows": rows, "settings": settings, "pictures": pictures}


def _lower_is_better(protocol: str) -> bool:
    """Whether a protocol measures an error."""
    return protocol in LOWER_IS_BETTER or bool(ERRORS & set(protocol.split()))


def _cell(value: float | None, best: float | None, interval: Any, *, bar: bool) -> dict[str, Any]:
    """A value of the table, with its interval and the length of its bar, where it is a share of 1."""
    if value is None:
        return {"text": "–", "share": None, "best": False}
    share = f"{100 * value:.1f}%" if bar and 0 <= value <= 1 else None
    bounds = [_number(bound) for bound in interval] if isinstance(interval, list | tuple) else []
    text = f"{value:z.3f}"
    if len(bounds) == 2 and None not in bounds:
        text += f" [{bounds[0]:z.3f}, {bounds[1]:z.3f}]"
    return {"text": text, "share": share, "best": value == best}
