import math
from itertools import product

import pytest
import torch

from dipole.data import combine_xor, draw_xor, xor_information
from dipole.errors import InputError


def entropy(counts: dict[tuple[int, ...], float]) -> float:
    return -sum(p * math.log(p) for p in counts.values() if p > 0)


def by_enumeration(bits: int, probability: float) -> list[float]:
    """The information terms from the whole joint distribution."""
    joint: dict[tuple[int, int, int], float] = {}
    for a, b in product(range(2**bits), repeat=2):
        for c, share in ((a ^ b, probability), (a, 1 - probability)):
            joint[a, b, c] = joint.get((a, b, c), 0.0) + share / 4**bits

    def h(*axes: int) -> float:
        marginal: dict[tuple[int, ...], float] = {}
        for outcome, p in joint.items():
            key = tuple(outcome[axis] for axis in axes)
            marginal[key] = marginal.get(key, 0.0) + p
        return entropy(marginal)

    a, b, c = 0, 1, 2
    return [
        h(a) + h(c) - h(a, c),
        h(b) + h(c) - h(b, c),
        h(a, c) + h(b, c) - h(a, b, c) - h(c),
        h(c, a) + h(b, a) - h(a, b, c) - h(a),
        h(a) + h(b) + h(c) - h(a, b, c),
    ]


@pytest.mark.parametrize("bits", [1, 2, 3])
@pytest.mark.parametrize("probability", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_information_by_enumeration(bits: int, probability: float) -> None:
    assert xor_information(bits, probability) == pytest.approx(by_enumeration(bits, probability), abs=1e-12)


def test_a_sample_is_mixed_as_a_whole() -> None:
    a, b, c = draw_xor(400, 6, 0.5, torch.Generator().manual_seed(0))
    mixed, copied = (c == a ^ b).all(dim=1), (c == a).all(dim=1)
    assert (mixed | copied).all()
    assert 140 < int(mixed.sum()) < 260
    assert set(torch.cat([a, b, c]).unique().tolist()) == {0, 1}


@pytest.mark.parametrize("probability", [0.0, 1.0])
def test_the_ends(probability: float) -> None:
    a, b, c = draw_xor(50, 3, probability, torch.Generator().manual_seed(0))
    assert torch.equal(c, a ^ b if probability else a)


def test_a_seed_repeats() -> None:
    first, second = (draw_xor(20, 3, 0.5, torch.Generator().manual_seed(3)) for _ in range(2))
    assert all(torch.equal(x, y) for x, y in zip(first, second, strict=True))


def test_combination_by_hand() -> None:
    a, b = torch.tensor([[0, 0, 1, 1]] * 2), torch.tensor([[0, 1, 0, 1]] * 2)
    assert combine_xor(a, b, torch.tensor([1, 0])).tolist() == [[0, 1, 1, 0], [0, 0, 1, 1]]


def test_numbers_that_are_refused() -> None:
    for call in (
        lambda: draw_xor(0, 1, 0.5),
        lambda: draw_xor(1, 0, 0.5),
        lambda: draw_xor(1, 1, 1.5),
        lambda: xor_information(1, -0.1),
        lambda: xor_information(0, 0.5),
    ):
        with pytest.raises(InputError, match=r"expected (1 or more|a number from 0 to 1)"):
            call()
