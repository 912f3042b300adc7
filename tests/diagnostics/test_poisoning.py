"""Triggers, rates, detectors and repairs."""

import copy

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import nn

from dipole.diagnostics.poisoning import (
    PenaltyControl,
    TriggerGenerator,
    attack_rates,
    decree,
    poison_indices,
    project_linf,
    prune_channels,
    self_similarity,
    unlearn,
    wilson_interval,
    worst_perturbation,
)
from dipole.diagnostics.poisoning.decree import bounded, unbounded
from dipole.diagnostics.poisoning.unlearning import _fooled, implicit_gradient
from dipole.errors import InputError


@given(st.floats(0.0, 1.0), st.integers(0, 20))
def test_a_change_is_held_to_its_budget(budget: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x, changed = torch.rand(2, 2, 3, 4, 4, generator=generator)
    held = project_linf(3 * changed - 1, x, budget)
    assert float((held - x).abs().max()) <= budget + 1e-6
    assert float(held.min()) >= 0
    assert float(held.max()) <= 1
    assert torch.equal(project_linf(changed, x, 0.0), x)


@pytest.mark.parametrize("size", [(8, 8), (9, 11)])
def test_a_generator_keeps_the_size_of_images(size: tuple[int, int]) -> None:
    with torch.no_grad():
        made = TriggerGenerator(channels=1, width=2, blocks=1).eval()(torch.rand(2, 1, *size))
    assert made.shape == (2, 1, *size)
    assert 0 <= float(made.min()) <= float(made.max()) <= 1


def test_changed_images_are_of_the_class_and_no_more_than_it_has() -> None:
    labels = torch.tensor([0, 1, 1, 0, 1])
    assert poison_indices(labels, 1, 0.4).tolist() == [1, 2]
    assert poison_indices(labels, 1, 1.0).tolist() == [1, 2, 4]
    assert poison_indices(labels, 1, 0.0).tolist() == []
    for arguments, message in (((labels, 7, 0.5), "no training image"), ((labels, 1, 1.5), "share")):
        with pytest.raises(InputError, match=message):
            poison_indices(*arguments)


def test_the_targets_own_images_count_in_one_rate_only() -> None:
    labels, target = torch.tensor([1, 1, 1, 0]), torch.ones(4, dtype=torch.int64)
    rates = attack_rates(labels, 1, clean=labels, audited=labels, audited_triggered=labels, clean_triggered=target)
    assert (rates.success, rates.success_all, rates.reference, rates.uplift) == (0.0, 0.75, 1.0, -1.0)
    with pytest.raises(InputError, match="every test image"):
        attack_rates(target, 1, clean=labels, audited=labels, audited_triggered=labels, clean_triggered=labels)


@given(st.integers(0, 50), st.integers(1, 50))
def test_an_interval_holds_its_share(hits: int, more: int) -> None:
    count = hits + more
    low, high = wilson_interval(hits / count, count)
    assert 0 <= low <= hits / count <= high <= 1


def test_a_patch_is_found_or_said_not_to_be() -> None:
    torch.manual_seed(0)
    images = torch.rand(64, 1, 6, 6)
    found = decree(lambda x: x.flatten(1) - 0.5, images, steps=200)
    assert found.share is not None
    assert 0 < found.share <= 1
    mask = found.mask * (1 - 1e-6)
    stamped = (1 - mask) * images + mask * found.patch
    assert float(self_similarity(stamped.flatten(1) - 0.5)) > 0.98, (
        "the patch that is returned is the one that succeeded"
    )
    none = decree(lambda x: x.flatten(1) - 0.5, images, steps=5)
    assert none.share is None, "what was not found is not 0"


def test_numbers_and_their_bounded_ones() -> None:
    value = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    torch.testing.assert_close(bounded(unbounded(value)), value)


@given(st.lists(st.tuples(st.floats(-1, 1), st.floats(0, 1e4)), min_size=1, max_size=60))
def test_the_best_patch_is_the_smallest_that_succeeded(steps: list[tuple[float, float]]) -> None:
    control = PenaltyControl()
    for cosine, size in steps:
        control.step(cosine, size)
    succeeded = [size for cosine, size in steps if abs(cosine) > 0.99]
    assert control.found == bool(succeeded)
    if succeeded:
        assert control.best == min(succeeded)
    assert control.penalty > 0


def test_self_similarity_leaves_out_each_row_with_itself() -> None:
    z = torch.randn(5, 3, dtype=torch.float64)
    cosine = nn.functional.cosine_similarity(z[:, None], z[None], dim=2)
    torch.testing.assert_close(self_similarity(z), (cosine.sum() - 5) / 20)


def test_a_channel_that_stands_out_is_switched_off() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 32, 3), nn.BatchNorm2d(32), nn.ReLU())
    with torch.no_grad():
        model[0].weight[5] *= 50
    (layer,) = prune_channels(model, 3.0)
    assert layer.pruned.tolist() == [5]
    assert model[1].weight[5] == model[1].bias[5] == 0
    with pytest.raises(InputError, match="not applicable"):
        prune_channels(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)))


def test_the_implicit_gradient_is_that_of_the_perturbation_that_moves_along() -> None:
    """Of a quadratic problem the fixed point is known: δ*(w) = w, and d/dw of ½ (δ* − 3)² + w² is (w − 3) + 2 w."""
    weight = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
    perturbation = torch.tensor([1.0], dtype=torch.float64, requires_grad=True)
    outer = (perturbation - 3).square().sum() / 2 + weight.square().sum()
    (found,) = implicit_gradient([weight], perturbation, outer, lambda: 5 * (perturbation - weight).square().sum())
    torch.testing.assert_close(found, torch.tensor([0.0], dtype=torch.float64))


def test_unlearning_keeps_what_a_classifier_knows_of_clean_images() -> None:
    torch.manual_seed(0)
    images = torch.rand(128, 1, 4, 4)
    labels = (images[:, 0, :, :2].mean(dim=(1, 2)) > images[:, 0, :, 2:].mean(dim=(1, 2))).long()
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimizer.step()
    before = copy.deepcopy(model)
    worst = worst_perturbation(model, images)
    said = model(images).argmax(dim=1)
    with torch.no_grad():
        assert _fooled(model, images, said, worst) < _fooled(model, images, said, torch.zeros_like(worst))
    unlearn(model, images, labels, batch_size=32)
    assert float((model(images).argmax(dim=1) == labels).double().mean()) > 0.95
    assert not torch.equal(model[1].weight, before[1].weight)
