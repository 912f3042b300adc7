"""CSGCL against the authors' code, key by key."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dipole.losses import node_contrast, team_up_gamma, team_up_loss
from dipole.views.graph import (
    cav_drop_probability,
    ced_keep_probability,
    communal_edge_score,
    communal_edge_weight,
    community_strength,
)
from reference.cases import Case, parametrize


@parametrize("csgcl", {"communities": "out.community_strength", "team_up": "out.gamma"})
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def check_communities(case: Case) -> None:
    edges, community, x = case["in.edge_index"], case["in.community"], case["in.x"]
    strength = community_strength(edges, community)
    case.check("out.community_strength", strength)
    assert float(strength.sum()) == pytest.approx(case.params["modularity"])
    assert float(strength.sum()) == pytest.approx(case.params["nx_modularity"])
    case.check("out.node_strength", strength[community])
    case.check("out.edge_weight_raw", communal_edge_score(edges, community, strength))
    weight = communal_edge_weight(edges, community, strength)
    case.check("out.edge_weight", weight)
    rate, threshold = case.params["ced_rate"], case.params["ced_threshold"]
    case.check("out.edge_keep_prob", ced_keep_probability(weight, rate, threshold=threshold))
    for key, dense in (("out.feature_drop_prob", False), ("out.feature_drop_prob_dense", True)):
        if key in case:
            rate, threshold = case.params["cav_rate"], case.params["cav_threshold"]
            found = cav_drop_probability(x, strength[community], rate, threshold=threshold, dense=dense)
            case.check(key, found)


def check_team_up(case: Case) -> None:
    leaves = {name: case.leaf(f"in.{name}") for name in ("z1", "z2", "fc1_w", "fc2_w")}
    h1, h2 = (
        F.linear(F.elu(F.linear(leaves[view], leaves["fc1_w"], case["in.fc1_b"])), leaves["fc2_w"], case["in.fc2_b"])
        for view in ("z1", "z2")
    )
    strength = case["in.node_strength"]
    params = case.params
    gamma = team_up_gamma(params["epoch"], start=params["t0"], maximum=params["gamma_max"])
    assert gamma == pytest.approx(float(case["out.gamma"]))
    temperature, reduction = params["tau"], params["reduction"]
    rows = node_contrast(h1, h2, bonus=gamma * strength, temperature=temperature)
    case.check("out.l12", rows.first)
    case.check("out.l21", rows.second)
    loss = team_up_loss(h1, h2, strength, gamma=gamma, temperature=temperature, reduction=reduction)
    case.check("out.loss", loss)
    case.check("out.infonce_no_teamup", team_up_loss(h1, h2, temperature=temperature, reduction=reduction))
    if params["batch_size"] is not None:  # the authors' row batches, which must not change the result
        batches = torch.arange(len(h1)).split(params["batch_size"])
        parts = [_sum(h1, h2, strength, gamma, temperature, batch) for batch in batches]
        total = torch.stack(parts).sum()
        case.check("out.loss", total if reduction == "sum" else total / len(h1))
    for name, leaf in leaves.items():
        case.check_gradient(f"grad.{name}", loss, leaf)


def _sum(h1: Tensor, h2: Tensor, strength: Tensor, gamma: float, temperature: float, anchors: Tensor) -> Tensor:
    return team_up_loss(h1, h2, strength, gamma=gamma, temperature=temperature, anchors=anchors, reduction="sum")


CHECKS = {"communities": check_communities, "team_up": check_team_up}
