"""POT: how far a node stays from all others under every augmentation of a graph, bounded through a two-layer GCN."""

from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import leaky_relu, softplus

from dipole.errors import InputError
from dipole.losses.common import unit_rows
from dipole.ops.checks import check_at_least, check_choice, check_node_pairs
from dipole.ops.door import check_finite, looking, public

Weights = tuple[Tensor, Tensor, Tensor, Tensor]  # W₁ (F, H₁), b₁, W₂ (H₁, H₂), b₂ of two layers of a GCN
Bound = Literal["fast", "sound"]


class EdgeBounds(NamedTuple):
    """Between which numbers an entry of the message-passing matrix lies in every augmentation within a budget.

    Attributes:
        edge_index: (2, E + N) sources and targets, a loop of every node last.
        lower: (E + N,) smallest entries, in float64.
        upper: (E + N,) largest entries, likewise.
        most_dropped: (N,) q, edges that may fall at each node.
    """

    edge_index: Tensor
    lower: Tensor
    upper: Tensor
    most_dropped: Tensor


class Lines(NamedTuple):
    """The linear bound of every node of a batch and what it is made of.

    Attributes:
        direction: (B, H₂) z̄_i − mean of the others, of the other view.
        lower_1, upper_1: (B, H₁) interval of the first layer before its activation.
        lower_2, upper_2: (B, H₂) that of the second layer.
        slope_1, offset_1, slope_2, offset_2: of the lines around the activations.
        weight_2: (B, H₁) W̃₂.
        bias_2: (B,) b̃₂.
        weight_1: (B, F) W̃₁.
        bias_1: (B,) b̃₁.
    """

    direction: Tensor
    lower_1: Tensor
    upper_1: Tensor
    lower_2: Tensor
    upper_2: Tensor
    slope_1: Tensor
    offset_1: Tensor
    slope_2: Tensor
    offset_2: Tensor
    weight_2: Tensor
    bias_2: Tensor
    weight_1: Tensor
    bias_1: Tensor


@public
def message_passing_bounds(
    edge_index: Int[Tensor, "2 e"],
    num_nodes: int,
    *,
    drop_rate: float | None = None,
    expected_drops: Float[Tensor, "n"] | None = None,
) -> EdgeBounds:
    """Bound the entries of `D̃^−½ (A + I) D̃^−½` over all augmentations that remove at most q_i edges at node i.

        q_i = min(max(d̃_i − 2, 0), round(r · d_i))        U_ij = [(d̃_i − q_i)(d̃_j − q_j)]^−½
        L_ij = 0 where i ≠ j                               L_ii = 1 / d̃_i

    Yu et al.: *Provable Training for Graph Contrastive Learning* (NeurIPS 2023).

    Args:
        edge_index: (2, E), both directions of every edge; loops among them count 0, and every node gets one.
        num_nodes: N.
        drop_rate: r, probability that an edge falls.
        expected_drops: (N,) instead of r · d, where edges fall with probabilities of their own (GCA).

    Raises:
        InputError: edges name nodes that do not exist, the rate is no share, or both or neither of the two came.

    Example:
        >>> bounds = message_passing_bounds(torch.tensor([[0, 1], [1, 0]]), 2, drop_rate=0.5)
        >>> bounds.most_dropped.tolist(), bounds.upper.tolist(), bounds.lower.tolist()
        ([0, 0], [0.5, 0.5, 0.5, 0.5], [0.0, 0.0, 0.5, 0.5])
    """
    check_at_least(num_nodes, 1, "num_nodes")
    edges = check_node_pairs(edge_index, num_nodes, "edge_index")
    if (drop_rate is None) == (expected_drops is None):
        raise InputError("give either drop_rate or expected_drops.")
    between = edges[0] != edges[1]
    degree = _degree(edges, between, num_nodes, torch.float64)
    if drop_rate is not None:
        if not 0 <= drop_rate <= 1:
            raise InputError(f"drop_rate is {drop_rate}: expected a share from 0 to 1.")
        expected = drop_rate * degree
    else:
        assert expected_drops is not None
        if expected_drops.shape != (num_nodes,) or (looking() and bool((expected_drops < 0).any())):
            raise InputError(
                f"expected_drops has shape {tuple(expected_drops.shape)}: expected {num_nodes} of 0 or more."
            )
        expected = expected_drops.detach().double()
    # One neighbour always stays. Half is rounded to even, as by NumPy.
    dropped = torch.minimum((degree - 1).clamp_min(0), expected.round())
    loops = torch.arange(num_nodes, device=edges.device).expand(2, -1)
    both = torch.cat([edges, loops], dim=1)
    least = degree + 1 - dropped
    upper = (least[both[0]] * least[both[1]]).rsqrt()
    upper = torch.where(torch.cat([between, torch.ones_like(loops[0], dtype=torch.bool)]), upper, 0)
    lower = torch.cat([torch.zeros(edges.shape[1], dtype=torch.float64, device=edges.device), 1 / (degree + 1)])
    return EdgeBounds(both, lower, upper, dropped.long())


