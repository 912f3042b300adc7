"""Classification by a support vector machine."""

import numpy as np
import pytest
import torch
from sklearn.model_selection import cross_val_score
from sklearn.svm import SVC

from dipole.errors import InputError
from dipole.evaluation import svm, svm_classification


def rings(count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Two classes that no line can part."""
    rng = np.random.default_rng(seed)
    labels, angles = np.arange(count) % 2, rng.uniform(0, 2 * np.pi, count)
    radius = 1 + 2 * labels + 0.2 * rng.standard_normal(count)
    points = np.stack([radius * np.cos(angles), radius * np.sin(angles)], axis=1)
    return torch.from_numpy(points), torch.from_numpy(labels)


def test_classes_that_no_line_can_part() -> None:
    result = svm_classification(*rings(60, 0), *rings(80, 1))
    assert result.accuracy > 0.95
    assert result.accuracy == pytest.approx(float((result.predicted == np.arange(80) % 2).mean()))


def test_the_cost_is_that_of_the_best_cross_validation() -> None:
    x, y = rings(60, 0)
    x = x + 0.5 * torch.randn(60, 2, generator=torch.Generator().manual_seed(0))
    scores = {cost: cross_val_score(SVC(C=cost), x.numpy(), y.numpy(), cv=5).mean() for cost in svm.COSTS}
    chosen = svm_classification(x, y, x, y).cost
    assert chosen == max([*svm.COSTS, svm.NO_MARGIN], key=lambda cost: scores.get(cost, -1))


@pytest.mark.parametrize("count", [20, 49])
def test_small_sets_have_no_margin(count: int) -> None:
    assert svm_classification(*rings(count, 0), *rings(10, 1)).cost == svm.NO_MARGIN


def test_a_rare_class_has_no_margin() -> None:
    x, y = rings(60, 0)
    y[:2] = 2
    assert svm_classification(x, y, x, y).cost == svm.NO_MARGIN


def test_large_sets_are_thinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(svm, "_MOST", 30)
    assert svm_classification(*rings(200, 0), *rings(80, 1)).cost == svm.NO_MARGIN


def test_nothing_to_tell_apart() -> None:
    x, y = rings(10, 0)
    with pytest.raises(InputError, match="a single class"):
        svm_classification(x, torch.zeros_like(y), x, y)
