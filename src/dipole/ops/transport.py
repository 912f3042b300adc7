"""OpTA: support prototypes are moved onto the distribution of the queries."""

import torch
from jaxtyping import Float
from torch import Tensor

from dipole.errors import InputError
from dipole.ops.checks import check_at_least, check_embeddings
from dipole.ops.door import public
from dipole.ops.sinkhorn import Plan, sinkhorn_log


@public
def standardise_rows(features: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Compute `(f − mean f) / std f` of every row over its features; the deviation is the unbiased one.

    A row whose features are all equal becomes zeros.

    Args:
        features: (N, D), D of 2 or more.

    Example:
        >>> standardise_rows(torch.tensor([[1.0, 2.0, 3.0]]))
        tensor([[-1.,  0.,  1.]])
    """
    check_embeddings(features=features)
    if features.shape[1] < 2:
        raise InputError("features of width 1 have no deviation: give 2 features or more.")
    deviation = features.std(dim=1, keepdim=True)
    centred = features - features.mean(dim=1, keepdim=True)
    return torch.where(deviation > 0, centred / torch.where(deviation > 0, deviation, 1), 0)


@public
def transport_cost(prototypes: Float[Tensor, "c d"], queries: Float[Tensor, "q d"]) -> Float[Tensor, "c q"]:
    """Compute `‖x_i − y_j‖²`, divided by the largest of them.

    Args:
        prototypes: (C, D).
        queries: (Q, D).

    Example:
        >>> transport_cost(torch.tensor([[0.0], [1.0]]), torch.tensor([[2.0]])).flatten()
        tensor([1.0000, 0.2500])
    """
    check_embeddings(prototypes=prototypes, queries=queries)
    cost = (prototypes[:, None] - queries[None]).square().sum(dim=2)
    most = cost.max()
    return cost / torch.where(most > 0, most, 1)


@public
def optimal_transport_align(
    prototypes: Float[Tensor, "c d"],
    queries: Float[Tensor, "q d"],
    *,
    epsilon: float = 0.05,
    max_iterations: int = 1000,
    threshold: float = 1e-4,
    passes: int = 1,
) -> Float[Tensor, "c d"]:
    """Compute `x_i' = Σ_j π_ij y_j / Σ_j π_ij`, the means of the queries to which prototypes are transported.

    It is transductive: all queries of an episode are needed at once. Of one query all prototypes become that query.

    Poulakakis-Daktylidis, Jamali-Rad: *BECLR* (ICLR 2024), OpTA.

    Args:
        prototypes: x (C, D), see `standardise_rows`.
        queries: y (Q, D).
        epsilon: weight of the entropy.
        max_iterations: of Sinkhorn's iterations.
        threshold: at which they end.
        passes: times that the transported prototypes are transported again.

    Raises:
        InputError: a setting is out of range.

    Example:
        >>> moved = optimal_transport_align(torch.tensor([[0.0], [2.0]]), torch.tensor([[1.0], [3.0]]))
        >>> moved.round(decimals=1).flatten()
        tensor([1., 3.])
    """
    check_at_least(passes, 1, "passes")
    for _ in range(passes):
        plan = transport_plan(
            prototypes, queries, epsilon=epsilon, max_iterations=max_iterations, threshold=threshold
        ).plan
        prototypes = plan / plan.sum(dim=1, keepdim=True) @ queries
    return prototypes


@public
def transport_plan(
    prototypes: Float[Tensor, "c d"],
    queries: Float[Tensor, "q d"],
    *,
    epsilon: float = 0.05,
    max_iterations: int = 1000,
    threshold: float = 1e-4,
) -> Plan:
    """Compute the plan of `sinkhorn_log` for the cost of `transport_cost`.

    Args:
        prototypes: (C, D).
        queries: (Q, D).
        epsilon: weight of the entropy.
        max_iterations: of Sinkhorn's iterations.
        threshold: at which they end.

    Example:
        >>> transport_plan(torch.eye(2), torch.eye(2)).plan.argmax(dim=1)
        tensor([0, 1])
    """
    cost = transport_cost(prototypes, queries)
    return sinkhorn_log(cost, epsilon=epsilon, max_iterations=max_iterations, threshold=threshold)
