"""Semantic textual similarity against SentEval's numbers."""

import pytest
import torch

from dipole.evaluation import sts_scores
from reference.cases import Case, parametrize

# The page of the protocol asks for more than the other reference values: nothing is trained or rounded here.
TOLERANCE = 1e-9


@parametrize("_text-evaluation", {"sts": "in.a0"})
def test_every_value(case: Case, kind: str) -> None:
    assert kind == "sts"
    names = [name.removeprefix("a") for name in case.names("in.") if name.startswith("a")]
    scores = sts_scores({name: (case[f"in.a{name}"], case[f"in.b{name}"], case[f"in.gold{name}"]) for name in names})
    found = {f"spearman_s{name}": value for name, value in scores.spearman.subsets.items()}
    for measure, correlation in (("spearman", scores.spearman), ("pearson", scores.pearson)):
        found |= {f"{measure}_{way}": getattr(correlation, way) for way in ("all", "mean", "wmean")}
    for key, value in found.items():
        assert value == pytest.approx(float(case[f"out.{key}"]), rel=TOLERANCE, abs=TOLERANCE), key
    assert [len(case[f"in.gold{name}"]) for name in names] == case.params["sizes"]
    assert case.params["zero_vector_in_a0_row3"] == (not torch.any(case["in.a0"][3]))
    case.check_all_read()
