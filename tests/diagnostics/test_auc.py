"""The overlap of positive and negative scores."""

import hypothesis.strategies as st
import torch
from hypothesis import given
from sklearn.metrics import roc_auc_score

from dipole.diagnostics import score_distributions


@given(st.integers(2, 12), st.integers(0, 30), st.booleans())
def test_it_is_the_area_under_the_curve_of_all_pairs(count: int, seed: int, ties: bool) -> None:
    x, y = torch.randn(2, count, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    if ties:
        x, y = (torch.nn.functional.one_hot(z.argmax(dim=1), 3).double() for z in (x, y))
    unit = torch.nn.functional.normalize
    scores = unit(x, dim=1) @ unit(y, dim=1).T
    expected = roc_auc_score(torch.eye(count).flatten().numpy(), scores.flatten().numpy())
    assert abs(score_distributions(x, y).auc - expected) < 1e-9
