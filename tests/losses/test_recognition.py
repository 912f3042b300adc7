"""Losses for rare, few, unknown and ordered labels, and for two populations: what holds for any input."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given, settings

from dipole.errors import InputError
from dipole.losses import (
    beclr_loss,
    class_prototypes,
    effective_number_weights,
    episode_loss,
    icnn_loss,
    joint_entropy_loss,
    k_positive_loss,
    kernel_entropy,
    kernel_mutual_information,
    ldam_loss,
    ldam_margins,
    num_subclasses,
    proto_triplet_loss,
    select_confident,
    sepclr_loss,
    soft_contrastive_loss,
    subclass_contrastive_loss,
    subclass_contrastive_queue_loss,
    sup_con_loss,
    supremix_loss,
    uniformity_loss,
)
from dipole.losses.info_nce import info_nce_loss
from dipole.losses.subclasses import class_concentration, class_concentration_temperature
from dipole.losses.supremix import supremix_terms

SEEDS = st.integers(0, 2**31)
FEW = settings(max_examples=8, deadline=None)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def labels_of(rows: int, classes: int, seed: int) -> torch.Tensor:
    return torch.randint(0, classes, (rows,), generator=torch.Generator().manual_seed(seed))


# SBCL


@FEW
@given(SEEDS, st.integers(3, 8))
def test_one_subclass_a_class_is_supervised_contrast(seed: int, rows: int) -> None:
    views, labels = random(2, rows, 4, seed=seed), labels_of(rows, 3, seed)
    plain = sup_con_loss(views.flatten(0, 1), labels.repeat(2), temperature=0.2)
    options = {"temperature": 0.2, "beta": 0.5}
    found = subclass_contrastive_loss(views, labels, labels, **options, form="single_temperature")
    torch.testing.assert_close(found, 1.5 * plain)
    fine = subclass_contrastive_loss(views, labels, labels, temperature=0.2, beta=0.0)
    torch.testing.assert_close(fine, plain)


@FEW
@given(SEEDS)
def test_order_and_length_do_not_matter_to_subclasses(seed: int) -> None:
    views, labels = random(2, 7, 4, seed=seed), labels_of(7, 2, seed)
    subclasses = 3 * labels + labels_of(7, 3, seed + 1)
    order = torch.randperm(7, generator=torch.Generator().manual_seed(seed))
    tau = torch.tensor([0.2, 0.4], dtype=torch.float64)
    expected = subclass_contrastive_loss(views, labels, subclasses, class_temperature=tau)
    moved = subclass_contrastive_loss(3 * views[:, order], labels[order], subclasses[order], class_temperature=tau)
    torch.testing.assert_close(moved, expected)


def test_gradients_of_subclasses_are_finite_differences() -> None:
    views = random(2, 5, 3).requires_grad_()
    labels, subclasses = torch.tensor([0, 0, 0, 1, 1]), torch.tensor([0, 0, 1, 2, 2])
    tau = torch.tensor([0.3, 0.5], dtype=torch.float64)
    assert torch.autograd.gradcheck(
        lambda z: subclass_contrastive_loss(z, labels, subclasses, class_temperature=tau), (views,)
    )


def test_an_anchor_alone_adds_nothing() -> None:
    views, alone = random(1, 4, 3).requires_grad_(), torch.arange(4)
    loss = subclass_contrastive_loss(views, alone, alone)
    assert float(loss.detach()) == 0
    assert torch.autograd.grad(loss, views)[0].abs().max() == 0


def test_an_unknown_queue_is_infonce() -> None:
    q, k, queue = random(4, 3), random(4, 3, seed=1), random(6, 3, seed=2)
    unknown, labels = torch.full((6,), -1), torch.arange(4)
    options = {"temperature": 0.3, "class_temperature": 0.3, "beta": 0.5}
    found = subclass_contrastive_queue_loss(q, k, queue, labels, unknown, labels, unknown, **options)
    torch.testing.assert_close(found, 1.5 * info_nce_loss(q, k, queue, temperature=0.3))
    drawn = k_positive_loss(q, k, queue, labels, unknown, torch.rand(3, 4), temperature=0.3)
    torch.testing.assert_close(drawn, info_nce_loss(q, k, queue, temperature=0.3))


def test_temperatures_of_classes() -> None:
    assert num_subclasses(torch.tensor([100, 9, 5]), delta=3).tolist() == [20, 1, 1]
    with pytest.raises(InputError, match="a sample of every class"):
        num_subclasses(torch.tensor([3, 0]))
    same = torch.ones(4, 2, dtype=torch.float64) / 2**0.5
    phi = class_concentration(same, torch.tensor([0, 0, 1, 1]))
    assert class_concentration_temperature(phi, torch.tensor([2, 2])).tolist() == pytest.approx([0.1, 0.1])


def test_margins_and_weights() -> None:
    counts = torch.tensor([1000, 10, 1])
    margins, weights = ldam_margins(counts), effective_number_weights(counts)
    assert margins.tolist() == sorted(margins.tolist())
    assert float(weights.sum()) == pytest.approx(3)
    with pytest.raises(InputError, match="a class without labelled samples"):
        ldam_margins(torch.tensor([3, 0]))
    cosines = random(5, 3).tanh()
    plain = torch.nn.functional.cross_entropy(2 * cosines, torch.tensor([0, 1, 2, 0, 1]))
    found = ldam_loss(cosines, torch.tensor([0, 1, 2, 0, 1]), torch.zeros(3), scale=2.0)
    torch.testing.assert_close(found, plain)


# SuSana


def test_classes_apart_cost_nothing() -> None:
    rows = torch.cat([random(6, 3) / 100, 1000 + random(6, 3, seed=1) / 100]).requires_grad_()
    labels = torch.arange(2).repeat_interleave(6)
    loss = icnn_loss(rows, labels)
    assert float(loss.detach()) < 1e-3
    prototypes = class_prototypes(rows, labels).rows
    triplet = proto_triplet_loss(rows, labels, prototypes)
    assert float(triplet.detach()) == 0


@FEW
@given(SEEDS)
def test_the_order_of_an_episode_does_not_matter(seed: int) -> None:
    support, query = random(6, 4, seed=seed), random(9, 4, seed=seed + 1)
    own, asked = torch.arange(3).repeat_interleave(2), torch.arange(3).repeat_interleave(3)
    first, second = (torch.randperm(n, generator=torch.Generator().manual_seed(seed)) for n in (6, 9))
    expected = episode_loss(support, own, query, asked)
    torch.testing.assert_close(episode_loss(support[first], own[first], query[second], asked[second]), expected)


def test_gradients_of_an_episode_are_finite_differences() -> None:
    support, query = random(6, 3).requires_grad_(), random(6, 3, seed=1).requires_grad_()
    labels = torch.arange(3).repeat_interleave(2)
    assert torch.autograd.gradcheck(lambda s, q: episode_loss(s, labels, q, labels), (support, query))


@pytest.mark.usefixtures("unchecked")
def test_what_an_episode_refuses() -> None:
    rows, labels = random(4, 2), torch.tensor([0, 0, 1, 1])
    with pytest.raises(InputError, match="expected one or more of cross"):
        episode_loss(rows, labels, rows, labels, terms=("fullicn",))
    with pytest.raises(InputError, match="no wrong prototype"):
        proto_triplet_loss(rows, torch.zeros(4).long(), rows[:1])
    with pytest.raises(InputError, match="has no prototype"):
        proto_triplet_loss(rows, torch.tensor([0, 1, 2, 3]), rows[:2])
    with pytest.raises(InputError, match="too few for a neighbourhood"):
        icnn_loss(rows[:2], labels[:2])


# BECLR


def test_the_teacher_has_no_gradient_and_views_are_alike() -> None:
    p, z, t = (random(8, 3, seed=seed).requires_grad_() for seed in range(3))
    loss = beclr_loss(p, z, t).loss
    assert torch.autograd.grad(loss, t, allow_unused=True, retain_graph=True) == (None,)
    swapped = beclr_loss(*(x.roll(4, dims=0) for x in (p, z, t))).loss
    torch.testing.assert_close(swapped, loss)
    assert torch.autograd.gradcheck(lambda a, b: beclr_loss(a, b, t.detach()).loss, (p, z))


# BaCon


@FEW
@given(SEEDS)
def test_soft_labels_that_are_hard_are_supervised_contrast(seed: int) -> None:
    views, labels = random(2, 6, 4, seed=seed), labels_of(6, 3, seed)
    soft = torch.nn.functional.one_hot(labels, 3).double()
    expected = sup_con_loss(views.flatten(0, 1), labels.repeat(2), temperature=0.2)
    for similarity in ("dot", "cosine"):
        found = soft_contrastive_loss(views, soft, temperature=0.2, similarity=similarity)  # type: ignore[arg-type]
        torch.testing.assert_close(found, expected)


def test_rates_of_one_and_nought_keep_all_and_none() -> None:
    soft = random(6, 3).softmax(dim=1)
    assert bool(select_confident(soft, torch.ones(3)).chosen.all())
    assert not bool(select_confident(soft, torch.zeros(3)).chosen.any())


# SupReMix


@FEW
@given(SEEDS)
def test_without_mixtures_and_weights_it_is_supervised_contrast(seed: int) -> None:
    views, labels = random(2, 6, 4, seed=seed), labels_of(6, 3, seed)
    found = supremix_loss(views, labels.double(), temperature=0.2, mix_neg=False, mix_pos=False, weight="none")
    torch.testing.assert_close(found, sup_con_loss(views.flatten(0, 1), labels.repeat(2), temperature=0.2))


@FEW
@given(SEEDS)
def test_the_order_of_the_samples_does_not_matter_to_mixtures(seed: int) -> None:
    views, labels = random(2, 5, 4, seed=seed), labels_of(5, 4, seed).double()
    alpha = torch.rand(10, 10, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    order = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
    both = torch.cat([order, 5 + order])
    expected = supremix_loss(views, labels, alpha)
    torch.testing.assert_close(supremix_loss(2 * views[:, order], labels[order], alpha[both][:, both]), expected)


def test_anchors_without_positives_are_left_out() -> None:
    views, labels = random(1, 4, 3), torch.tensor([0.0, 1.0, 2.0, 100.0], dtype=torch.float64)
    terms = supremix_terms(views, labels, torch.full((4, 4), 0.2).double())
    assert terms.positives.tolist() == [0, 1, 0, 0]
    loss = supremix_loss(views, labels, torch.full((4, 4), 0.2).double())
    torch.testing.assert_close(loss, terms.loss[1])
    with pytest.warns(UserWarning, match="no anchor has a positive"):
        assert float(supremix_loss(views[:, :2], labels[:2])) == 0


@pytest.mark.usefixtures("unchecked")
def test_what_mixtures_refuse() -> None:
    views = random(2, 4, 3)
    with pytest.raises(InputError, match="not defined for targets of several dimensions"):
        supremix_loss(views, random(4, 2))
    with pytest.raises(InputError, match="window is 0"):
        supremix_loss(views, random(4), window=0.0)


# SepCLR


@FEW
@given(SEEDS)
def test_a_constant_tells_nothing(seed: int) -> None:
    x = random(6, 3, seed=seed)
    constant = torch.zeros(6, 2, dtype=torch.float64)
    assert float(kernel_mutual_information(x, constant)) == pytest.approx(0, abs=1e-9)
    torch.testing.assert_close(-joint_entropy_loss(x, constant), kernel_entropy(x))
    assert float(kernel_mutual_information(x, x)) >= -1e-9


def test_a_missing_population_leaves_its_terms_out() -> None:
    c1, c2, s1, s2 = (random(4, 3, seed=seed).requires_grad_() for seed in range(4))
    for value in (0, 1):
        found = sepclr_loss(c1, c2, s1, s2, torch.full((4,), value))
        assert all(bool(term.isfinite()) for term in found)
        absent = found.information_less if value else found.salient_alignment
        assert float(absent.detach()) == 0
        gradients = torch.autograd.grad(found.loss, (c1, c2, s1, s2), allow_unused=True)
        assert all(g is None or bool(g.isfinite().all()) for g in gradients)


def test_gradients_of_two_populations_are_finite_differences() -> None:
    leaves = tuple(random(5, 3, seed=seed).requires_grad_() for seed in range(4))
    target = torch.tensor([0, 1, 1, 0, 1])
    for leakage in ("jem", "kernel_mi"):
        assert torch.autograd.gradcheck(
            lambda *x, leakage=leakage: sepclr_loss(*x, target, leakage=leakage).loss, leaves
        )


def test_background_pairs_count_or_not() -> None:
    s, target = random(6, 2), torch.tensor([0, 0, 0, 1, 1, 1])
    options = {"leakage": "none", "background_pairs": False}
    without = sepclr_loss(s, s, s, s, target, **options).salient_uniformity  # type: ignore[arg-type]
    with_them = sepclr_loss(s, s, s, s, target, leakage="none").salient_uniformity
    assert float(with_them) > float(without)
    assert float(uniformity_loss(torch.zeros(3, 2))) == 0
