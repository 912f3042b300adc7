"""Triples of bits that only all three together explain: the synthetic data of Symile.

Saporta, Puli, Goldstein, Ranganath: *Contrasting with Symile* (NeurIPS 2024), sec. 5.1.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Int
from torch import Tensor

from dipole.errors import InputError


class XORTriples(NamedTuple):
    """Three modalities of N samples."""

    a: Int[Tensor, "n d"]
    b: Int[Tensor, "n d"]
    c: Int[Tensor, "n d"]


class XORInformation(NamedTuple):
    """What the three modalities know of each other, in nats."""

    a_c: float  # I(a; c)
    b_c: float  # I(b; c)
    a_b_given_c: float  # I(a; b | c)
    c_b_given_a: float  # I(c; b | a)
    total_correlation: float


def combine_xor(a: Int[Tensor, "n d"], b: Int[Tensor, "n d"], mixed: Int[Tensor, "n"]) -> Int[Tensor, "n d"]:
    """Compute `c = a ⊕ b` for the samples where `mixed` is 1, and `c = a` for the others.

    Example:
        >>> ones = torch.ones(2, 3, dtype=torch.long)
        >>> combine_xor(ones, ones, torch.tensor([1, 0]))
        tensor([[0, 0, 0],
                [1, 1, 1]])
    """
    return torch.where(mixed[:, None] == 1, a ^ b, a)


def draw_xor(count: int, bits: int, probability: float, generator: torch.Generator | None = None) -> XORTriples:
    """Draw triples of bits: a and b are fair, and c is `a ⊕ b` for a share of the samples, `a` for the rest.

    At p̂ = 1 every two of the three are independent, and each is a function of the other two.

    Args:
        count: N.
        bits: d, of each modality.
        probability: p̂ that a sample is mixed.
        generator: source of the draws.

    Raises:
        InputError: a number below 1, or a probability outside [0, 1].

    Example:
        >>> a, b, c = draw_xor(5, 3, 1.0)
        >>> torch.equal(c, a ^ b)
        True
    """
    if count < 1:
        raise InputError(f"count is {count}: expected 1 or more samples.")
    _check(bits, probability)
    a, b = torch.randint(2, (2, count, bits), generator=generator)
    mixed = (torch.rand(count, generator=generator) < probability).long()
    return XORTriples(a, b, combine_xor(a, b, mixed))


def xor_information(bits: int, probability: float) -> XORInformation:
    """Compute what the modalities of `draw_xor` know of each other.

        H(c | a) = −q log q − (2^d − 1) r log r,  q = 1 − p̂ + p̂ / 2^d,  r = p̂ / 2^d
        I(a; c) = d log 2 − H(c | a),  I(b; c) = 0,  I(a; b | c) = I(c; b | a) = H(c | a) − (1 − 2^−d) h(p̂)
        total correlation = d log 2 − (1 − 2^−d) h(p̂),  h the entropy of a coin

    Raises:
        InputError: bits below 1, or a probability outside [0, 1].

    Example:
        >>> information = xor_information(1, 1.0)
        >>> information.a_c, round(information.total_correlation, 4)  # nothing by pairs, one bit by all three
        (0.0, 0.6931)
    """
    _check(bits, probability)
    patterns = 2.0**bits
    # Fair bits c: what a tells of c, and what both tell; a pattern b of zeros leaves c = a in either case.
    given_a = _entropy(1 - probability + probability / patterns) + (patterns - 1) * _entropy(probability / patterns)
    given_both = (1 - 1 / patterns) * (_entropy(probability) + _entropy(1 - probability))
    whole = bits * math.log(2)
    conditional = max(0.0, given_a - given_both)
    return XORInformation(max(0.0, whole - given_a), 0.0, conditional, conditional, whole - given_both)


def _entropy(probability: float) -> float:
    """−p log p."""
    return -probability * math.log(probability) if probability > 0 else 0.0


def _check(bits: int, probability: float) -> None:
    """Require one bit or more and a probability."""
    if bits < 1:
        raise InputError(f"bits is {bits}: expected 1 or more.")
    if not 0 <= probability <= 1:
        raise InputError(f"probability is {probability}: expected a number from 0 to 1.")
