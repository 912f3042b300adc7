"""The loss of arbitrary pairs beside its loop, its limits, and how partners are drawn."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dipole.errors import InputError
from dipole.losses import (
    arbitrary_pair_loss,
    arbitrary_pairs,
    gated_similarity,
    hydra_moco_loss,
    info_nce_loss,
    pair_masks,
    pair_probabilities,
    sample_partner_labels,
)
from losses.table import DIM, assert_same, random

T = 0.3
Y1, Y2 = torch.tensor([0, 0, 1, 2, 1, 3]), torch.tensor([1, 0, 4, 0, 2, 1])  # class 4 has no key
KEY_LABELS = torch.tensor([0, 1, 1, 2, 3, 0, 2])


@pytest.fixture
def parts() -> tuple[Tensor, Tensor, Tensor]:
    z, gate = random(2, len(Y1), DIM, seed=5)
    return z.requires_grad_(), random(len(KEY_LABELS), DIM, seed=6).requires_grad_(), gate.sigmoid().requires_grad_()


def by_loops(z: Tensor, keys: Tensor, gate: Tensor, similarity: str) -> list[list[Tensor]]:
    """The losses of every anchor's positive pairs."""
    losses = []
    for i in range(len(z)):
        if similarity == "masked_cosine":
            s = F.normalize(gate[i] * z[i], dim=0) @ F.normalize(gate[i] * keys, dim=1).T / T
        else:
            s = (gate[i] * F.normalize(z[i], dim=0)) @ (gate[i] * F.normalize(keys, dim=1)).T / T
        negatives = [s[m] for m in range(len(keys)) if KEY_LABELS[m] not in (Y1[i], Y2[i])]
        positives = [s[p] for p in range(len(keys)) if KEY_LABELS[p] == Y2[i]]
        losses.append([torch.stack([p, *negatives]).logsumexp(0) - p for p in positives])
    return losses


