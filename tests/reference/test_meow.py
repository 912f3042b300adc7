"""MEOW and AdaMEOW against the authors' code, key by key."""

from typing import Any

import torch
from torch import Tensor

from dipole.losses import (
    cluster_concentration,
    cluster_contrast_loss,
    cluster_negative_weights,
    prototype_loss,
    weighted_info_nce_loss,
)
from dipole.losses.common import unit_rows
from dipole.nn.graph.meta_paths import AdaptiveNegativeWeight, MetaPathEncoder, MetaPathViews
from dipole.views.graph.meta_paths import (
    WeightedEdges,
    binary_with_loops,
    most_similar,
    normalize_adjacency,
    path_similarity,
    row_means,
)
from reference.cases import Case, parametrize

KINDS = {
    "preparation": "in.commuting",
    "losses": "out.loss_infonce_weight_div_M",
    "concentration": "in.centroids",
    "adaptive": "in.mlp0_w",
    "whole": "in.w.att.att",
}
NAMES = {
    "fc_list": "encoder.kinds",
    "agg": "encoder.contexts",
    "Encoder.gc1.weight": "encoder.gcn.first",
    "Encoder.gc2.weight": "encoder.gcn.second",
    "Encoder.gc1.act.weight": "encoder.gcn.activation.weight",
    "att.att": "encoder.attention.vector",
    "att.fc": "encoder.attention.layer",
    "project": "projector",
    "MLP.0": "weigh.first",
    "MLP.2": "weigh.second",
}


@parametrize("meow", KINDS)
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def sparse(matrix: Tensor) -> WeightedEdges:
    index = matrix.nonzero().T
    return WeightedEdges(index, matrix[index[0], index[1]])


def dense(edges: WeightedEdges, like: Tensor) -> Tensor:
    return torch.zeros_like(like).index_put(tuple(edges.pairs), edges.weight.to(like.dtype))


def check_preparation(case: Case) -> None:
    commuting = case["in.commuting"]
    nodes, edges = len(commuting), sparse(commuting)
    case.check("out.pathsim", dense(edges._replace(weight=path_similarity(edges, nodes)), commuting))
    kept = most_similar(edges, nodes, case.params["topk"])
    case.check("out.topk_adj", dense(kept, case["out.topk_adj"]))
    case.check("out.topk_adj_norm", dense(normalize_adjacency(kept, nodes), commuting))
    masked = binary_with_loops(case["in.kept_edges"].T, nodes, torch.float64)
    case.check("out.masked_adj", dense(masked, commuting))
    case.check("out.masked_adj_norm", dense(normalize_adjacency(masked, nodes), commuting))
    plain = normalize_adjacency(kept, nodes, transpose=False)
    torch.testing.assert_close(dense(plain, commuting), case["out.topk_adj_norm"].T)


def clusterings(case: Case) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Assignment, prototypes and concentration of every clustering."""
    numbers = [name for name in case.names("in.assign") if name.isdigit()]
    return [(case[f"in.assign{n}"], case[f"in.proto{n}"], case[f"in.phi{n}"]) for n in numbers]


def prototypes_loss(anchors: Tensor, found: list[tuple[Tensor, Tensor, Tensor]]) -> Tensor:
    return torch.stack([prototype_loss(anchors, proto, assign, phi) for assign, proto, phi in found]).mean()


def check_losses(case: Case) -> None:
    coarse, fine = case.leaf("in.z_coarse"), case.leaf("in.z_fine")
    found, tau = clusterings(case), case.params["tau"]
    assignments = torch.stack([assign for assign, _, _ in found])
    weight = cluster_negative_weights(assignments)
    case.check("out.weight", weight.to(case["out.weight"].dtype))
    contrast = cluster_contrast_loss(coarse, fine, assignments, temperature=tau)
    case.check("out.loss_infonce", contrast)
    case.check("out.loss_infonce", weighted_info_nce_loss(coarse, fine, weight.double(), temperature=tau))
    shared = cluster_contrast_loss(coarse, fine, assignments, temperature=tau, share=True)
    case.check("out.loss_infonce_weight_div_M", shared)
    proto = prototypes_loss(coarse, found)
    case.check("out.loss_proto", proto)
    for rest in case.names("out.loss_total_lam_"):
        case.check(f"out.loss_total_lam_{rest}", contrast + float(rest.replace("p", ".")) * proto)
    case.check_gradient("grad.infonce_coarse", contrast, coarse)
    case.check_gradient("grad.infonce_fine", contrast, fine)
    case.check_gradient("grad.proto_coarse", proto, coarse)
    unweighted = weighted_info_nce_loss(coarse, fine, torch.ones_like(weight).double(), temperature=tau)
    torch.testing.assert_close(float(unweighted.detach()), case.params["wrong_plain_infonce"])


def check_concentration(case: Case) -> None:
    x, assignment, centroids = case["in.x"], case["in.assign"], case["in.centroids"]
    for key, metric in (("phi_official_inner_product", "ip"), ("phi_pcl_l2", "l2")):
        options: dict[str, Any] = {"temperature": case.params["tau"], "metric": metric}
        case.check(f"out.{key}", cluster_concentration(x, assignment, centroids, **options))
    case.check("out.proto", unit_rows(centroids))


def check_adaptive(case: Case) -> None:
    fine, coarse = case.leaf("in.z_fine"), case.leaf("in.z_coarse")
    weigh = AdaptiveNegativeWeight(fine.shape[1], len(case["in.mlp0_b"])).double()
    names = {"first": "mlp0", "second": "mlp2"}
    weigh.load_state_dict({f"{n}.{p}": case[f"in.{k}_{p[0]}"] for n, k in names.items() for p in ("weight", "bias")})
    v, u = unit_rows(fine), unit_rows(coarse)
    case.check("out.weight", weigh(v, u))
    loss = weigh.contrast(v, u, temperature=case.params["tau"])
    case.check("out.loss", loss)
    case.check("out.loss", weighted_info_nce_loss(fine, coarse, weigh(v, u), temperature=case.params["tau"]))
    leaves = {"z_fine": fine, "z_coarse": coarse, "mlp0_w": weigh.first.weight, "mlp2_w": weigh.second.weight}
    for name, leaf in leaves.items():
        case.check_gradient(f"grad.{name}", loss, leaf)


def renamed(name: str) -> str | None:
    """Our name of a parameter of the authors' code; None for one that nothing uses."""
    start = next((theirs for theirs in NAMES if name == theirs or name.startswith(f"{theirs}.")), None)
    if start is None:
        return None
    rest = name.removeprefix(start)
    if start == "agg":
        number = rest.split(".")[1]
        return f"{NAMES[start]}.{number}.0.weight"
    return NAMES[start] + rest


