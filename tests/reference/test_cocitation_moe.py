"""The co-citation experts against the authors' code, key by key."""

from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dipole.data.text import co_citation_pairs
from dipole.evaluation import f1_max, similarity_ratio
from dipole.losses import (
    domain_router_loss,
    info_nce_loss,
    load_balancing_loss,
    mnr_plus_loss,
    similarity_targets,
)
from dipole.nn.text import MixtureOfExperts, SentencePooler, pool
from reference.cases import Case, parametrize

KINDS = {
    "enforced": "in.expert0.Wi",
    "losses": "in.a",
    "routers": "in.gate",
    "router losses": "in.router_logits",
    "pooler": "in.ln_weight",
    "pairs of scores": "in.scores",
    "co-citations": "in.edges",
}


@parametrize("cocitation-moe", KINDS)
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def numbers(case: Case) -> list[int]:
    """Which experts there are."""
    return sorted({int(name.split(".")[0].removeprefix("expert")) for name in case.names("in.") if "expert" in name})


def check_enforced(case: Case) -> None:
    from transformers import ModernBertConfig
    from transformers.models.modernbert.modeling_modernbert import ModernBertMLP

    hidden, experts = case.leaf("in.hidden"), numbers(case)
    inner = case["in.expert0.Wo"].shape[1]
    config = ModernBertConfig(hidden_size=hidden.shape[2], intermediate_size=inner, mlp_bias=False, mlp_dropout=0.0)
    mixture = MixtureOfExperts(ModernBertMLP(config), len(experts), width=hidden.shape[2]).double()
    for number in experts:
        names = {"Wi.weight": "Wi", "Wo.weight": "Wo"}
        mixture.experts[number].load_state_dict({k: case[f"in.expert{number}.{v}"] for k, v in names.items()})
    mixture.routing.start(case["in.assignment"])
    out = mixture(hidden)
    case.check("out.out", out)
    total = (out * case["in.cotangent"]).sum()
    case.check_gradient("grad.hidden", total, hidden)
    for number in experts:
        for name in ("Wi", "Wo"):
            weight = getattr(mixture.experts[number], name).weight
            (gradient,) = torch.autograd.grad(total, weight, retain_graph=True, allow_unused=True)
            case.check(f"grad.expert{number}.{name}", torch.zeros_like(weight) if gradient is None else gradient)


def as_released(a: Tensor, b: Tensor, scale: float) -> Tensor:
    """The first release's loss: the cosines of the pairs against their row numbers, as if these were probabilities."""
    scores = F.cosine_similarity(a, b, dim=-1) * scale
    return F.cross_entropy(scores, torch.arange(len(a), dtype=a.dtype))


def check_losses(case: Case) -> None:
    a, b, temperature, scale = case.leaf("in.a"), case.leaf("in.b"), case.params["temp"], case.params["scale"]
    losses = {
        "mnr": info_nce_loss(a, b, temperature=1.0, normalize=False),
        "mnr_cos": info_nce_loss(a, b, temperature=1.0),
        "mnr_cos_scale20": info_nce_loss(a, b, temperature=1 / scale),
        "mnr_plus": mnr_plus_loss(a, b),
        "mnr_plus_cos": mnr_plus_loss(a, b, normalize=True),
        "clip_temp": mnr_plus_loss(a, b, temperature=temperature),
        "v1_mnr_as_released": as_released(a, b, scale),
    }
    for name, loss in losses.items():
        case.check(f"out.{name}", loss)
        for key, leaf in (("a", a), ("b", b)):
            if f"grad.{name}.{key}" in case:
                case.check_gradient(f"grad.{name}.{key}", loss, leaf)
    targets = similarity_targets(a, b)
    case.check("out.mnr_plus_targets_rows", targets.rows)
    case.check("out.mnr_plus_targets_cols", targets.columns)


def check_routers(case: Case) -> None:
    hidden, gate, experts = case["in.hidden"], case["in.gate"], numbers(case)
    inner, width = case["in.expert0.up.weight"].shape
    layer = nn.Sequential(nn.Linear(width, inner), nn.GELU(), nn.Linear(inner, width))
    for router, top_k in (("switch", 1), ("sentence_top_k", case.params["topk"]), ("token_top_k", case.params["topk"])):
        mixture = MixtureOfExperts(layer, len(experts), width=width, router=cast(Any, router), top_k=top_k).double()
        mixture.gate.load_state_dict({"weight": gate})
        for number in experts:
            names = {
                f"{place}.{kind}": f"{name}.{kind}"
                for place, name in ((0, "up"), (2, "down"))
                for kind in ("weight", "bias")
            }
            mixture.experts[number].load_state_dict({k: case[f"in.expert{number}.{v}"] for k, v in names.items()})
        name = {"switch": "sentence_switch", "sentence_top_k": "sentence_topk", "token_top_k": "token_topk"}[router]
        case.check(f"out.{name}", mixture(hidden))
        case.check("out.router_logits", mixture.routing.logits[0])


def check_router_losses(case: Case) -> None:
    logits = case.leaf("in.router_logits")
    assert len(logits) == case.params["nlayers"]
    losses = {
        "specified_expert": domain_router_loss(logits, case["in.domain"]),
        "load_balancing": load_balancing_loss(logits),
    }
    for name, loss in losses.items():
        case.check(f"out.{name}", loss)
        case.check_gradient(f"grad.{name}", loss, logits)


def check_pooler(case: Case) -> None:
    hidden = case.leaf("in.hidden")
    pooler = SentencePooler(hidden.shape[2]).double()
    pooler.norm.eps = case.params["eps"]
    names = {"norm.weight": "ln_weight", "norm.bias": "ln_bias", "first.weight": "w1", "first.bias": "b1"}
    names |= {"second.weight": "w2", "second.bias": "b2"}
    pooler.load_state_dict({ours: case[f"in.{theirs}"] for ours, theirs in names.items()})
    mean = pool(hidden, case["in.mask"].bool(), "mean")
    case.check("out.mean", mean)
    out = pooler(mean)
    case.check("out.out", out)
    case.check_gradient("grad.hidden", (out * case["in.cotangent"]).sum(), hidden)


def check_scores(case: Case) -> None:
    scores, labels = case["in.scores"], case["in.labels"]
    best, grid = f1_max(scores, labels), f1_max(scores, labels, grid=0.001)
    found = {name: getattr(best, name) for name in ("f1", "precision", "recall", "threshold")}
    found |= {f"v1_grid_{name}": getattr(grid, name) for name in ("threshold", "f1", "accuracy")}
    found["sim_ratio"] = similarity_ratio(scores, labels)
    for name, value in found.items():
        case.check(f"out.{name}", torch.tensor(value, dtype=torch.float64))


def check_co_citations(case: Case) -> None:
    found = co_citation_pairs(np.asarray(case["in.edges"]))
    case.check("out.pairs", torch.from_numpy(found.pairs))
    case.check("out.counts", torch.from_numpy(found.counts))


CHECKS = {
    "enforced": check_enforced,
    "losses": check_losses,
    "routers": check_routers,
    "router losses": check_router_losses,
    "pooler": check_pooler,
    "pairs of scores": check_scores,
    "co-citations": check_co_citations,
}
