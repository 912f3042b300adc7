from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dipole.errors import InputError
from dipole.losses import SimCTGLoss, simctg_loss, token_contrastive_loss


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_pairs(sequence: Tensor, margin: float) -> list[Tensor]:
    """The hinge of every ordered pair of different tokens, as it is written."""
    hinges = []
    for i, x in enumerate(sequence):
        for j, y in enumerate(sequence):
            if i != j:
                own, other = torch.cosine_similarity(x, x, dim=0), torch.cosine_similarity(x, y, dim=0)
                hinges.append((margin - own + other).clamp_min(0))
    return hinges


@settings(deadline=None, max_examples=15)
@given(
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=4).filter(lambda lengths: max(lengths) > 1),
    margin=st.floats(0, 2),
    seed=st.integers(0, 99),
)
def test_it_is_the_mean_hinge_over_pairs(lengths: list[int], margin: float, seed: int) -> None:
    hidden = random(len(lengths), max(lengths), 3, seed=seed)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    hinges = [by_pairs(rows[:length], margin) for rows, length in zip(hidden, lengths, strict=True)]
    pooled = torch.stack([hinge for pairs in hinges for hinge in pairs]).mean()
    torch.testing.assert_close(token_contrastive_loss(hidden, mask, margin=margin), pooled, atol=1e-9, rtol=1e-7)
    per_sequence = torch.stack([torch.stack(pairs).mean() for pairs in hinges if pairs]).mean()
    value = token_contrastive_loss(hidden, mask, margin=margin, reduction="sequence_mean")
    torch.testing.assert_close(value, per_sequence, atol=1e-9, rtol=1e-7)


def test_order_scale_and_padding_do_not_matter() -> None:
    hidden, mask = random(3, 5, 4), torch.tensor([[True] * 5, [True] * 3 + [False] * 2, [False] + [True] * 4])
    value = token_contrastive_loss(hidden, mask)
    order = torch.tensor([3, 0, 4, 1, 2])
    torch.testing.assert_close(token_contrastive_loss(hidden[:, order], mask[:, order]), value)
    torch.testing.assert_close(token_contrastive_loss(hidden * random(3, 5, 1, seed=1).exp(), mask), value)
    changed = torch.where(mask[..., None], hidden, torch.nan)
    torch.testing.assert_close(token_contrastive_loss(changed, mask), value)
    unit = torch.nn.functional.normalize(hidden, dim=-1)
    torch.testing.assert_close(token_contrastive_loss(unit, mask, normalize=False), value)


def test_its_gradient_is_that_of_finite_differences() -> None:
    mask = torch.tensor([[True] * 4, [True] * 3 + [False]])
    hidden = random(2, 4, 3, seed=3).requires_grad_()
    assert torch.autograd.gradcheck(lambda h: token_contrastive_loss(h, mask, margin=1.5), (hidden,))


def test_a_margin_of_zero_leaves_the_cross_entropy() -> None:
    hidden, logits = random(2, 5, 4).requires_grad_(), random(2, 5, 7, seed=1)
    labels = torch.tensor([[1, 2, 3, -100, -100], [4, 5, 6, 0, 1]])
    loss = simctg_loss(hidden, logits, labels, margin=0.0)
    kept = labels != -100
    expected = torch.nn.functional.cross_entropy(logits[kept], labels[kept])
    torch.testing.assert_close(loss, expected)
    (gradient,) = torch.autograd.grad(loss, hidden)
    assert float(gradient.abs().max()) == 0


def test_it_spreads_the_tokens() -> None:
    hidden = (random(1, 4, 6) + 3).requires_grad_()
    before = token_contrastive_loss(hidden)
    optimizer = torch.optim.SGD([hidden], lr=5.0)
    for _ in range(50):
        optimizer.zero_grad()
        token_contrastive_loss(hidden).backward()
        optimizer.step()
    assert float(token_contrastive_loss(hidden.detach())) < 0.1 * float(before.detach())


def test_half_precision_is_computed_in_float32() -> None:
    hidden, logits, labels = (
        random(1, 4, 3).bfloat16(),
        random(1, 4, 5, seed=2).bfloat16(),
        torch.tensor([[1, 2, 3, 4]]),
    )
    value = simctg_loss(hidden, logits, labels)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, simctg_loss(hidden.float(), logits.float(), labels))


def test_the_module_is_the_function() -> None:
    tensors = random(1, 4, 3), random(1, 4, 5, seed=2), torch.tensor([[1, 2, 3, 4]])
    assert torch.equal(SimCTGLoss(margin=0.9)(*tensors), simctg_loss(*tensors, margin=0.9))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"margin": -1.0}, "margin is -1.0"),
        ({"mask": torch.ones(1, 3, dtype=torch.bool)}, "mask has shape"),
        ({"mask": torch.tensor([[True, False, False, False]])}, "no sequence has two tokens"),
        ({"reduction": "sum"}, "reduction is 'sum'"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_wrong_input(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        token_contrastive_loss(random(1, 4, 3), **options)


def test_values_that_are_not_finite_and_labels_that_are_missing() -> None:
    with pytest.raises(InputError, match="NaN"):
        token_contrastive_loss(torch.full((1, 3, 2), torch.nan))
    with pytest.raises(InputError, match="all labels are -100"):
        simctg_loss(random(1, 3, 2), random(1, 3, 5), torch.full((1, 3), -100))
