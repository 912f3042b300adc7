import json

import pytest
import torch
import torch.nn.functional as F

from dipole.diagnostics import alignment, effective_rank, geometry, score_distributions, tolerance, uniformity


def test_it_gathers_the_metrics_as_json() -> None:
    x, y = torch.randn(2, 20, 4, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(20) % 3
    found = json.loads(json.dumps(geometry(x, y, labels), allow_nan=False))
    scores = score_distributions(x, y)
    assert found["alignment"] == pytest.approx(float(alignment(x, y)))
    assert found["uniformity"] == pytest.approx(float(uniformity(x)))
    assert found["tolerance"] == pytest.approx(float(tolerance(x, labels)))
    assert found["effective_rank"] == pytest.approx(float(effective_rank(F.normalize(x, dim=1))))
    assert found["negative"] == pytest.approx({"mean": scores.negative.mean, "variance": scores.negative.variance})
    assert len(found["histogram"]["edges"]) == 51
    assert found["histogram"]["positive"] == pytest.approx(scores.positive.density.tolist())
    assert geometry(x, y)["tolerance"] is None
