"""Views of a graph: edges and attributes dropped, each with its own probability."""

import math
import warnings

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dipole.errors import InputError


def drop_edges(
    edge_index: Int[Tensor, "2 e"], keep: float | Float[Tensor, "e"], *, generator: torch.Generator | None = None
) -> Int[Tensor, "2 k"]:
    """Keep every directed edge with its probability, independently.

    Args:
        edge_index: (2, E).
        keep: the probability of being kept, one for all edges or (E,).
        generator: of the draw; torch's own if None.

    Returns:
        (2, K) the edges that stay, in their order; none may be left.

    Raises:
        InputError: a probability outside 0 to 1.

    Example:
        >>> drop_edges(torch.tensor([[0, 1, 2], [1, 2, 0]]), torch.tensor([1.0, 0.0, 1.0]))
        tensor([[0, 2],
                [1, 0]])
    """
    return edge_index[:, _draw(keep, edge_index.shape[1], edge_index.device, "keep", generator)]


def drop_features(
    x: Float[Tensor, "n f"], drop: float | Float[Tensor, "f"], *, generator: torch.Generator | None = None
) -> Float[Tensor, "n f"]:
    """Set whole columns to zero, each with its probability.

    Args:
        x: (N, F) attributes of the nodes.
        drop: the probability of being dropped, one for all columns or (F,).
        generator: of the draw; torch's own if None.

    Returns:
        (N, F), a copy.

    Raises:
        InputError: a probability outside 0 to 1.

    Example:
        >>> drop_features(torch.ones(2, 2), torch.tensor([1.0, 0.0]))
        tensor([[0., 1.],
                [0., 1.]])
    """
    dropped = _draw(drop, x.shape[1], x.device, "drop", generator)
    return x.masked_fill(dropped, 0.0)


def ced_keep_probability(weight: Float[Tensor, "e"], rate: float, *, threshold: float = 1.0) -> Float[Tensor, "e"]:
    """Compute the probability of keeping an edge in communal edge dropping: `clip(w / mean(w) · (1 − p), 1 − θ, 1)`.

    The clip at 1 makes the realised rate exceed p.

    Chen et al.: *CSGCL: Community-Strength-Enhanced Graph Contrastive Learning* (IJCAI 2023), CED.

    Args:
        weight: (E,) of `communal_edge_weight`.
        rate: p, from 0 to 1.
        threshold: θ, the largest probability of being dropped.

    Returns:
        (E,).

    Raises:
        InputError: a rate or threshold outside 0 to 1.

    Example:
        >>> ced_keep_probability(torch.tensor([0.0, 0.5, 1.0]), 0.4)
        tensor([0.0000, 0.6000, 1.0000])
    """
    _check_rates(rate, threshold)
    if weight.numel() == 0:
        return weight
    if float(weight.detach().abs().max()) == 0:
        weight = torch.ones_like(weight)
    return (weight / weight.mean() * (1 - rate)).clamp(1 - threshold, 1.0)


def cav_drop_probability(
    x: Float[Tensor, "n f"],
    node_strength: Float[Tensor, "n"],
    rate: float,
    *,
    threshold: float = 1.0,
    dense: bool = False,
) -> Float[Tensor, "f"]:
    """Compute the probability of dropping an attribute in communal attribute voting.

        v = |X|ᵀ s,  g = log v,  g ← (max g − g) / (max g − min g),  clip(g / mean(g) · p, 0, θ)

    An attribute that nobody has is never dropped: its votes are replaced by the most. Communities of negative strength
    can make votes negative; those count as the fewest positive ones, with a warning. If all votes are alike, every
    attribute is dropped with p.

    Chen et al.: *CSGCL: Community-Strength-Enhanced Graph Contrastive Learning* (IJCAI 2023), CAV.

    Args:
        x: (N, F) attributes.
        node_strength: (N,) s, the strength of each node's community.
        rate: p, from 0 to 1.
        threshold: θ, the largest probability.
        dense: for attributes that every node has (the authors: Wiki-CS): no votes count as the fewest, not the most.

    Returns:
        (F,).

    Raises:
        InputError: a rate or threshold outside 0 to 1, or another number of strengths than of nodes.

    Example:
        >>> cav_drop_probability(torch.eye(3), torch.tensor([0.4, 0.2, 0.1]), 0.3)
        tensor([0.0000, 0.3000, 0.6000])
    """
    _check_rates(rate, threshold)
    if node_strength.shape != x.shape[:1]:
        raise InputError(f"node_strength has shape {tuple(node_strength.shape)}: expected one for each of {len(x)}.")
    votes = x.abs().T @ node_strength.to(x.dtype)
    positive = votes[votes > 0]
    if positive.numel() == 0:
        return torch.full_like(votes, min(rate, threshold))
    if not dense:
        votes = torch.where(votes == 0, positive.max(), votes)
    if bool((votes < 0).any()):
        warnings.warn(
            f"{int((votes < 0).sum())} attributes have negative votes, because communities have negative strengths: "
            "they count as the attributes with the fewest votes.",
            stacklevel=2,
        )
    scores = votes.clamp(min=float(positive.min())).log()
    span = scores.max() - scores.min()
    # Votes that are equal up to rounding: the division would stretch what is left of the rounding to 0 … 1.
    coarsest = max(torch.finfo(x.dtype).eps, torch.finfo(node_strength.dtype).eps)
    if float(span) <= 16 * math.sqrt(len(x)) * coarsest:
        return torch.full_like(votes, min(rate, threshold))
    scores = (scores.max() - scores) / span
    return (scores / scores.mean() * rate).clamp(0.0, threshold)


def _draw(
    probability: float | Tensor, count: int, device: torch.device, name: str, generator: torch.Generator | None
) -> Tensor:
    """True with the probability of each of `count` places."""
    # Single precision is enough for a draw, and not every device has more.
    chances = torch.as_tensor(probability, dtype=torch.float32).to(device).expand(count)
    if count and not bool(((chances >= 0) & (chances <= 1)).all()):  # NaN is neither
        raise InputError(f"{name} holds a probability outside 0 to 1.")
    return torch.rand(count, generator=generator, device=device) < chances


def _check_rates(rate: float, threshold: float) -> None:
    """Require shares.

    Raises:
        InputError: one is below 0 or above 1.
    """
    for name, value in (("rate", rate), ("threshold", threshold)):
        if not 0 <= value <= 1:
            raise InputError(f"{name} is {value}: expected a share from 0 to 1.")
