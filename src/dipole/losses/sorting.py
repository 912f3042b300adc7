"""Differentiable sorting networks: where each value ends when comparators swap by degrees.

Petersen, Borgelt, Kuehne, Deussen: *Differentiable Sorting Networks for Scalable Sorting and Ranking Supervision*
(ICML 2021); the relaxations `cauchy`, `reciprocal` and `optimal` are those of *Monotonic Differentiable Sorting
Networks* (ICLR 2022).
"""

import math
from collections.abc import Callable
from functools import cache
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import accumulate
from dipole.ops.checks import check_choice
from dipole.ops.door import looking, public

Network = tuple[tuple[tuple[int, int], ...], ...]
NetworkName = Literal["odd_even", "bitonic"]
Distribution = Literal["cauchy", "logistic", "logistic_phi", "reciprocal", "gaussian", "optimal"]

LARGEST = 1e30


class SoftlySorted(NamedTuple):
    """Values in soft ascending order and how they came there."""

    values: Float[Tensor, "... n"]
    permutation: Float[Tensor, "... n n"]  # [i, p]: probability that input i ends at position p


@public
@cache
def sorting_network(n: int, kind: NetworkName = "odd_even") -> Network:
    """Return the layers of a sorting network, each a tuple of comparators `(lower, upper)`.

    A comparator leaves the smaller of its two values on the wire `lower`. `"odd_even"` compares neighbours in n layers.
    `"bitonic"` has ⌈log₂ n⌉ (⌈log₂ n⌉ + 1) / 2 layers; it is the network on the next power of two without its first
    wires and without the comparators that touch them, as in the authors' code.

    Args:
        n: number of wires, 1 or more.
        kind: of the network.

    Raises:
        InputError: n is below 1 or the kind unknown.

    Example:
        >>> sorting_network(3)
        (((0, 1),), ((1, 2),), ((0, 1),))
    """
    check_choice(kind, ("odd_even", "bitonic"), "network")
    if n < 1:
        raise InputError(f"a sorting network of {n} wires: expected 1 or more.")
    if kind == "odd_even":
        return tuple(tuple((i, i + 1) for i in range(layer % 2, n - 1, 2)) for layer in range(n))
    blocks = (n - 1).bit_length()
    missing = 2**blocks - n
    layers = []
    for block in range(blocks):
        for gap in (2**step for step in range(block, -1, -1)):
            layer = []
            for a in range(missing, 2**blocks - gap):
                if not a & gap:
                    falling = a >> (block + 1) & 1
                    pair = (a - missing, a + gap - missing)
                    layer.append(pair[::-1] if falling else pair)
            layers.append(tuple(layer))
    return tuple(layers)


@public
def differentiable_sort(
    x: Float[Tensor, "*rows n"],
    *,
    network: NetworkName = "odd_even",
    steepness: float = 1.0,
    distribution: Distribution = "cauchy",
    art_lambda: float = 0.25,
) -> SoftlySorted:
    """Sort the last axis ascending by a network whose comparators swap by degrees.

    A comparator with a on its lower and b on its upper wire computes, with α = F(β (b − a)),

        lower = α a + (1 − α) b,   upper = (1 − α) a + α b

    and the next layer compares what came out. The same mixtures, applied to the identity, give the permutation:
    `values = x @ permutation`; its rows and columns sum to 1. With β → ∞ it is the ordinary sort.

    Args:
        x: (…, n) values to sort.
        network: see `sorting_network`.
        steepness: β > 0.
        distribution: F: `"cauchy"` arctan(x) / π + ½; `"logistic"` σ(x); `"logistic_phi"` σ(x / |b − a|^λ);
            `"reciprocal"` ½ (1 + x / (2 + |x|)); `"gaussian"` Φ(x); `"optimal"` ½ + x up to |x| = ¼, beyond it
            1 − 1 / (16 x) and its mirror image.
        art_lambda: λ of `"logistic_phi"`.

    Returns:
        Values (…, n) and permutation (…, n, n), of which [i, p] is the probability that input i ends at position p.

    Raises:
        InputError: a value is not finite, there is none, or an argument is out of range.

    Example:
        >>> found = differentiable_sort(torch.tensor([3.0, 1.0]))
        >>> found.values  # α = arctan(−2) / π + ½ = 0.1476
        tensor([1.2952, 2.7048])
    """
    _check_values(x)
    check_sorting(network, distribution, steepness, art_lambda)
    relaxation = _relaxation(distribution, steepness, art_lambda)
    partners, signs = _wiring(sorting_network(x.shape[-1], network), x)
    values, kept = _sort(accumulate(x), partners, signs, relaxation)
    permutation = torch.eye(x.shape[-1], dtype=values.dtype, device=x.device).expand(*x.shape, x.shape[-1])
    for stay, partner in zip(kept, partners, strict=True):
        stay = stay[..., None, :]
        permutation = stay * permutation + (1 - stay) * permutation[..., partner]
    return SoftlySorted(values, permutation)


