"""Contrast of the nodes of a graph between two views: GRACE's loss and, with community strengths, CSGCL's."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import Reduction, accumulate, reduce, unit_rows
from dipole.ops import pairwise_logsumexp
from dipole.ops.checks import check_at_least, check_same_rows, check_temperature
from dipole.ops.door import looking, public


class NodeContrast(NamedTuple):
    """The losses of the anchors in the two directions."""

    first: Tensor  # (A,): ℓ_i(a, b), anchors of the first view
    second: Tensor  # (A,): ℓ_i(b, a), anchors of the second view


@public
def node_contrast(
    z1: Float[Tensor, "n d"],
    z2: Float[Tensor, "n d"],
    *,
    bonus: Float[Tensor, "n"] | None = None,
    temperature: float = 0.4,
    anchors: Int[Tensor, "a"] | None = None,
) -> NodeContrast:
    """Contrast every node with all nodes of both views. With θ_ij = cos(a_i, b_j) + bonus_j:

        ℓ_i(a, b) = −log [ exp(θ(a_i, b_i) / τ) / (Σ_j exp(θ(a_i, b_j) / τ) + Σ_{j≠i} exp(θ(a_i, a_j) / τ)) ]

    A bonus of the anchor would cancel, so that only that of the candidate stands. Conventions: rows are normalised
    here; the bonus is a constant for the gradient. Memory grows with N, not N².

    Zhu et al.: *Deep Graph Contrastive Representation Learning* (2020); Chen et al.:
    *CSGCL: Community-Strength-Enhanced Graph Contrastive Learning* (IJCAI 2023), the Team-up objective.

    Args:
        z1: (N, D) nodes in the first view.
        z2: (N, D) the same nodes in the second view.
        bonus: (N,) added to the similarities with a candidate, before the division by τ; none by default.
        temperature: τ > 0.
        anchors: (A,) the nodes whose losses are wanted; all by default. All N nodes stay candidates.

    Returns:
        The losses of the anchors, (A,) in each direction; 0 for the only node of a graph.

    Raises:
        InputError: shapes differ, a value is not finite, the temperature is not positive, or an anchor is no node.

    Example:
        >>> node_contrast(torch.eye(2), torch.eye(2), temperature=1.0).first  # log(e + 2) − 1
        tensor([0.5514, 0.5514])
    """
    check_same_rows(z1=z1, z2=z2)
    check_temperature(temperature)
    rows = len(z1)
    z1, z2 = unit_rows(z1), unit_rows(z2)
    positive = (z1 * z2).sum(dim=1) / temperature
    log_weight = None
    if bonus is not None:
        _check_per_node(bonus, rows, "bonus")
        share = bonus.detach().to(positive.dtype) / temperature
        positive, log_weight = positive + share, torch.cat([share, share])
    candidates = torch.cat([z1, z2])
    if anchors is None:
        queries, own = candidates, torch.arange(2 * rows, device=z1.device)
    else:
        if anchors.numel() == 0 or (looking() and not 0 <= int(anchors.min()) <= int(anchors.max()) < rows):
            raise InputError(f"anchors are no nodes of this graph: expected one or more numbers from 0 to {rows - 1}.")
        own = torch.cat([anchors, anchors + rows])
        queries, positive = candidates[own], positive[anchors]
    denominator = pairwise_logsumexp(queries, candidates, 1 / temperature, exclude=own, log_weight=log_weight)
    first, second = denominator.chunk(2)
    return NodeContrast(first - positive, second - positive)


@public
def team_up_gamma(epoch: int, *, start: int, maximum: float, ramp: int = 100) -> float:
    """Compute how much communities count in an epoch: `γ(t) = min(max(0, (t − t₀) / ramp), γ_max)`.

    Chen et al.: *CSGCL* (IJCAI 2023), the Team-up objective.

    Args:
        epoch: t, from 1.
        start: t₀, the last epoch without Team-up.
        maximum: γ_max.
        ramp: epochs in which γ rises by 1.

    Returns:
        γ(t).

    Raises:
        InputError: an argument is negative, or `ramp` is below 1.

    Example:
        >>> [team_up_gamma(t, start=100, maximum=1) for t in (100, 157, 300)]
        [0.0, 0.57, 1.0]
    """
    check_at_least(start, 0, "start")
    check_at_least(maximum, 0, "maximum")
    check_at_least(ramp, 1, "ramp")
    return float(min(max(0.0, (epoch - start) / ramp), maximum))


@public
def team_up_loss(
    z1: Float[Tensor, "n d"],
    z2: Float[Tensor, "n d"],
    node_strength: Float[Tensor, "n"] | None = None,
    *,
    gamma: float = 1.0,
    temperature: float = 0.4,
    anchors: Int[Tensor, "a"] | None = None,
    reduction: Reduction = "mean",
) -> Float[Tensor, ""] | Float[Tensor, "a"]:
    """Compute the Team-up objective of CSGCL: InfoNCE in which candidates of strong communities weigh more.

        ℓ_i = ½ [ℓ_i(z1, z2) + ℓ_i(z2, z1)]  of `node_contrast`, with the bonus γ · s_j of candidate j

    With γ = 0, or without strengths, it is the loss of GRACE and GCA. Conventions: rows are normalised here; strengths
    are constants; one value for each node. Memory grows with N, not N².

    Chen et al.: *CSGCL: Community-Strength-Enhanced Graph Contrastive Learning* (IJCAI 2023), the Team-up objective.

    Args:
        z1: (N, D) nodes in the first view.
        z2: (N, D) the same nodes in the second view.
        node_strength: (N,) s, the strength of each node's community.
        gamma: γ, see `team_up_gamma`.
        temperature: τ > 0.
        anchors: (A,) the nodes whose losses are wanted, e.g. a random share of a large graph: the mean over them has
            the expectation of the mean over all. All N nodes stay candidates.
        reduction: `"mean"` or `"sum"` over the nodes, or `"none"`.

    Returns:
        The loss, or (A,) values.

    Raises:
        InputError: shapes differ, a value is not finite, the temperature is not positive, γ is negative, or an anchor
            is no node.

    Example:
        >>> z = torch.eye(2)
        >>> strength = torch.tensor([0.5, 0.0])
        >>> team_up_loss(z, z, strength, gamma=2.0, temperature=1.0, reduction="none")  # log(e² + 2) − 2, log 3
        tensor([0.2395, 1.0986])
    """
    check_at_least(gamma, 0, "gamma")
    bonus = None
    if node_strength is not None and gamma > 0:
        bonus = gamma * accumulate(node_strength)
    losses = node_contrast(z1, z2, bonus=bonus, temperature=temperature, anchors=anchors)
    return reduce((losses.first + losses.second) / 2, reduction)


def _check_per_node(values: Tensor, nodes: int, name: str) -> None:
    """Require a finite number for each node.

    Raises:
        InputError: another shape, or a value that is not finite.
    """
    if values.shape != (nodes,):
        raise InputError(f"{name} has shape {tuple(values.shape)}: expected one number for each of {nodes} nodes.")
    if looking() and not bool(values.isfinite().all()):
        raise InputError(f"{name} contains NaN or infinite values.")