@public
def relu_relaxation(
    lower: Float[Tensor, "b d"], upper: Float[Tensor, "b d"], negative_slope: float = 0.0
) -> tuple[Float[Tensor, "b d"], Float[Tensor, "b d"]]:
    """Enclose `σ(p) = max(p, α p)` on [l, u] between the lines `s · p` and `s · (p + β)`.

        l ≥ 0: s = 1, β = 0        u ≤ 0: s = α, β = 0
        else: s = (u − α l) / (u − l),  β = (α − 1) u l / (u − α l)

    Zhang et al.: *Efficient Neural Network Robustness Certification* (CROWN, NeurIPS 2018), with both lines parallel.

    Args:
        lower: l.
        upper: u.
        negative_slope: α, from 0 to below 1.

    Returns:
        Slopes and offsets β of the upper lines.

    Raises:
        InputError: α is outside its range.

    Example:
        >>> relu_relaxation(torch.tensor([[-1.0, 1.0, -2.0]]), torch.tensor([[1.0, 2.0, -1.0]]))
        (tensor([[0.5000, 1.0000, 0.0000]]), tensor([[1., 0., 0.]]))
    """
    if not 0 <= negative_slope < 1:
        raise InputError(f"negative_slope is {negative_slope}: expected 0 to below 1, or the lines would cross.")
    crossing = (lower < 0) & (upper > 0)
    # Division happens only where it is used, or 0/0 would be the gradient of all others.
    low, high = torch.where(crossing, lower, -1), torch.where(crossing, upper, 1)
    rise = high - negative_slope * low
    straight = torch.where((lower >= 0) & (upper > 0), 1.0, negative_slope).to(lower.dtype)
    slope = torch.where(crossing, rise / (high - low), straight)
    return slope, torch.where(crossing, (negative_slope - 1) * high * low / rise, 0)


@public
def contrast_direction(z_other: Float[Tensor, "b d"]) -> Float[Tensor, "b d"]:
    """Compute `z̄_i − mean_{j ≠ i} z̄_j` of rows scaled to length 1: a node's product with it is its compactness.

    Args:
        z_other: (B, D) embeddings of the other view.

    Raises:
        InputError: there is one node alone.

    Example:
        >>> contrast_direction(torch.eye(2))
        tensor([[ 1., -1.],
                [-1.,  1.]])
    """
    rows = len(z_other)
    if rows < 2:
        raise InputError(f"{rows} nodes: a node is compared with the others, so two are needed.")
    unit = unit_rows(z_other)
    return (unit * rows - unit.sum(dim=0)) / (rows - 1)


