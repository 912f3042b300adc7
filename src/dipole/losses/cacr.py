"""Contrastive attraction and contrastive repulsion, in the batch.

Zheng et al.: *Contrastive Attraction and Contrastive Repulsion for Representation Learning* (TMLR 2023).
"""

from itertools import permutations
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.common import gathered_keys, unit_rows
from dipole.ops import gather_mean, pairwise_softmax_mean
from dipole.ops.checks import check_at_least, check_choice, check_views
from dipole.ops.door import public

Weighting = Literal["full", "none", "uniform_positives", "uniform_negatives"]
Cost = Literal["euclidean", "rbf"]
DebiasSign = Literal["corrected", "official"]


@public
def cacr_loss(
    views: Float[Tensor, "v n d"],
    *,
    t_positive: float = 1.0,
    t_negative: float = 1.0,
    alpha: float = 1.0,
    beta: float = 1.0,
    cost: Cost = "euclidean",
    rbf_scale: float = 2.0,
    weighting: Weighting = "full",
    detach_weights: bool = False,
    symmetric: bool = False,
    false_negatives: Bool[Tensor, "n n"] | None = None,
    debias: float | None = None,
    debias_sign: DebiasSign = "corrected",
    normalize: bool = True,
    gather: bool = False,
) -> Float[Tensor, ""]:
    """Compute the CACR loss of V views: `α · contrastive_attraction + β · contrastive_repulsion`.

    Contrast happens inside each group. Among the K = V − 1 positives of an embedding the far ones weigh more, among its
    negatives the near ones:

        attraction = mean_{x,i} Σ_{v≠x} w⁺_v d²(z_x[i], z_v[i]),      w⁺ = softmax_v( t⁺ d²)
        repulsion  = − mean_{x<y,i} Σ_{j≠i} w⁻_j d²(z_x[i], z_y[j]),  w⁻ = softmax_j(−t⁻ d²)

    Conventions: rows are normalised here; weights sum to 1 (no mean over K or over the negatives); every view is a
    query of the attraction, the view of lower index in each pair is the query of the repulsion; α and β do not enter
    the weights. α = 0 or β = 0 gives one term alone. A single sample without negatives has the repulsion 0.

    Args:
        views: (V, N, D), V ≥ 2.
        t_positive: t⁺ ≥ 0; 0 gives uniform weights, large values the farthest positive.
        t_negative: t⁻ ≥ 0; 0 gives uniform weights, large values the hardest negative. For unit vectors the weights are
            a softmax of cosines with temperature 1 / (2 t⁻).
        alpha: weight of the attraction.
        beta: weight of the repulsion.
        cost: of the repulsion: `"euclidean"` −d², or `"rbf"` log mean exp(−`rbf_scale` d²), per pair of views.
        rbf_scale: t of the RBF cost.
        weighting: `"full"`, or an ablation: `"none"` uniform everywhere, `"uniform_positives"` conditional repulsion
            only (the authors' `without_w1`), `"uniform_negatives"` conditional attraction only (`without_w2`).
        detach_weights: treat w⁺ and w⁻ as constants in the gradient.
        symmetric: repulse in both directions of every pair of views.
        false_negatives: (N, N), True where sample j is no negative of sample i; not with `gather`. A sample without
            any negative adds 0 to the Euclidean cost and is left out of the mean inside the RBF cost.
        debias: τ₊, the share of false negatives to correct for (authors: 0.1); with `weighting="full"` and the
            Euclidean cost only.
        debias_sign: `"corrected"` takes the share of the positives out of the repulsion; `"official"` has the sign of
            the authors' code, which puts it in since the cost is negative, and does not scale it by β.
        normalize: False if the rows are of unit length already.
        gather: repulse from the embeddings of all processes.

    Returns:
        The loss.

    Raises:
        InputError: a wrong shape, a value that is not finite, a negative t, or options that contradict each other.

    Example:
        >>> views = torch.eye(3).repeat(2, 1, 1)  # equal positives, negatives at distance √2
        >>> cacr_loss(views)
        tensor(-2.)
    """
    check_views(views)
    check_at_least(t_positive, 0, "t_positive")
    check_at_least(t_negative, 0, "t_negative")
    check_choice(weighting, get_args(Weighting), "weighting")
    if debias is not None and (weighting != "full" or cost != "euclidean"):
        raise InputError(f'debias needs weighting="full" and cost="euclidean"; got {weighting!r} and {cost!r}.')
    views = unit_rows(views, normalize)
    attraction = contrastive_attraction(
        views, 0.0 if weighting in ("none", "uniform_positives") else t_positive, detach_weights=detach_weights
    )
    repulsion = contrastive_repulsion(
        views,
        0.0 if weighting in ("none", "uniform_negatives") else t_negative,
        beta=beta,
        cost=cost,
        rbf_scale=rbf_scale,
        detach_weights=detach_weights,
        symmetric=symmetric,
        false_negatives=false_negatives,
        debias=debias,
        debias_sign=debias_sign,
        gather=gather,
    )
    return alpha * attraction + repulsion


