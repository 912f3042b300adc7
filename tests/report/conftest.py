"""A small run directory with every file a report reads."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch

from dipole.diagnostics import geometry
from dipole.files import write_json

CONFIG = """
seed: 3
versions: {torch: 2.9.1}
method:
  class_path: dipole.methods.vision.DCL
  init_args: {temperature: 0.1, encoder: {width: 32}, schedule: [10, 20], gather: false, momentum: null}
"""


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    generator = torch.Generator().manual_seed(0)
    (tmp_path / "config.yaml").write_text(CONFIG)
    rows: list[dict[str, Any]] = [
        {"epoch": 0, "step": 5, "knn": 0.5, "uniformity": -1.0, "loss": 2.5, "broken": "nan", "sparse": ""},
        {"epoch": 1, "step": 10, "knn": 0.75, "uniformity": -2.0, "loss": 1.5, "broken": "inf", "sparse": 4},
    ]
    with (tmp_path / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    x = torch.randn(12, 4, generator=generator)
    views = (x, x + 0.2 * torch.randn(12, 4, generator=generator))
    entries = [{"epoch": epoch, **geometry(*views, torch.arange(12) % 3)} for epoch in (0, 1)]
    write_json(tmp_path / "diagnostics.json", {"epochs": entries})
    table = [{"encoder": "trained", "knn": 0.75, "linear": 0.5}, {"encoder": "raw pixels", "knn": 0.25, "linear": 31.5}]
    write_json(
        tmp_path / "evaluation.json", {"protocols": ["knn", "linear"], "rows": table, "settings": {"neighbours": 20}}
    )
    return tmp_path


@pytest.fixture
def samples() -> dict[str, Any]:
    """Embeddings in three well separated groups, with images and labels."""
    generator = torch.Generator().manual_seed(1)
    label = torch.arange(24) % 3
    embeddings = 5 * torch.eye(3)[label] + 0.3 * torch.randn(24, 3, generator=generator)
    return {
        "embeddings": embeddings,
        "images": torch.randint(0, 256, (24, 3, 8, 8), generator=generator, dtype=torch.uint8),
        "labels": {"shade": torch.arange(24) % 2, "label": label.masked_fill(torch.arange(24) == 23, -1)},
        "class_names": {"label": ("cat", "dog", "owl")},
        "ids": [f"sample-{index}" for index in range(24)],
    }
