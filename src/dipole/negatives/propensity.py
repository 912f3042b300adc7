"""Pairs drawn by inverse propensity, as DebCSE imitates the pairs of supervised data."""

import math
from typing import Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.checks import check_at_least, check_choice
from dipole.ops.door import public


@public
def propensity_weights(
    semantic: Float[Tensor, "n c"],
    surface: Float[Tensor, "n c"],
    *,
    role: Literal["positive", "negative"],
    alpha: float = 1.0,
    beta: float = 1.0,
    surface_epsilon: float = 0.05,
    semantic_floor: float = 1e-3,
    threshold: float | None = None,
) -> Float[Tensor, "n c"]:
    """Compute the probabilities of candidates of each anchor, by inverse propensity.

    A simple rule takes a candidate the more readily, the more alike the texts look. Dividing by that propensity leaves
    positives that mean the same in other words, and negatives that mean something else in the same words. With
    s = max(semantic, floor):

        positive:  w = s^α / (surface + ε)^β    where semantic ≥ threshold, else 0
        negative:  w = (surface + ε)^β / s^α    where semantic ≤ threshold, else 0
        p = w / Σ_c w

    A row without an admissible candidate is 0 throughout. Computed in logarithms, so that large exponents do no harm.

    Miao, Du, Zhang: *DebCSE* (CIKM 2023). The formula is a **reconstruction** from its abstract.

    Args:
        semantic: (N, C) cosines by a frozen encoder; NaN is inadmissible, as is padding that is marked so.
        surface: (N, C) similarity of the wording, from 0 to 1.
        role: of the candidates.
        alpha: α, weight of the meaning; 0 leaves it out.
        beta: β, weight of the wording; 0 leaves it out.
        surface_epsilon: ε above 0: a candidate that shares no word has a finite weight.
        semantic_floor: least s, above 0.
        threshold: of admissible cosines; all are if None.

    Returns:
        (N, C), rows that add up to 1 or are 0.

    Raises:
        InputError: shapes differ, an argument is out of range, or a surface similarity is below 0 or not finite.

    Example:
        >>> semantic, surface = torch.tensor([[0.8, 0.8, 0.1]]), torch.tensor([[0.15, 0.95, 0.5]])
        >>> propensity_weights(semantic, surface, role="positive", threshold=0.5)
        tensor([[0.8333, 0.1667, 0.0000]])
    """
    if semantic.shape != surface.shape or semantic.ndim != 2:
        raise InputError(
            f"semantic is {tuple(semantic.shape)}, surface {tuple(surface.shape)}: expected (N, C) of both."
        )
    check_choice(role, ("positive", "negative"), "role")
    check_at_least(alpha, 0, "alpha")
    check_at_least(beta, 0, "beta")
    for name, value in (("surface_epsilon", surface_epsilon), ("semantic_floor", semantic_floor)):
        if not 0 < value < math.inf:
            raise InputError(f"{name} is {value}: expected a number above 0.")
    known = ~semantic.isnan()
    if bool((known & ~(surface >= 0)).any()) or bool(surface[known].isinf().any()):
        raise InputError("surface holds numbers below 0 or not finite: expected similarities from 0 to 1.")
    kind = torch.promote_types(torch.promote_types(semantic.dtype, surface.dtype), torch.float32)
    semantic, surface = semantic.to(kind), surface.to(kind)
    log_weight = alpha * semantic.clamp(semantic_floor).log() - beta * (surface + surface_epsilon).log()
    if role == "negative":
        log_weight = -log_weight
    if threshold is not None:
        known &= (semantic >= threshold) if role == "positive" else (semantic <= threshold)
    log_weight = torch.where(known, log_weight, -math.inf)
    # A row without candidates would be 0 / 0.
    return torch.where(known, log_weight.softmax(dim=1), 0)


@public
def gumbel_top_k(
    probabilities: Float[Tensor, "n c"],
    k: int,
    *,
    generator: torch.Generator | None = None,
    noise: Float[Tensor, "n c"] | None = None,
) -> Int64[Tensor, "n k"]:
    """Draw k different candidates of each row by their probabilities: the k largest `log p + Gumbel noise`.

    Kool, van Hoof, Welling: *Stochastic Beams and Where to Find Them* (ICML 2019), sec. 2.

    Args:
        probabilities: (N, C) of 0 or more; rows need not add up to 1.
        k: candidates of a row.
        generator: source of the noise; torch's global one if None.
        noise: (N, C), in place of a draw.

    Returns:
        (N, k) columns in the order of the draw; −1 where fewer than k have a probability.

    Raises:
        InputError: a probability is negative or not finite, k is below 1, or the noise has another shape.

    Example:
        >>> gumbel_top_k(torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]), 2).tolist()
        [[1, -1], [-1, -1]]
    """
    if probabilities.ndim != 2:
        raise InputError(f"probabilities are {tuple(probabilities.shape)}: expected (N, C).")
    if not bool(((probabilities >= 0) & probabilities.isfinite()).all()):
        raise InputError("probabilities hold numbers below 0 or not finite.")
    check_at_least(k, 1, "k")
    if noise is None:
        uniform = torch.rand(probabilities.shape, generator=generator, dtype=torch.float64)
        # −log(−log u) of u = 0 would be −∞, which no probability could outweigh.
        noise = -(-uniform.clamp_min(torch.finfo(torch.float64).tiny).log()).log()
        noise = noise.to(probabilities.device)
    if noise.shape != probabilities.shape:
        raise InputError(f"noise is {tuple(noise.shape)}: expected {tuple(probabilities.shape)}, one a candidate.")
    scores = probabilities.log() + noise
    order = scores.argsort(dim=1, descending=True, stable=True)[:, :k]
    drawn = torch.where(probabilities.gather(1, order) > 0, order, -1)
    return torch.nn.functional.pad(drawn, (0, k - drawn.shape[1]), value=-1)
