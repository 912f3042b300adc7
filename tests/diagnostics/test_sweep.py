import json
import math

import pytest
import torch
import torch.nn.functional as F

from dipole.diagnostics import (
    local_separation,
    penalty_entropy,
    relative_penalty,
    temperature_sweep,
    tolerance,
    uniformity,
)
from dipole.diagnostics import rows as tiles
from dipole.errors import InputError

generator = torch.Generator().manual_seed(5)
X = torch.randn(25, 4, generator=generator, dtype=torch.float64)
VIEWS = X + 0.2 * torch.randn(25, 4, generator=generator, dtype=torch.float64)
LABELS = torch.arange(25) % 4


@pytest.mark.parametrize("entries", [1 << 20, 3 * 25])
def test_rows_agree_with_the_functions_on_the_whole_matrix(entries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiles, "TILE_ENTRIES", entries)
    negatives = ~torch.eye(25, dtype=torch.bool)
    similarity = F.normalize(X, dim=1) @ F.normalize(VIEWS, dim=1).T
    for row in temperature_sweep(X, VIEWS, LABELS, [0.05, 0.7], k=3, bins=4):
        r = relative_penalty(similarity, row["temperature"], negatives)
        assert row["entropy"] == pytest.approx(float(penalty_entropy(r).mean()))
        assert row["effective_negatives"] == pytest.approx(float(penalty_entropy(r).exp().mean()))
        for index, penalty in enumerate(row["penalty_by_similarity"]):
            inside = negatives & (similarity >= index / 2 - 1) & (similarity < index / 2 - 0.5)
            assert penalty == pytest.approx(float(r[inside].mean()))
        assert row["uniformity"] == pytest.approx(float(uniformity(X)))
        assert row["tolerance"] == pytest.approx(float(tolerance(X, LABELS)))
        expected = local_separation(X, VIEWS, k=3).top_negative_similarity.tolist()
        assert row["top_negative_similarity"] == pytest.approx(expected)


def test_a_low_temperature_penalises_near_negatives_more() -> None:
    cool, warm = temperature_sweep(X, VIEWS, None, [0.05, 1.0], bins=4)
    assert cool["penalty_by_similarity"][-1] > warm["penalty_by_similarity"][-1]
    assert cool["penalty_by_similarity"][0] < warm["penalty_by_similarity"][0]
    assert cool["effective_negatives"] < warm["effective_negatives"] <= 24


def test_rows_are_json_with_null_where_there_is_nothing() -> None:
    (row,) = temperature_sweep(torch.eye(3), torch.eye(3), torch.arange(3), [0.1], bins=4)
    assert row["tolerance"] is None
    assert row["penalty_by_similarity"] == [None, None, 0.5, None]
    assert row["entropy"] == pytest.approx(math.log(2))
    json.dumps(row, allow_nan=False)


def test_wrong_input_is_refused() -> None:
    with pytest.raises(InputError, match="temperatures is empty"):
        temperature_sweep(X, VIEWS, None, [])
    with pytest.raises(InputError, match="temperature is -1"):
        temperature_sweep(X, VIEWS, None, [0.1, -1.0])
    with pytest.raises(InputError, match="bins is 0"):
        temperature_sweep(X, VIEWS, None, [0.1], bins=0)
