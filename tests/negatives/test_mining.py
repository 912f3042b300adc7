"""Mining and draws."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from dipole.errors import InputError
from dipole.negatives import gumbel_top_k, mine_positive_aware, positive_limit, propensity_weights

ONE = torch.zeros(1, 1)


@given(seed=st.integers(0, 500), k=st.integers(1, 8), first=st.integers(0, 3))
def test_what_is_mined_is_below_the_limit_and_the_best_below_it(seed: int, k: int, first: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.rand(4, 9, generator=generator) * 2 - 1
    positives = torch.randint(9, (4,), generator=generator)
    exclude = torch.rand(4, 9, generator=generator) > 0.8
    found = mine_positive_aware(scores, positives, k, percentage=0.9, margin=0.1, exclude=exclude, first=first)
    limit = positive_limit(scores.gather(1, positives[:, None])[:, 0], percentage=0.9, margin=0.1)
    for row in range(4):
        fitting = [c for c in range(9) if scores[row, c] < limit[row] and not exclude[row, c] and c != positives[row]]
        best = sorted(fitting, key=lambda c: -float(scores[row, c]))[first : first + k]
        assert found[row].tolist() == best + [-1] * (k - len(best))


def test_a_negative_positive_does_not_raise_the_limit() -> None:
    limit = positive_limit(torch.tensor([-0.5]), percentage=0.5)
    assert limit.item() == -1.0


def test_draws_follow_the_probabilities() -> None:
    shares = torch.tensor([[0.7, 0.2, 0.1, 0.0]]).expand(20000, 4)
    drawn = gumbel_top_k(shares, 1, generator=torch.Generator().manual_seed(0))[:, 0]
    torch.testing.assert_close(drawn.bincount(minlength=4) / 20000, shares[0], rtol=0, atol=0.02)
    pairs = gumbel_top_k(shares, 4, generator=torch.Generator().manual_seed(1))
    assert bool((pairs[:, 3] == -1).all())
    assert bool((pairs[:, :3].sort(dim=1).values == torch.arange(3)).all())


def test_weights_in_their_limits() -> None:
    semantic = torch.tensor([[0.9, 0.9, -0.5, torch.nan], [0.1, 0.1, 0.1, 0.1]])
    surface = torch.tensor([[0.0, 1.0, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5]])
    even = propensity_weights(semantic, surface, role="positive", alpha=0.0, beta=0.0, threshold=0.0)
    torch.testing.assert_close(even[0], torch.tensor([0.5, 0.5, 0.0, 0.0]))
    torch.testing.assert_close(even[1], torch.full((4,), 0.25))
    huge = propensity_weights(semantic, surface, role="positive", alpha=200.0, beta=200.0, threshold=0.5)
    torch.testing.assert_close(huge[0], torch.tensor([1.0, 0.0, 0.0, 0.0]))
    assert not huge[1].any()
    negative = propensity_weights(semantic, surface, role="negative", threshold=0.5)
    assert negative[0].tolist() == [0.0, 0.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: propensity_weights(torch.zeros(1, 2), torch.zeros(2, 1), role="positive"), "expected"),
        (lambda: propensity_weights(torch.zeros(1, 1), -torch.ones(1, 1), role="positive"), "below 0"),
        (
            lambda: propensity_weights(torch.zeros(1, 1), torch.zeros(1, 1), role="positive", surface_epsilon=0.0),
            "above 0",
        ),
        (lambda: gumbel_top_k(-torch.ones(1, 2), 1), "below 0"),
        (lambda: gumbel_top_k(torch.ones(1, 2), 0), "k is 0"),
        (lambda: mine_positive_aware(torch.ones(2, 3), torch.tensor([0, 5]), 1), "columns outside of 0"),
        (lambda: mine_positive_aware(torch.full((1, 2), torch.nan), torch.tensor([0]), 1), "NaN or infinite"),
        (lambda: mine_positive_aware(torch.ones(1, 2), torch.tensor([0]), 1, percentage=0.0), "percentage is 0"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_wrong_input(call: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()  # type: ignore[operator]