@public
def contrastive_attraction(
    views: Float[Tensor, "v n d"], t_positive: float, *, detach_weights: bool = False
) -> Float[Tensor, ""]:
    """Compute the mean over views and samples of `Σ_v w⁺_v d²`, the weighted squared distance to the other views.

    Rows are used as they are.

    Example:
        >>> contrastive_attraction(torch.tensor([[[0.0]], [[1.0]]]), 1.0)
        tensor(1.)
    """
    distances = positive_distances(views)
    weights = attraction_weights(distances, t_positive)
    return ((weights.detach() if detach_weights else weights) * distances).sum(dim=-1).mean()


@public
def contrastive_repulsion(
    views: Float[Tensor, "v n d"],
    t_negative: float,
    *,
    beta: float = 1.0,
    cost: Cost = "euclidean",
    rbf_scale: float = 2.0,
    detach_weights: bool = False,
    symmetric: bool = False,
    false_negatives: Bool[Tensor, "n n"] | None = None,
    debias: float | None = None,
    debias_sign: DebiasSign = "corrected",
    gather: bool = False,
) -> Float[Tensor, ""]:
    """Compute the mean over pairs of views of `−β Σ_j w⁻_j d²`, or of its RBF form. Rows are used as they are.

    The arguments are those of `cacr_loss`.

    Example:
        >>> contrastive_repulsion(torch.tensor([[[0.0], [1.0]], [[0.0], [1.0]]]), 1.0)
        tensor(-1.)
    """
    if gather and false_negatives is not None:
        raise InputError("false_negatives covers the local batch only: give gather=False, or no mask.")
    if debias is not None and not 0 <= debias < 1:
        raise InputError(f"debias is {debias}: expected a share from 0 to below 1, e.g. 0.1.")
    check_choice(cost, get_args(Cost), "cost")
    check_choice(debias_sign, get_args(DebiasSign), "debias_sign")
    check_at_least(rbf_scale, 0, "rbf_scale")
    size = views.shape[1]
    if false_negatives is not None and (false_negatives.shape != (size, size) or false_negatives.dtype != torch.bool):
        raise InputError(
            f"false_negatives is {false_negatives.dtype} {tuple(false_negatives.shape)}: expected a boolean mask "
            f"{(size, size)}, True where sample j is no negative of sample i."
        )
    value = None if cost == "euclidean" else lambda distances: torch.exp(-rbf_scale * distances)
    terms = []
    for x, y in permutations(range(len(views)), 2):
        if x > y and not symmetric:
            continue
        keys, exclude = gathered_keys(views[y], gather)
        if false_negatives is not None:
            exclude = false_negatives | torch.eye(len(keys), dtype=torch.bool, device=keys.device)
            rows = (~exclude).any(dim=1).sum()  # in which something is left
        elif len(keys) > 1:
            rows = torch.full((), size, device=keys.device)
        else:
            terms.append(0.0 * (views[x] * views[y]).sum())
            continue
        mean = pairwise_softmax_mean(
            lift_queries(views[x]), lift_keys(keys), -t_negative, value, exclude=exclude, detach_weights=detach_weights
        )
        if cost == "euclidean":
            positive = (views[x] - views[y]).square().sum(dim=1)
            term = _debiased(-beta * mean, positive, beta, debias, debias_sign).mean()
        else:
            # The logarithm of the mean over the whole batch is not a mean of the processes' logarithms.
            density = torch.where(rows > 0, mean.sum() / rows.clamp_min(1), 1)
            term = beta * (gather_mean(density) if gather else density).log()
        terms.append(torch.where(rows > 0, term, 0))
    return torch.stack(terms).mean()


