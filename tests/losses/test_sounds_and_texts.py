"""What must hold of the losses between sounds and texts for any input."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from dipole.errors import InputError
from dipole.losses import (
    clip_loss,
    hard_negative_clap_loss,
    modular_clap_loss,
    sup_con_distillation_loss,
    sup_con_loss,
    supervised_multimodal_loss,
    tnce_loss,
)

seeds = st.integers(0, 2**31)


def rows(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@given(seeds)
def test_tnce_of_one_block_is_twice_clip(seed: int) -> None:
    audio, text = rows(3, 4, 5, seed=seed), rows(3, 4, 5, seed=seed + 1)
    plain = 2 * clip_loss(audio[0], text[0])
    torch.testing.assert_close(tnce_loss(audio[:1], text[:1]), plain)
    torch.testing.assert_close(tnce_loss(audio, text, alpha_same=0, alpha_cross=0, beta=0), plain)


@given(seeds)
def test_tnce_of_weights_of_one_is_clip_of_all_rows(seed: int) -> None:
    audio, text = rows(3, 4, 5, seed=seed), rows(3, 4, 5, seed=seed + 1)
    whole = 2 * clip_loss(audio.flatten(0, 1), text.flatten(0, 1))
    torch.testing.assert_close(tnce_loss(audio, text, reduction="weighted_mean"), whole)


@given(seeds)
def test_order_of_pairs_and_lengths_of_rows_do_not_matter(seed: int) -> None:
    audio, text = rows(2, 5, 4, seed=seed), rows(2, 5, 4, seed=seed + 1)
    order = torch.randperm(5, generator=torch.Generator().manual_seed(seed))
    options = {"alpha_same": 0.4, "alpha_cross": 0.2, "beta": 0.7}
    torch.testing.assert_close(
        tnce_loss(audio[:, order], 3 * text[:, order], **options), tnce_loss(audio, text, **options)
    )


@given(seeds)
def test_a_single_pair_is_told_from_its_arrangements(seed: int) -> None:
    assert bool(tnce_loss(rows(2, 1, 4, seed=seed), rows(2, 1, 4, seed=seed + 1)).isfinite())


def test_one_pair_in_one_arrangement_has_no_negatives() -> None:
    with pytest.raises(InputError, match="no negatives"):
        tnce_loss(rows(1, 1, 4), rows(1, 1, 4))


@given(seeds)
def test_modular_loss_without_texts_of_its_own_is_clip(seed: int) -> None:
    audio, text = rows(4, 5, seed=seed), rows(4, 5, seed=seed + 1)
    none = torch.zeros(4, dtype=torch.long)
    torch.testing.assert_close(modular_clap_loss(audio, text, none, none), clip_loss(audio, text))


def test_false_texts_of_others_are_not_seen() -> None:
    audio, texts = rows(3, 4), rows(6, 4, seed=1)
    changed = texts.clone()
    changed[3] = -changed[3]  # the false text of the second sound
    values = [hard_negative_clap_loss(audio, each, 1, direction="audio_to_text") for each in (texts, changed)]
    audio_only = audio.clone().requires_grad_()
    loss = hard_negative_clap_loss(audio_only, texts, 1)
    assert values[0] != values[1]
    leaf = texts.clone().requires_grad_()
    hard_negative_clap_loss(audio[:1], leaf[:2], 1).backward()
    assert leaf.grad is not None
    assert not leaf.grad[2:].any()
    assert bool(loss.isfinite())


def test_texts_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(InputError, match="add up to 4"):
        modular_clap_loss(rows(2, 3), rows(5, 3), torch.tensor([0, 1]), torch.tensor([1, 0]))


def test_gradients_are_finite_differences() -> None:
    audio, texts = rows(3, 4).requires_grad_(), rows(7, 4, seed=1).requires_grad_()
    counts = torch.tensor([1, 0, 0]), torch.tensor([0, 2, 1])
    torch.autograd.gradcheck(lambda a, t: modular_clap_loss(a, t, *counts, temperature=0.5), (audio, texts))
    blocks = rows(2, 3, 4).requires_grad_(), rows(2, 3, 4, seed=1).requires_grad_()
    torch.autograd.gradcheck(lambda a, t: tnce_loss(a, t, temperature=0.5, alpha_same=0.5), blocks)
    labels = torch.tensor([0, 0, 1, 1, 2])
    student, teacher = rows(5, 4).requires_grad_(), rows(5, 4, seed=1)
    for form in ("student", "mixed", "teacher"):
        torch.autograd.gradcheck(
            lambda s, form=form: sup_con_distillation_loss(s, teacher, labels, temperature=0.5, denominator=form),
            student,
        )


@given(seeds)
def test_student_positives_are_the_supervised_contrastive_loss(seed: int) -> None:
    z, labels = rows(6, 4, seed=seed), torch.tensor([0, 1, 0, 1, 2, 2])
    found = sup_con_distillation_loss(z, None, labels, positives="student")
    torch.testing.assert_close(found, sup_con_loss(z, labels, temperature=0.1))


def test_without_anchors_the_loss_is_zero_and_has_a_graph() -> None:
    student = rows(4, 3).requires_grad_()
    labels = torch.tensor([0, 1, 2, 3])
    for anchors in (torch.zeros(4, dtype=torch.bool), None):  # none chosen; none with a partner
        for form in ("student", "mixed", "teacher"):
            loss = sup_con_distillation_loss(student, student.detach(), labels, anchors=anchors, denominator=form)
            assert loss == 0
            (gradient,) = torch.autograd.grad(loss, student)
            assert not gradient.any()
    none = supervised_multimodal_loss(student, rows(4, 3), labels, anchors=torch.zeros(4, dtype=torch.bool))
    assert none == 0


def test_the_mixed_form_is_never_negative_and_the_literal_one_can_be() -> None:
    student = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [-1.0, 0.0]], dtype=torch.float64)
    teacher = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], dtype=torch.float64)
    labels, anchors = torch.tensor([0, 0, 1]), torch.tensor([True, False, False])
    given_ = (student, teacher, labels)
    assert sup_con_distillation_loss(*given_, anchors=anchors, denominator="mixed") >= 0
    assert sup_con_distillation_loss(*given_, anchors=anchors, denominator="student") < 0


@given(seeds)
def test_multimodal_loss_of_different_classes_is_twice_clip(seed: int) -> None:
    audio, text = rows(4, 5, seed=seed), rows(4, 5, seed=seed + 1)
    found = supervised_multimodal_loss(audio, text, torch.arange(4), temperature=0.2)
    torch.testing.assert_close(found, 2 * clip_loss(audio, text, temperature=0.2))
