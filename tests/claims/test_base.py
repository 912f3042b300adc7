import pytest
import torch

from dipole.claims import Arm, Claim, Comparison, ImageData, claims, get_claim
from dipole.claims.base import metrics_by_seed
from dipole.errors import InputError
from dipole.methods.registry import get_method, methods

DIGITS = ImageData("digits", 16)


def claim(**options):
    arms = (Arm("a", "simclr", DIGITS, 1, 64, (0.1,)), Arm("b", "cacr", DIGITS, 1, 64, (0.1,)))
    return Claim(
        "x", "X", "x", "x", **{"arms": arms, "comparisons": (Comparison("a − b", "a", "b", "knn"),), **options}
    )


def test_comparisons_must_name_arms():
    with pytest.raises(InputError, match="the arms are"):
        claim(comparisons=(Comparison("a − c", "a", "c", "knn"),))


def test_the_tuning_seed_is_no_seed_to_judge_by():
    with pytest.raises(InputError, match="chooses the learning rate"):
        claim(seeds=(99, 100))


def test_imbalanced_pretraining_keeps_a_few_of_every_class():
    data = ImageData("digits", 16, imbalance="exponential")
    train, _ = data.load()
    counts = torch.bincount(data.pretraining(train).labels["label"])
    assert counts.min() == 4
    assert counts[-1] == (train.labels["label"] == 9).sum()
    assert counts.tolist() == sorted(counts.tolist())


def test_balanced_pretraining_is_the_training_set():
    train, _ = DIGITS.load()
    assert DIGITS.pretraining(train) is train


def test_a_metric_that_is_missing():
    with pytest.raises(InputError, match="seed 1"):
        metrics_by_seed([{"seed": 0, "knn": 1.0}, {"seed": 1}], "knn")


def test_an_unknown_claim():
    with pytest.raises(InputError, match="Did you mean 'cacr'"):
        get_claim("cacrr")


OF_IMAGES = [slug for slug, claim in claims().items() if isinstance(claim.arms[0].data, ImageData)]


@pytest.mark.parametrize("slug", OF_IMAGES)
def test_the_arms_of_a_claim_can_be_built_and_cost_the_same(slug):
    cost = {}
    for arm in get_claim(slug).arms:
        method = get_method(arm.method)(**{**arm.options, "image_size": arm.data.image_size})
        cost.setdefault(arm.data, set()).add(arm.epochs * method.num_views)
    assert all(len(views) == 1 for views in cost.values())


# Steps that a method makes on a batch with its encoder, where it is not one.
ENCODER_STEPS = {"mclrec": 2}
# Pairs of a sample in an epoch, where they depend on an option.
PAIRS = {"curved-cl": lambda options: 3 if options.get("directional", True) else 2}


@pytest.mark.parametrize("slug", [slug for slug in claims() if slug in methods() and slug not in OF_IMAGES])
def test_the_arms_of_a_claim_have_settings_that_exist_and_cost_the_same(slug):
    cost = {}
    for arm in get_claim(slug).arms:
        assert set(arm.options) <= set(get_method(arm.method).arguments()) or not arm.data.runs_method
        pairs = PAIRS[arm.method](arm.options) if arm.method in PAIRS else 1
        steps = arm.epochs * ENCODER_STEPS.get(arm.method, 1) * pairs
        cost.setdefault(arm.data, set()).add((steps, arm.batch_size) if steps else None)
    assert all(len(settings - {None}) <= 1 for settings in cost.values())