def _debiased(cost: Tensor, positive: Tensor, beta: float, share: float | None, sign: str) -> Tensor:
    """Correct the (negative) cost of the negatives for the share of samples of the query's own class among them."""
    if share is None:
        return cost
    correction = beta * positive if sign == "corrected" else -positive
    return (cost + share * correction) / (1 - share)


@public
def attraction_weights(distances: Float[Tensor, "*n k"], t_positive: float) -> Float[Tensor, "*n k"]:
    """Compute `w⁺ = softmax(t⁺ d²)` over the positives: the far ones weigh more.

    Example:
        >>> attraction_weights(torch.tensor([0.0, 1.0]), 1.0)
        tensor([0.2689, 0.7311])
    """
    return torch.softmax(t_positive * distances, dim=-1)


@public
def repulsion_weights(distances: Float[Tensor, "*n m"], t_negative: float) -> Float[Tensor, "*n m"]:
    """Compute `w⁻ = softmax(−t⁻ d²)` over the negatives: the near ones weigh more.

    Example:
        >>> repulsion_weights(torch.tensor([0.0, 1.0]), 1.0)
        tensor([0.7311, 0.2689])
    """
    return torch.softmax(-t_negative * distances, dim=-1)


class CACRWeights(NamedTuple):
    """The conditional weights of `cacr_loss`."""

    positive: Float[Tensor, "v n k"]  # of view x: the other views in increasing order
    negative: Float[Tensor, "p n m"]  # of the pairs of views x < y: columns skip the own sample


@public
@torch.no_grad()
def cacr_weights(
    views: Float[Tensor, "v n d"], *, t_positive: float = 1.0, t_negative: float = 1.0, normalize: bool = True
) -> CACRWeights:
    """Return the weights w⁺ and w⁻ for inspection; this one takes N × N memory per pair of views.

    Example:
        >>> cacr_weights(torch.eye(3).repeat(2, 1, 1)).negative[0, 0]
        tensor([0.5000, 0.5000])
    """
    check_views(views)
    views = unit_rows(views, normalize)
    count = views.shape[1]
    negative = [
        # Without its first entry and cut into rows of N + 1, the matrix has its diagonal at the end of each row.
        repulsion_weights(
            (lift_queries(x) @ lift_keys(y).T).flatten()[1:].view(count - 1, count + 1)[:, :-1].reshape(count, -1),
            t_negative,
        )
        for index, x in enumerate(views)
        for y in views[index + 1 :]
    ]
    return CACRWeights(attraction_weights(positive_distances(views), t_positive), torch.stack(negative))


def positive_distances(
    queries: Float[Tensor, "v n d"], keys: Float[Tensor, "v n d"] | None = None
) -> Float[Tensor, "v n k"]:
    """Compute the squared distances of every embedding to the other views of its sample, in increasing order of view.

    Args:
        queries: (V, N, D).
        keys: (V, N, D) to measure the distance to; the queries themselves if it is None.

    Example:
        >>> positive_distances(torch.tensor([[[0.0]], [[1.0]], [[3.0]]]))[0]
        tensor([[1., 9.]])
    """
    keys = queries if keys is None else keys
    view = torch.arange(len(queries), device=queries.device)
    other = view[:-1] + (view[:-1] >= view[:, None]).long()  # of each view, all but itself
    return (queries[:, None] - keys[other]).square().sum(dim=-1).transpose(1, 2)


def lift_queries(x: Float[Tensor, "n d"]) -> Float[Tensor, "n e"]:
    """Append `(‖x‖², 1)`, so that the inner product with a lifted key is the squared distance.

    Example:
        >>> lift_queries(torch.tensor([[1.0, 0.0]])) @ lift_keys(torch.tensor([[0.0, 2.0]])).T
        tensor([[5.]])
    """
    return torch.cat([x, x.square().sum(dim=1, keepdim=True), x.new_ones(len(x), 1)], dim=1)


def lift_keys(y: Float[Tensor, "m d"]) -> Float[Tensor, "m e"]:
    """Turn y into `(−2y, 1, ‖y‖²)`, the counterpart of `lift_queries`."""
    return torch.cat([-2 * y, y.new_ones(len(y), 1), y.square().sum(dim=1, keepdim=True)], dim=1)