@pytest.mark.parametrize("similarity", ["masked_cosine", "prenormalised"])
@pytest.mark.parametrize("rows", [1, 4, 100])
def test_the_loss_is_its_loop(parts: Any, similarity: Any, rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    # However few rows are computed at a time.
    monkeypatch.setattr(arbitrary_pairs, "TILE_ENTRIES", rows * len(KEY_LABELS))
    losses = by_loops(*parts, similarity)
    assert [len(entry) for entry in losses] == [2, 2, 0, 2, 2, 2]
    sums = torch.stack([sum(entry, torch.zeros((), dtype=torch.float64)) for entry in losses])
    counts = torch.tensor([len(entry) for entry in losses], dtype=torch.float64)
    means = sums / counts.clamp_min(1)
    expected = {
        "none": means,
        "micro": sums.sum() / counts.sum(),
        "macro": (sums / (counts + 1e-6)).mean(),
        "macro_valid": means[counts > 0].mean(),
    }
    for reduction, value in expected.items():
        options: dict[str, Any] = {"temperature": T, "similarity": similarity, "reduction": reduction}
        assert_same(arbitrary_pair_loss(*parts, Y1, Y2, KEY_LABELS, **options), value, parts)


@pytest.mark.parametrize("similarity", ["masked_cosine", "prenormalised"])
def test_gradients_are_finite_differences(parts: Any, similarity: Any) -> None:
    temperature = torch.tensor(T, dtype=torch.float64, requires_grad=True)

    def loss(z: Tensor, keys: Tensor, gate: Tensor, t: Tensor) -> Tensor:
        return arbitrary_pair_loss(z, keys, gate, Y1, Y2, KEY_LABELS, temperature=t, similarity=similarity)

    assert torch.autograd.gradcheck(loss, (*parts, temperature))


def test_tiles_give_the_gradient_of_a_learned_temperature(monkeypatch: pytest.MonkeyPatch) -> None:
    z, keys, temperature = random(6, DIM), random(7, DIM, seed=1), torch.tensor(T, requires_grad=True)
    found = []
    for entries in (1, 1 << 21):
        monkeypatch.setattr(arbitrary_pairs, "TILE_ENTRIES", entries)
        loss = arbitrary_pair_loss(z, keys, None, Y1, Y2, KEY_LABELS, temperature=temperature)
        found.append(torch.autograd.grad(loss, temperature)[0])
    torch.testing.assert_close(*found)


def test_keys_of_the_anchors_own_class_neither_attract_nor_repel(parts: Any) -> None:
    z, keys, gate = parts
    y1, y2 = torch.zeros_like(Y1), torch.ones_like(Y1)
    loss = arbitrary_pair_loss(z, keys, gate, y1, y2, KEY_LABELS)
    gradient = torch.autograd.grad(loss, keys)[0]
    own = KEY_LABELS == 0
    assert not gradient[own].any()
    assert gradient[~own].any(dim=1).all()
    torch.testing.assert_close(loss, arbitrary_pair_loss(z, keys[~own], gate, y1, y2, KEY_LABELS[~own]))


def test_a_pair_may_not_be_told_from_its_reverse_by_the_masks() -> None:
    forwards, backwards = pair_masks(Y1, Y2, KEY_LABELS), pair_masks(Y2, Y1, KEY_LABELS)
    assert torch.equal(forwards.negative, backwards.negative)
    same = pair_masks(Y1, Y1, KEY_LABELS)
    assert torch.equal(same.positive, ~same.negative)


def test_an_open_gate_is_no_gate_and_a_selection_is_a_smaller_embedding(parts: Any) -> None:
    z, keys, gate = parts
    for similarity in ("masked_cosine", "prenormalised"):
        open_gate = gated_similarity(z, keys, torch.ones_like(gate), similarity=similarity)
        torch.testing.assert_close(open_gate, gated_similarity(z, keys, None, similarity=similarity))
    selection = torch.zeros_like(gate)
    selection[:, :2] = 1
    torch.testing.assert_close(
        gated_similarity(z, keys, selection), F.normalize(z[:, :2], dim=1) @ F.normalize(keys[:, :2], dim=1).T
    )


def test_only_the_prenormalised_similarity_feels_how_far_a_gate_is_open(parts: Any) -> None:
    z, keys, gate = parts
    torch.testing.assert_close(gated_similarity(z, keys, 0.3 * gate), gated_similarity(z, keys, gate))
    whole, half = (gated_similarity(z, keys, g, similarity="prenormalised") for g in (gate, 0.5 * gate))
    torch.testing.assert_close(half, 0.25 * whole)


def test_with_one_class_each_it_is_info_nce() -> None:
    z, keys = random(2, 6, DIM)
    labels = torch.arange(6)
    expected = info_nce_loss(z, keys, temperature=T)
    for reduction in ("micro", "macro_valid"):
        loss = arbitrary_pair_loss(z, keys, None, labels, labels, temperature=T, reduction=reduction)  # type: ignore[arg-type]
        torch.testing.assert_close(loss, expected)


@pytest.mark.parametrize("reduction", ["micro", "macro", "macro_valid"])
@pytest.mark.parametrize(
    ("y1", "y2", "key_labels"),
    [([0, 1, 0], [7, 8, 9], [0, 1, 2]), ([0, 1, 0], [1, 0, 1], [0, 1, 0])],
    ids=["no positives", "no negatives"],
)
def test_nothing_to_contrast_is_zero_and_has_a_gradient(reduction: Any, y1: Any, y2: Any, key_labels: Any) -> None:
    leaves = [random(3, DIM, seed=seed).requires_grad_() for seed in range(2)]
    gate = random(3, DIM, seed=2).sigmoid().requires_grad_()
    labels = [torch.tensor(values) for values in (y1, y2, key_labels)]
    loss = arbitrary_pair_loss(*leaves, gate, *labels, reduction=reduction)
    assert loss == 0
    for gradient in torch.autograd.grad(loss, [*leaves, gate]):
        assert not gradient.any()


@pytest.mark.parametrize("similarity", ["masked_cosine", "prenormalised"])
@pytest.mark.parametrize("value", [0.0, 1e-30, 1e-15, 1.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_closed_gates_and_low_temperatures_stay_finite(parts: Any, similarity: Any, value: float, dtype: Any) -> None:
    z, keys, gate = (part.detach().to(dtype) for part in parts)
    gate = (value * torch.ones_like(gate)).requires_grad_()
    z.requires_grad_()
    loss = arbitrary_pair_loss(z, keys, gate, Y1, Y2, KEY_LABELS, temperature=1e-3, similarity=similarity)
    assert loss.isfinite()
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(loss, (z, gate)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_a_gate_may_be_of_another_precision(parts: Any, dtype: torch.dtype) -> None:
    z, keys, gate = (part.detach().float() for part in parts)
    gate = gate.half().float()
    for similarity in ("masked_cosine", "prenormalised"):
        found = gated_similarity(z, keys, gate.to(dtype), similarity=similarity)
        assert torch.equal(found, gated_similarity(z, keys, gate, similarity=similarity))


def test_one_view_is_no_positive_of_itself() -> None:
    z = random(4, DIM)
    labels = torch.tensor([0, 0, 1, 2])
    values = arbitrary_pair_loss(z, z, None, labels, labels, temperature=T, exclude_self=True, reduction="none")
    assert (values[2:] == 0).all()
    s = F.normalize(z, dim=1) @ F.normalize(z, dim=1).T / T
    torch.testing.assert_close(values[0], s[0, 1:].logsumexp(0) - s[0, 1])
    with pytest.raises(InputError, match="4 anchors and 3 keys"):
        arbitrary_pair_loss(z, z[:3], None, labels, labels, labels[:3], exclude_self=True)


def test_hydra_moco_is_the_weighted_mean_of_its_terms() -> None:
    queries, keys = random(2, 2, 6, DIM)
    gates = random(2, 6, DIM, seed=3).sigmoid()
    y1, y2 = Y1, Y1.flip(0)

    def both(loss: Any) -> Tensor:
        return (loss(queries[0], keys[1]) + loss(queries[1], keys[0])) / 2

    terms = [
        both(lambda q, k: info_nce_loss(q, k, temperature=0.2)),
        both(lambda q, k: arbitrary_pair_loss(q, k, gates[0], y1, y2, temperature=0.05)),
        both(lambda q, k: arbitrary_pair_loss(q, k, gates[1], y1, y1, temperature=0.05)),
    ]
    for alpha, beta in ((0.0, 0.0), (0.5, 1.0), (0.0, 2.0)):
        loss = hydra_moco_loss(queries, keys, *gates, y1, y2, pair_temperature=0.05, alpha=alpha, beta=beta)
        torch.testing.assert_close(loss, (terms[0] + beta * terms[1] + alpha * terms[2]) / (1 + alpha + beta))
    keys.requires_grad_()
    assert not hydra_moco_loss(queries, keys, *gates, y1, y2).requires_grad


def test_partners_are_drawn_as_asked() -> None:
    labels = torch.arange(5).repeat(40)
    generator = torch.Generator().manual_seed(0)
    arbitrary = sample_partner_labels(labels, generator=generator)
    assert torch.equal(arbitrary.sort().values, labels.sort().values)
    assert 0 < (arbitrary == labels).sum() < 100
    assert torch.equal(sample_partner_labels(labels, "identical"), labels)
    distinct = sample_partner_labels(labels, "distinct", num_classes=5, generator=generator)
    steps = (distinct - labels) % 5
    assert (torch.bincount(steps, minlength=5)[1:] > 25).all()
    assert (steps > 0).all()
    again = torch.Generator().manual_seed(0)
    assert torch.equal(sample_partner_labels(labels, generator=again), arbitrary)


def test_far_classes_are_rarely_pairs() -> None:
    distances = torch.tensor([[0.0, 1.0, 3.0, 20.0], [4.0, 4.0, 4.0, 4.0]], dtype=torch.float64)
    uniform = pair_probabilities(distances, max_level=11)
    torch.testing.assert_close(uniform[0], torch.tensor([1.0, 1.0, 1.0, 0.0], dtype=torch.float64) / 3)
    near = pair_probabilities(distances, alpha=50.0)
    torch.testing.assert_close(near[0], torch.tensor([1.0, 0, 0, 0], dtype=torch.float64))
    torch.testing.assert_close(near[1], torch.full((4,), 0.25, dtype=torch.float64))
    half = pair_probabilities(distances[0], alpha=1.0, max_level=2)
    torch.testing.assert_close(half[0] / half[1], torch.tensor(2.0, dtype=torch.float64))


Z, LABELS = random(6, DIM), torch.arange(6) % 3
WRONG: list[tuple[Any, str]] = [
    (lambda: arbitrary_pair_loss(Z, Z[:, :3], None, LABELS, LABELS), "keys has width 3"),
    (
        lambda: arbitrary_pair_loss(Z, Z, Z[:4], LABELS, LABELS),
        r"gate has shape \(4, 4\): expected one gate for each anchor",
    ),
    (lambda: arbitrary_pair_loss(Z, Z, math.nan * Z, LABELS, LABELS), "gate contains NaN"),
    (
        lambda: arbitrary_pair_loss(Z, Z, None, LABELS[:4], LABELS),
        r"labels has shape \(4,\): expected one class for each",
    ),
    (lambda: arbitrary_pair_loss(Z, Z, None, LABELS, LABELS[:4]), r"partner_labels has shape \(4,\)"),
    (lambda: arbitrary_pair_loss(Z, Z[:4], None, LABELS, LABELS), r"key_labels has shape \(6,\): .* each of 4 rows"),
    (lambda: arbitrary_pair_loss(Z, Z, None, LABELS.float(), LABELS), "labels has type torch.float32: expected class"),
    (lambda: arbitrary_pair_loss(Z, Z, None, LABELS, LABELS, similarity="cosine"), "similarity is 'cosine'"),  # type: ignore[arg-type]
    (lambda: arbitrary_pair_loss(Z, Z, None, LABELS, LABELS, reduction="mean"), "reduction is 'mean'"),  # type: ignore[arg-type]
    (lambda: hydra_moco_loss(Z[None], Z[None], None, None, LABELS, LABELS), r"expected \(2, N, D\) of both"),
    (
        lambda: hydra_moco_loss(Z.expand(2, 6, 4), Z.expand(2, 6, 4), None, None, LABELS, LABELS, beta=-1.0),
        "beta is -1",
    ),
    (lambda: sample_partner_labels(LABELS, "any"), "pairs is 'any': expected one of 'arbitrary'"),  # type: ignore[arg-type]
    (lambda: sample_partner_labels(LABELS, "distinct"), "came with num_classes=None"),
    (lambda: sample_partner_labels(LABELS, "distinct", num_classes=1), "came with num_classes=1"),
    (lambda: pair_probabilities(-Z.abs()), "distances holds a value that is negative or not finite"),
    (lambda: pair_probabilities(Z.abs(), alpha=-1.0), "alpha is -1"),
    (lambda: pair_probabilities(Z.abs() + 1, max_level=1), "max_level is 1: no pair is nearer"),
]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(("call", "message"), WRONG)
def test_input_that_is_refused(call: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()