def check_whole(case: Case) -> None:
    features = [name for name in case.names("in.feat_") if not name.endswith("_masked")]
    attributes = [case[f"in.feat_{name}"] for name in features]
    incidences = [case[f"in.inc_{name}"] for name in case.names("in.inc_")]
    others = [name[-1] for name in case.names("in.inc_")]
    kinds = [features.index(name) for name in others]
    weights = {name: case[f"in.w.{name}"] for name in case.names("in.w.")}
    hidden, width = weights["fc_list.0.bias"].shape[0], weights["att.att"].shape[1]
    encoder = MetaPathEncoder(
        [x.shape[1] for x in attributes], [[kind] for kind in kinds], hidden=hidden, width=width, dropout=0.0
    )
    parts: dict[str, torch.nn.Module] = {"encoder": encoder, "projector": torch.nn.Linear(width, width)}
    if "MLP.0.weight" in weights:
        parts["weigh"] = AdaptiveNegativeWeight(width, len(weights["MLP.0.bias"]))
    whole = torch.nn.ModuleDict(parts).double()
    unused = {name for name in weights if renamed(name) is None}
    assert all(name.endswith("gc2.act.weight") and f"grad.{name}" not in case for name in unused)
    whole.load_state_dict({str(renamed(n)): value for n, value in weights.items() if n not in unused})

    adjacency = [case[f"in.adj{n}"] for n in range(len(kinds))]
    means = [dense(row_means(sparse(incidence)), incidence) for incidence in incidences]
    views = MetaPathViews(
        attributes,
        case[f"in.feat_{features[0]}_masked"],
        [[(kind, mean)] for kind, mean in zip(kinds, means, strict=True)],
        adjacency,
        [case[f"in.adj{n}_masked"] for n in range(len(kinds))],
        torch.stack(adjacency).mean(dim=0),
    )
    projected, masked = encoder.project(views)
    case.check("out.h_target", projected[0])
    contexts = encoder.in_context(views, projected, masked)
    for name in case.names("out.ctx"):
        case.check(f"out.ctx{name}", contexts[int(name.removesuffix("_masked"))][name.endswith("_masked")])
    case.check("out.enc_fine0", encoder.gcn(contexts[0][0], adjacency[0]))
    coarse, fine = encoder(views)
    case.check("out.enc_coarse", coarse)
    case.check("out.z_embedding", fine)
    u, v = (unit_rows(torch.tanh(whole["projector"](z))) for z in (coarse, fine))
    case.check("out.z_coarse_proj", u)
    case.check("out.z_fine_proj", v)
    loss = whole_loss(case, whole, u, v)
    case.check("out.loss", loss)
    parameters = dict(whole.named_parameters())
    for name in case.names("grad."):
        case.check_gradient(f"grad.{name}", loss, parameters[str(renamed(name))])


def whole_loss(case: Case, whole: torch.nn.ModuleDict, u: Tensor, v: Tensor) -> Tensor:
    tau = case.params["tau"]
    if "weigh" in whole:
        return whole["weigh"].contrast(v, u, temperature=tau)
    found = clusterings(case)
    contrast = cluster_contrast_loss(u, v, torch.stack([assign for assign, _, _ in found]), temperature=tau)
    proto = prototypes_loss(u, found)
    case.check("out.loss_infonce", contrast)
    case.check("out.loss_proto", proto)
    return contrast + case.params["lam_proto"] * proto


CHECKS = {
    "preparation": check_preparation,
    "losses": check_losses,
    "concentration": check_concentration,
    "adaptive": check_adaptive,
    "whole": check_whole,
}