def compactness_lines(
    x: Float[Tensor, "n f"],
    weights: Weights,
    z_other: Float[Tensor, "b d"],
    bounds: EdgeBounds,
    nodes: Int[Tensor, "b"] | None = None,
    *,
    negative_slope: float = 0.0,
    bound: Bound = "fast",
) -> Lines:
    """Propagate a linear lower bound of `z_i · direction_i` back through both layers; see `node_compactness`."""
    w1, b1, w2, b2 = weights
    matrix = _restricted(bounds.edge_index, (bounds.lower, bounds.upper), nodes, len(x), x.dtype)
    lower_1, upper_1 = _interval(matrix, x[_all(nodes, x)] @ w1, b1)
    slope_1, offset_1 = relu_relaxation(lower_1, upper_1, negative_slope)
    if bound == "fast":
        hidden = leaky_relu(
            _propagate(_normalized(bounds.edge_index, len(x), x.dtype), x @ w1, len(x)) + b1, negative_slope
        )
        lower_2, upper_2 = _interval(matrix, hidden[_all(nodes, x)] @ w2, b2)
    else:
        low, high = leaky_relu(lower_1, negative_slope), leaky_relu(upper_1, negative_slope)
        up, down = w2.clamp_min(0), w2.clamp_max(0)
        lower_2 = _interval(matrix, low @ up + high @ down, b2)[0]
        upper_2 = _interval(matrix, high @ up + low @ down, b2)[1]
    slope_2, offset_2 = relu_relaxation(lower_2, upper_2, negative_slope)
    direction = contrast_direction(z_other)
    scaled = slope_2 * direction
    bias_2 = (scaled * (torch.where(direction >= 0, 0, offset_2) + b2)).sum(dim=1)
    weight_2 = scaled @ w2.T
    scaled = slope_1 * weight_2
    bias_1 = (scaled * (torch.where(weight_2 >= 0, 0, offset_1) + b1)).sum(dim=1)
    return Lines(
        direction, lower_1, upper_1, lower_2, upper_2, slope_1, offset_1, slope_2, offset_2,
        weight_2, bias_2, scaled @ w1.T, bias_1,
    )  # fmt: skip


@public
def node_compactness(
    x: Float[Tensor, "n f"],
    weights: Weights,
    z_other: Float[Tensor, "b d"],
    bounds: EdgeBounds,
    augmented_edge_index: Int[Tensor, "2 e2"],
    nodes: Int[Tensor, "b"] | None = None,
    *,
    negative_slope: float = 0.0,
    bound: Bound = "fast",
    official_orientation: bool = False,
) -> Float[Tensor, "b"]:
    """Bound from below how much closer a node lies to itself in the other view than to the other nodes.

        target  z_i · (z̄'_i − mean_{j≠i} z̄'_j)  of  z = σ(Â σ(Â X W₁ + b₁) W₂ + b₂)
        fast    Â (Â s + b̃₁) + b̃₂  with  s_k = x_k · W̃₁_k: cheap, not always below the target
        sound   b̃₂_i + Σ_j â_ij Σ_d v_id s_jd ((Â X W₁)_jd + b₁_d + [v_id < 0] β_jd),  v = W̃₂: below it for every
                augmentation within the budget of the bounds

    Yu et al.: *Provable Training for Graph Contrastive Learning* (NeurIPS 2023).

    Args:
        x: (N, F) attributes.
        weights: (W₁, b₁, W₂, b₂) of both layers, W as (inputs, outputs).
        z_other: (B, H₂) embeddings of the other view of the nodes.
        bounds: of the graph, see `message_passing_bounds`.
        augmented_edge_index: (2, E') edges of this view.
        nodes: (B,) different nodes; all if None. Messages from others are lost.
        negative_slope: α of the activation, a constant.
        bound: `"fast"` as the authors compute it, or `"sound"`.
        official_orientation: multiply by the transpose of Â, as the authors' code does: only where both directions of
            edges fall together is it the matrix of the encoder.

    Returns:
        (B,).

    Raises:
        InputError: shapes do not fit, nodes repeat, one node alone, or a slope outside 0 to 1.

    Example:
        >>> edges = torch.empty(2, 0, dtype=torch.long)  # without edges, nodes keep their attributes
        >>> bounds = message_passing_bounds(edges, 2, drop_rate=0.0)
        >>> weights = (torch.eye(2), torch.zeros(2), torch.eye(2), torch.zeros(2))
        >>> node_compactness(torch.eye(2), weights, torch.eye(2), bounds, edges)
        tensor([1., 1.])
    """
    check_choice(bound, ("fast", "sound"), "bound")
    check_finite(zip(("W1", "b1", "W2", "b2"), weights, strict=True))
    if looking() and not bool(((bounds.lower >= 0) & (bounds.lower <= bounds.upper) & (bounds.upper <= 1)).all()):
        raise InputError(
            "bounds hold entries outside 0 to 1, or lower ones above upper ones: see message_passing_bounds."
        )
    if nodes is not None and looking() and len(nodes.unique()) != len(nodes):
        raise InputError("nodes repeat: name each once.")
    if len(z_other) != (len(x) if nodes is None else len(nodes)):
        raise InputError(f"{len(z_other)} embeddings of the other view came for {len(x)} nodes: expected one each.")
    lines = compactness_lines(x, weights, z_other, bounds, nodes, negative_slope=negative_slope, bound=bound)
    edges = check_node_pairs(augmented_edge_index, len(x), "augmented_edge_index")
    edges, weight = _normalized(edges, len(x), x.dtype)
    edges, weight = _restricted(edges, (weight,), nodes, len(x), x.dtype)
    if official_orientation:
        edges = edges.flip(0)
    rows, count = x[_all(nodes, x)], len(z_other)
    if bound == "fast":
        score = (rows * lines.weight_1).sum(dim=1, keepdim=True)
        first = _propagate((edges, weight), score, count) + lines.bias_1[:, None]
        return _propagate((edges, weight), first, count)[:, 0] + lines.bias_2
    source, target = edges
    hidden = _propagate((edges, weight), rows @ weights[0], count) + weights[1]
    line = lines.weight_2[target]
    offset = torch.where(line < 0, lines.offset_1[source], 0)
    terms = (line * lines.slope_1[source] * (hidden[source] + offset)).sum(dim=1)
    return lines.bias_2.index_add(0, target, weight * terms)


