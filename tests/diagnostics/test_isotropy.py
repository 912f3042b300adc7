import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dipole.diagnostics import isotropy
from dipole.errors import InputError


def states(length: int, seed: int) -> torch.Tensor:
    return torch.randn(length, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) + 0.5


def cosines(rows: torch.Tensor) -> list[float]:
    """The cosine of every ordered pair of different tokens."""
    return [
        torch.cosine_similarity(x, y, dim=0).item() for i, x in enumerate(rows) for j, y in enumerate(rows) if i != j
    ]


@settings(deadline=None, max_examples=15)
@given(lengths=st.lists(st.integers(2, 7), min_size=1, max_size=4))
def test_it_is_one_minus_the_mean_cosine(lengths: list[int]) -> None:
    texts = [states(length, seed) for seed, length in enumerate(lengths)]
    pairs = [cosines(text) for text in texts]
    every = [value for values in pairs for value in values]
    assert float(isotropy(texts)) == pytest.approx(1 - sum(every) / len(every))
    means = [1 - sum(values) / len(values) for values in pairs]
    assert float(isotropy(texts, reduction="sequence_mean")) == pytest.approx(sum(means) / len(means))


def test_scale_order_and_texts_of_one_token_do_not_matter() -> None:
    text = states(6, 0)
    value = isotropy([text])
    torch.testing.assert_close(isotropy([3 * text.flip(0), states(1, 4)]), value)


def test_its_limits() -> None:
    assert float(isotropy([torch.eye(5)])) == pytest.approx(1)
    assert float(isotropy([torch.ones(300, 8)])) == pytest.approx(0, abs=1e-12)
    assert float(isotropy([torch.tensor([[1.0], [-1.0]])])) == pytest.approx(2)


def test_wrong_input() -> None:
    with pytest.raises(InputError, match="two tokens or more"):
        isotropy([states(1, 0)])
    with pytest.raises(InputError, match="two tokens or more"):
        isotropy([])
    with pytest.raises(InputError, match="NaN"):
        isotropy([torch.full((3, 2), torch.nan)])
