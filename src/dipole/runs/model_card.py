"""The card of a trained model: what it is, what it was trained on, what it was measured to do, how it is opened."""

import json
from pathlib import Path
from typing import Any

import yaml

from dipole.card import Card
from dipole.evaluation.stored import tables
from dipole.files import read_json
from dipole.runs.model import model_folder

SETTINGS = ("data", "image_size", "batch_size", "epochs", "seed", "precision")
TASKS = {"vision": "image-feature-extraction", "text": "sentence-similarity"}


def model_card(
    run: str | Path, card: Card, domain: str, library: str, example: str, *, license_name: str | None = None
) -> str:
    """Write the card of a model in Markdown, as hubs show it.

    Args:
        run: a run directory or a model folder; of a folder alone, settings and measurements are not known.
        card: of the method.
        domain: `"vision"`, `"text"` or another field.
        library: by which the model is opened.
        example: Python that opens it.
        license_name: of the weights, as the hub names it; not stated if it is None.

    Returns:
        The text, with a header in YAML.
    """
    header: dict[str, Any] = {"library_name": library, "tags": ["dipole", card.name, "contrastive-learning"]}
    if domain in TASKS:
        header["pipeline_tag"] = TASKS[domain]
    if license_name is not None:
        header["license"] = license_name
    parts = [
        f"---\n{yaml.safe_dump(header, sort_keys=False)}---",
        f"# An encoder trained by {card.name}",
        f"{card.summary} {_paper(card)}",
        f"```python\n{example}\n```",
    ]
    folder = model_folder(run).parent
    settings, measured = folder / "config.yaml", folder / "evaluation.json"
    if settings.is_file():
        parts += ["## How it was trained", _settings(settings)]
    if measured.is_file():
        parts += ["## What it was measured to do", *map(_measured, tables(read_json(measured)))]
    licence = f"The weights are under the licence `{license_name}`." if license_name else "No licence is stated."
    parts += [
        "## Licence",
        f"{licence} The data that they were learned from have their own.",
        "## Citation",
        _bib(card),
    ]
    return "\n\n".join(parts) + "\n"


def _paper(card: Card) -> str:
    """The paper in a sentence."""
    title = f"[{card.title}](https://arxiv.org/abs/{card.arxiv})" if card.arxiv else card.title
    return f"{title}, {card.authors}, {card.venue} {card.year}."


def _settings(path: Path) -> str:
    """The settings of the run that are not those of its files."""
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    given = {key: config[key] for key in SETTINGS if config.get(key) is not None}
    given["data"] = Path(str(given.get("data", ""))).name  # where it lay is nobody's business
    given |= {key: value for key, value in config.get("method", {}).items() if isinstance(value, int | float | str)}
    return _table(["setting", "value"], [[key, f"`{json.dumps(value)}`"] for key, value in given.items()])


def _measured(evaluation: dict[str, Any]) -> str:
    """A table of `dipole evaluate`."""
    columns = list(evaluation.get("protocols", []))
    rows = [
        [str(row.get("encoder", "")), *(f"{row[name]:.3f}" if row.get(name) is not None else "" for name in columns)]
        for row in evaluation.get("rows", [])
    ]
    return f"On `{Path(str(evaluation.get('data', ''))).name}`:\n\n{_table(['', *columns], rows)}"


def _table(heads: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)


def _bib(card: Card) -> str:
    """An entry for a bibliography."""
    lines = {"title": card.title, "author": card.authors, "year": str(card.year), "booktitle": card.venue}
    if card.arxiv:
        lines["eprint"] = card.arxiv
    entry = "\n".join(f"  {key} = {{{value}}}," for key, value in lines.items())
    return f"```bibtex\n@inproceedings{{{card.slug},\n{entry}\n}}\n```"
