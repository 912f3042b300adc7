"""POT against the authors' code, and the sound bound against independent loops, key by key."""

import torch
import torch.nn.functional as F
from torch import Tensor

from dipole.losses import message_passing_bounds, node_compactness, pot_loss, team_up_loss
from dipole.losses.node_compactness import EdgeBounds, _normalized, _propagate, compactness_lines
from dipole.losses.team_up import node_contrast
from dipole.views.graph import centrality_drop_probability, degree_centrality
from reference.cases import Case, parametrize

LINES = {
    "l1": "lower_1",
    "u1": "upper_1",
    "l2": "lower_2",
    "u2": "upper_2",
    "Wcl": "direction",
    "slope1": "slope_1",
    "bias1_U": "offset_1",
    "slope2": "slope_2",
    "bias2_U": "offset_2",
    "W_tilde_2": "weight_2",
    "b_tilde_2": "bias_2",
    "W_tilde_1": "weight_1",
    "b_tilde_1": "bias_1",
}
WEIGHTS = ("W1", "b1", "W2", "b2")
KINDS = {
    "sound": "out.true_margin",
    "objective": "out.semi_12",
    "budget": "out.drop_prob",
    "regulariser": "out.score_paper",
}


@parametrize("pot", KINDS)
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def dense(edges: Tensor, values: Tensor, nodes: int) -> Tensor:
    """The matrix, rows being targets."""
    return torch.zeros(nodes, nodes, dtype=torch.float64).index_put((edges[1], edges[0]), values)


def encode(x: Tensor, edges: Tensor, weights: tuple[Tensor, ...], slope: float) -> Tensor:
    """The two layers of the authors' encoder."""
    w1, b1, w2, b2 = weights
    matrix = _normalized(edges, len(x), x.dtype)
    hidden = F.leaky_relu(_propagate(matrix, x @ w1, len(x)) + b1, slope)
    return F.leaky_relu(_propagate(matrix, hidden @ w2, len(x)) + b2, slope)


def check_bounds(case: Case, bounds: EdgeBounds, nodes: int) -> None:
    if "out.q_max_drop" in case:
        case.check("out.q_max_drop", bounds.most_dropped.to(case["out.q_max_drop"].dtype))
    case.check("out.A_upper", dense(bounds.edge_index, bounds.upper, nodes))
    if "out.A_lower" in case:
        case.check("out.A_lower", dense(bounds.edge_index, bounds.lower, nodes))


def check_lines(case: Case, lines: object) -> None:
    for key, name in LINES.items():
        if f"out.{key}" in case:
            case.check(f"out.{key}", getattr(lines, name))


def check_regulariser(case: Case) -> None:
    x, nodes, slope = case.leaf("in.x"), case["in.node_list"], case.params["negative_slope"]
    weights = tuple(case.leaf(f"in.{name}") for name in WEIGHTS)
    bounds = message_passing_bounds(case["in.edge_index"], len(x), drop_rate=case.params["drop_rate"])
    check_bounds(case, bounds, len(x))
    z_other = encode(x, case["in.edge_index_other"], weights, slope)[nodes]
    case.check("in.z_other", z_other)
    given = case.leaf("in.z_other")
    check_lines(case, compactness_lines(x, weights, given, bounds, nodes, negative_slope=slope))
    edges, weight = _normalized(case["in.edge_index_aug"], len(x), torch.float64)
    case.check("out.A_hat_aug_target", dense(edges, weight, len(x))[nodes][:, nodes])
    alone: list[Tensor] = []
    for suffix, official in (("", True), ("_paper", False)):
        options = {"negative_slope": slope, "official_orientation": official}
        score = node_compactness(x, weights, z_other, bounds, case["in.edge_index_aug"], nodes, **options)
        loss = pot_loss(score)
        case.check(f"out.score{suffix}", score)
        case.check(f"out.loss{suffix}", loss)
        for name, leaf in zip((*WEIGHTS, "x"), (*weights, x), strict=True):
            key = f"grad.loss{suffix}_{name}" if suffix else f"grad.{name}"
            if key in case:
                case.check_gradient(key, loss, leaf)
        alone.append(pot_loss(node_compactness(x, weights, given, bounds, case["in.edge_index_aug"], nodes, **options)))
    # The file's gradient is that of both orientations together: it was collected over two backward passes.
    case.check_gradient("grad.z_other_direct", alone[0] + alone[1], given)