@public
def rank_group_probability(
    x: Float[Tensor, "*rows n"],
    top: int,
    *,
    network: NetworkName = "odd_even",
    steepness: float = 1.0,
    distribution: Distribution = "cauchy",
) -> Float[Tensor, "*rows n 2"]:
    """Compute the probabilities that each value ends among the lower ranks and among the `top` highest ones.

    These are sums over columns of the permutation of `differentiable_sort`. Here the two sums go through the network
    backwards, so that no n × n permutation is formed for each row: time and memory grow with the comparators.

    Args:
        x: (…, n).
        top: size of the upper group of ranks, from 1 to n − 1.
        network: see `sorting_network`.
        steepness: β > 0.
        distribution: see `differentiable_sort`.

    Returns:
        (…, n, 2) probabilities of the lower and of the upper group; they sum to 1.

    Raises:
        InputError: a value is not finite, or an argument is out of range.

    Example:
        >>> rank_group_probability(torch.tensor([3.0, 1.0]), top=1)
        tensor([[0.1476, 0.8524],
                [0.8524, 0.1476]])
    """
    _check_values(x)
    n = x.shape[-1]
    if not 1 <= top < n:
        raise InputError(f"top is {top} of {n} ranks: expected 1 to {n - 1}, so that both groups have a rank.")
    check_sorting(network, distribution, steepness)
    relaxation = _relaxation(distribution, steepness)
    partners, signs = _wiring(sorting_network(n, network), x)
    values, kept = _sort(accumulate(x), partners, signs, relaxation)
    upper = (torch.arange(n, device=x.device) >= n - top).to(values.dtype)
    groups = torch.stack([1 - upper, upper], dim=-1)
    for stay, partner in zip(reversed(kept), partners.flip(0), strict=True):
        stay = stay[..., None]
        groups = stay * groups + (1 - stay) * groups[..., partner, :]
    return groups


def _sort(
    x: Tensor, partners: Tensor, signs: Tensor, relaxation: Callable[[Tensor], Tensor]
) -> tuple[Tensor, list[Tensor]]:
    """Run the network; return the values at its end and, for each layer, the probability that a value stays."""
    kept = []
    for partner, sign in zip(partners, signs, strict=True):
        other = x[..., partner]
        stay = relaxation(sign * (other - x))
        x = stay * x + (1 - stay) * other
        kept.append(stay)
    return x, kept


def _wiring(network: Network, like: Tensor) -> tuple[Tensor, Tensor]:
    """The wire that each wire is compared with (layers, n), itself if with none; 1 on lower wires, −1 on upper ones."""
    n = like.shape[-1]
    partners, signs = [list(range(n)) for _ in network], [[0] * n for _ in network]
    for partner, sign, layer in zip(partners, signs, network, strict=True):
        for lower, upper in layer:
            partner[lower], partner[upper] = upper, lower
            sign[lower], sign[upper] = 1, -1
    both = torch.tensor([partners, signs], dtype=torch.long).view(2, len(network), n)
    partner, sign = both.to(like.device, non_blocking=True)
    return partner, sign


def check_sorting(network: NetworkName, distribution: Distribution, steepness: float, art_lambda: float = 0.25) -> None:
    """Require names and numbers with which a network can sort.

    Raises:
        InputError: an unknown name, or a number out of range.
    """
    check_choice(network, ("odd_even", "bitonic"), "network")
    check_choice(distribution, ("logistic_phi", *_CUMULATIVE), "distribution")
    for name, value, usual in (("steepness", steepness, "1"), ("art_lambda", art_lambda, "0.25")):
        # Above the limit a product with it overflows in single precision.
        if not 0 < value <= LARGEST:
            raise InputError(f"{name} is {value}: expected a number above 0, at most {LARGEST:g}; {usual} is usual.")


def _relaxation(distribution: Distribution, steepness: float, art_lambda: float = 0.25) -> Callable[[Tensor], Tensor]:
    """The probability F(β d) that values stay where they are, of the difference d = upper − lower."""
    if distribution == "logistic_phi":
        return lambda d: torch.sigmoid(steepness * d / (d.abs() + 1e-10) ** art_lambda)
    cumulative = _CUMULATIVE[distribution]
    return lambda d: cumulative(steepness * d)


def _optimal(x: Tensor) -> Tensor:
    """The relaxation with the smallest error of the sorted values among the monotonic ones."""
    size = x.abs().clamp_min(0.25)
    return torch.where(x.abs() <= 0.25, x + 0.5, torch.where(x > 0, 1 - 1 / (16 * size), 1 / (16 * size)))


_CUMULATIVE: dict[str, Callable[[Tensor], Tensor]] = {
    "cauchy": lambda x: torch.arctan(x) / math.pi + 0.5,
    "logistic": torch.sigmoid,
    "reciprocal": lambda x: 0.5 * (x / (2 + x.abs()) + 1),
    "gaussian": torch.special.ndtr,
    "optimal": _optimal,
}


def _check_values(x: Tensor) -> None:
    """Require one or more finite values to sort in every row."""
    if x.ndim < 1 or x.shape[-1] < 1 or not x.is_floating_point():
        raise InputError(
            f"x is {x.dtype} of shape {tuple(x.shape)}: expected floating point (…, n), n values in a row."
        )
    if looking() and not bool(x.detach().isfinite().all()):
        raise InputError("x contains NaN or infinite values, which have no place in an order.")
