"""MLCD and the classifier with sampled classes: what holds for any input."""

import math
from typing import Any

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.losses import margin_logits, margin_softmax_loss, multilabel_cluster_loss
from dipole.losses.mlcd import own_classes, sample_classes
from dipole.nn import PartialClassifier

PLAIN: dict[str, Any] = {"scale": 1.0, "margin": 0.0}


def drawn(n: int = 4, k: int = 6, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    z = torch.randn(n, 5, generator=generator, dtype=torch.float64)
    w = torch.randn(k, 5, generator=generator, dtype=torch.float64)
    return z, w, torch.rand(n, k, generator=generator) < 0.4


@given(st.integers(1, 5), st.integers(1, 6), st.floats(0.5, 30.0), st.floats(0.0, 0.5), st.integers(0, 20))
def test_the_two_forms_are_what_the_paper_prints(n: int, k: int, scale: float, margin: float, seed: int) -> None:
    z, w, own = drawn(n, k, seed)
    cosine = nn.functional.normalize(z, dim=1) @ nn.functional.normalize(w, dim=1).T
    a = ((-scale * (cosine - margin)).exp() * own).sum(dim=1)
    b = ((scale * cosine).exp() * ~own).sum(dim=1)
    options: dict[str, Any] = {"scale": scale, "margin": margin, "reduction": "none"}
    torch.testing.assert_close(multilabel_cluster_loss(z, w, own, **options), (1 + a * b + a + b).log())
    torch.testing.assert_close(multilabel_cluster_loss(z, w, own, **options, mode="mlc"), (1 + a * b).log())


def test_samples_without_own_classes_or_without_others_are_no_trouble() -> None:
    z, w, own = drawn(3, 4)
    z.requires_grad_()
    own[0], own[1] = False, True
    for mode in ("mlcd", "mlc"):
        loss = multilabel_cluster_loss(z, w, own, mode=mode, reduction="none")  # type: ignore[arg-type]
        (gradient,) = torch.autograd.grad(loss.sum(), z)
        assert loss.isfinite().all()
        assert gradient.isfinite().all()
        if mode == "mlc":
            assert loss[0] == loss[1] == 0


def test_the_raw_formula_has_the_bounds_that_the_paper_leads_to() -> None:
    own = torch.tensor([[True, True, False]])
    z = torch.tensor([[0.0, 0.0, 1.0]])
    expected = math.log(1 + 2) + math.log(1 + 1)
    assert float(multilabel_cluster_loss(z, torch.eye(3)[[0, 1, 0]], own, **PLAIN)) == pytest.approx(expected)
    w = torch.tensor([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0], [0.0, 0.0, -1.0]])
    best = math.log(1 + 2 / math.e) + math.log(1 + 1 / math.e)
    assert float(multilabel_cluster_loss(z, w, own, **PLAIN)) == pytest.approx(best)


@pytest.mark.parametrize("kind", ["cosface", "arcface"])
@pytest.mark.parametrize("mode", ["mlcd", "mlc"])
def test_gradients_are_those_of_finite_differences(kind: Any, mode: Any) -> None:
    z, w, own = drawn()
    assert torch.autograd.gradcheck(
        lambda a, b: multilabel_cluster_loss(a, b, own, scale=4.0, kind=kind, mode=mode),
        (z.requires_grad_(), w.requires_grad_()),
    )


def test_arcface_adds_its_margin_to_the_angle() -> None:
    angle = torch.tensor([[0.3, 1.0]], dtype=torch.float64)
    own = torch.tensor([[True, False]])
    found = margin_logits(angle.cos(), own, scale=2.0, margin=0.4, kind="arcface")
    torch.testing.assert_close(found, 2 * torch.tensor([[math.cos(0.7), math.cos(1.0)]], dtype=torch.float64))