@public
def pot_loss(compactness: Float[Tensor, "n"]) -> Float[Tensor, ""]:
    """Compute `mean_i log(1 + exp(−score_i))`, which asks every node to be compact.

    Yu et al.: *Provable Training for Graph Contrastive Learning* (NeurIPS 2023).

    Args:
        compactness: (N,) of `node_compactness`.

    Raises:
        InputError: there is no node.

    Example:
        >>> pot_loss(torch.zeros(3))
        tensor(0.6931)
    """
    if compactness.ndim != 1 or not len(compactness):
        raise InputError(f"compactness has shape {tuple(compactness.shape)}: expected (N,), one or more nodes.")
    return softplus(-compactness).mean()


def _degree(edges: Tensor, counted: Tensor, num_nodes: int, dtype: torch.dtype) -> Tensor:
    """How many of the counted edges arrive at each node."""
    return torch.zeros(num_nodes, dtype=dtype, device=edges.device).index_add(0, edges[1], counted.to(dtype))


def _all(nodes: Tensor | None, x: Tensor) -> Tensor | slice:
    """Rows of the batch."""
    return slice(None) if nodes is None else nodes


def _normalized(edges: Tensor, num_nodes: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """Edges with one loop a node, and `d̃_s^−½ d̃_t^−½` by the edges that arrive, as a GCN weighs them.

    Loops that were there before weigh 0.
    """
    loops = torch.arange(num_nodes, device=edges.device).expand(2, -1)
    counted = torch.cat([edges[0] != edges[1], torch.ones_like(loops[0], dtype=torch.bool)])
    edges = torch.cat([edges, loops], dim=1)
    degree = _degree(edges, counted, num_nodes, dtype)
    return edges, torch.where(counted, (degree[edges[0]] * degree[edges[1]]).rsqrt(), 0)


def _restricted(
    edges: Tensor, values: tuple[Tensor, ...], nodes: Tensor | None, num_nodes: int, dtype: torch.dtype
) -> tuple[Tensor, ...]:
    """Edges among some nodes, numbered by their places, and their values.

    Without a look at which these are, all edges stay, the others with values of 0.
    """
    if nodes is None:
        return (edges, *(value.to(dtype) for value in values))
    place = torch.full((num_nodes,), -1, device=edges.device)
    place[nodes] = torch.arange(len(nodes), device=edges.device)
    moved = place[edges]
    kept = (moved >= 0).all(dim=0)
    if looking():
        return (moved[:, kept], *(value[kept].to(dtype) for value in values))
    return (moved.clamp_min(0), *(torch.where(kept, value, 0).to(dtype) for value in values))


def _propagate(matrix: tuple[Tensor, Tensor], values: Tensor, rows: int) -> Tensor:
    """Sum over the edges that arrive at a node of weight times value."""
    (source, target), weight = matrix
    return values.new_zeros(rows, values.shape[1]).index_add(0, target, weight[:, None] * values[source])


def _interval(matrix: tuple[Tensor, ...], values: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Smallest and largest `Â V + b` for entries of  between their bounds."""
    edges, lower, upper = matrix
    middle = _propagate((edges, (upper + lower) / 2), values, len(values)) + bias
    radius = _propagate((edges, (upper - lower) / 2), values.abs(), len(values))
    return middle - radius, middle + radius