def check_objective(case: Case) -> None:
    x, params = case["in.x"], case.params
    weights = tuple(case.leaf(f"in.{name}") for name in WEIGHTS)
    fc1, fc2 = case.leaf("in.fc1_w"), case.leaf("in.fc2_w")
    views = [encode(x, case[f"in.edge_index_{view}"], weights, 0.0) for view in (1, 2)]
    h1, h2 = (F.linear(F.elu(F.linear(z, fc1, case["in.fc1_b"])), fc2, case["in.fc2_b"]) for z in views)
    rows = node_contrast(h1, h2, temperature=params["tau"])
    for key, value in (("z1", views[0]), ("z2", views[1]), ("semi_12", rows.first), ("semi_21", rows.second)):
        case.check(f"out.{key}", value)
    contrast = team_up_loss(h1, h2, temperature=params["tau"])
    case.check("out.nce", contrast)
    for suffix, official in (("", True), ("_paper", False)):
        terms = []
        for view in (1, 2):
            bounds = message_passing_bounds(case["in.edge_index"], len(x), drop_rate=params[f"drop_rate_{view}"])
            edges = case[f"in.edge_index_{view}"]
            score = node_compactness(x, weights, views[2 - view], bounds, edges, official_orientation=official)
            case.check(f"out.score_{view}{suffix}", score)
            terms.append(pot_loss(score))
            if official:
                case.check(f"out.pot_{view}", terms[-1])
        term = (terms[0] + terms[1]) / 2
        case.check(f"out.pot{suffix}", term)
        loss = (1 - params["kappa"]) * contrast + params["kappa"] * term
        case.check(f"out.loss{suffix}", loss)
        for name, leaf in zip((*WEIGHTS, "fc1_w", "fc2_w"), (*weights, fc1, fc2), strict=True):
            key = f"grad.loss{suffix}_{name}" if suffix else f"grad.{name}"
            if key in case:
                case.check_gradient(key, loss, leaf)


def check_budget(case: Case) -> None:
    edges, nodes = case["in.edge_index"], len(case["out.expected_dropped"])
    centrality = degree_centrality(edges, nodes).double().log()[edges[1]]
    weight = (centrality.max() - centrality) / (centrality.max() - centrality.mean())
    case.check("out.drop_weights", weight)
    probability = centrality_drop_probability(weight, case.params["p"], threshold=case.params["threshold"])
    case.check("out.drop_prob", probability)
    expected = torch.zeros(nodes, dtype=torch.float64).index_add(0, edges[1], probability.double())
    case.check("out.expected_dropped", expected)
    check_bounds(case, message_passing_bounds(edges, nodes, expected_drops=expected), nodes)


def check_sound(case: Case) -> None:
    x, slope = case["in.x"], case.params["negative_slope"]
    weights = tuple(case[f"in.{name}"] for name in WEIGHTS)
    bounds = message_passing_bounds(case["in.edge_index"], len(x), drop_rate=case.params["drop_rate"])
    check_bounds(case, bounds, len(x))
    options = {"negative_slope": slope, "bound": "sound"}
    check_lines(case, compactness_lines(x, weights, case["in.z_other"], bounds, **options))
    edges = case["in.edge_index_aug"]
    case.check("out.A_hat_aug", dense(*_normalized(edges, len(x), torch.float64), len(x)))
    score = node_compactness(x, weights, case["in.z_other"], bounds, edges, **options)
    case.check("out.score", score)
    case.check("out.loss", pot_loss(score))
    margin = (encode(x, edges, weights, slope) * case["out.Wcl"]).sum(dim=1)
    case.check("out.true_margin", margin)
    assert bool((score <= margin + 1e-9).all())


CHECKS = {
    "sound": check_sound,
    "objective": check_objective,
    "budget": check_budget,
    "regulariser": check_regulariser,
}