@given(st.integers(2, 30), st.floats(0.05, 1.0), st.lists(st.integers(-1, 29), min_size=2, max_size=8))
def test_sampled_classes_hold_those_of_the_batch(classes: int, ratio: float, labels: list[int]) -> None:
    own = torch.tensor(labels).clamp_max(classes - 1)[:, None]
    kept, places = sample_classes(own, classes, ratio)
    wanted = own[own >= 0].unique()
    assert torch.equal(kept, kept.unique())
    assert len(kept) == max(len(wanted), int(ratio * classes))
    assert torch.equal(kept[places[own >= 0]], own[own >= 0])
    assert bool((places[own < 0] == -1).all())


def test_a_class_twice_is_a_class_once() -> None:
    assert torch.equal(own_classes(torch.tensor([[2, 2]]), 4), own_classes(torch.tensor([[2, -1]]), 4))


def test_a_step_moves_the_sampled_classes_alone_and_as_adamw_would() -> None:
    torch.manual_seed(0)
    classifier = PartialClassifier(5, 12, ratio=0.5, scale=4.0, margin=0.1).double()
    weight = classifier.weight.clone().requires_grad_()
    optimizer = torch.optim.AdamW([weight], lr=0.1, weight_decay=0.3)
    z, labels = torch.randn(3, 5, dtype=torch.float64), torch.tensor([[0, 3], [5, -1], [7, 1]])
    before = classifier.weight.clone()
    classifier(z, labels).backward()
    assert classifier.kept is not None
    assert classifier.rows is not None
    kept = classifier.kept
    weight.grad = torch.zeros_like(weight).index_copy_(0, kept, classifier.rows.grad)  # type: ignore[arg-type]
    classifier.update(0.1, weight_decay=0.3)
    optimizer.step()
    torch.testing.assert_close(classifier.weight[kept], weight.detach()[kept])
    others = torch.ones(12, dtype=torch.bool).index_fill_(0, kept, False)
    assert torch.equal(classifier.weight[others], before[others])


def test_what_is_stored_is_taken_back() -> None:
    first, second = PartialClassifier(3, 7), PartialClassifier(3, 7)
    first(torch.randn(2, 3), torch.tensor([[1], [2]])).backward()
    first.update(0.1)
    second.restore(first.stored())
    for ours, expected in zip(second.buffers(), first.buffers(), strict=True):
        assert torch.equal(ours, expected)


def test_one_label_by_softmax_is_the_margin_softmax() -> None:
    torch.manual_seed(0)
    z, labels = torch.randn(4, 3), torch.tensor([[0, 2], [1, 2], [2, 0], [3, 0]])
    classifier = PartialClassifier(3, 4, ratio=1.0, scale=8.0, margin=0.2, mode="softmax")
    cosine = nn.functional.normalize(z, dim=1) @ nn.functional.normalize(classifier.weight, dim=1).T
    expected = margin_softmax_loss(cosine, labels[:, 0], scale=8.0, margin=0.2)
    torch.testing.assert_close(classifier(z, labels), expected)


@pytest.mark.usefixtures("unchecked")
def test_what_is_refused() -> None:
    z, w, own = drawn()
    for message, call in (
        ("own and as another", lambda: multilabel_cluster_loss(z, w, own | True, own | True)),
        ("expected \\(4, 6\\)", lambda: multilabel_cluster_loss(z, w, own[:, :2])),
        ("from 0 to K", lambda: margin_softmax_loss(z, torch.full((4,), 9))),
        ("above 0, up to 1", lambda: sample_classes(torch.tensor([[1]]), 4, 0.0)),
        ("of 4 classes", lambda: sample_classes(torch.tensor([[9]]), 4, 0.5)),
        ("ratio is 2", lambda: PartialClassifier(3, 4, ratio=2.0)),
        ("kind is", lambda: PartialClassifier(3, 4, kind="other")),  # type: ignore[arg-type]
    ):
        with pytest.raises(InputError, match=message):
            call()
