"""AMCL's temperatures, regulariser and losses against independent loops, key by key."""

from typing import Any

import torch
from torch import Tensor

from dipole.losses.amcl import (
    amcl_barlow_loss,
    amcl_loss,
    amcl_simsiam_loss,
    hardest_candidates,
    temperature_regulariser,
)
from dipole.losses.common import unit_rows
from dipole.losses.non_contrastive import barlow_twins_loss, cross_correlation
from dipole.nn.pair_temperature import PairTemperature
from reference.cases import Case, parametrize


@parametrize("amcl", {"temperature": "in.W1", "pairs": "in.z1", "simsiam": "in.tau_tilde", "barlow": "in.z_a"})
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def network_of(case: Case, form: Any, **weights: Tensor) -> PairTemperature:
    """A network with the stored weights."""
    sizes = {"lower": case.params["lower"], "upper": case.params["upper"], "form": form}
    network = PairTemperature(case.params["embed_dim"], len(weights["first.weight"]), **sizes).double()
    network.load_state_dict(weights)
    return network


def check_temperature(case: Case) -> None:
    names = {"first.weight": "W1", "first.bias": "b1", "second.weight": "W2", "second.bias": "b2"}
    network = network_of(case, "concat", **{name: case[f"in.{key}"] for name, key in names.items()})
    z_i, z_j = case.leaf("in.z_i"), case.leaf("in.z_j")
    tau = network.pairs(z_i, z_j)
    case.check("out.tau", tau)
    case.check("out.tau", network(z_i, z_j).diagonal(dim1=1, dim2=2))
    case.check("out.tau_swapped", network.pairs(z_j, z_i))
    weights = {"first.weight": case["in.phi_W"], "first.bias": case["in.phi_b"]}
    case.check("out.tau_dot", network_of(case, "dot", **weights).pairs(z_i, z_j))
    omega = temperature_regulariser(tau, case.params["embed_dim"])
    case.check("out.omega", omega)
    loss = case.params["beta"] * omega.mean(dim=1).sum()
    case.check("out.reg", loss)
    for name, leaf in (("z_i", z_i), ("z_j", z_j), ("W1", network.first.weight)):
        case.check_gradient(f"grad.{name}", loss, leaf)


def check_pairs(case: Case) -> None:
    leaves = {name: case.leaf(f"in.{name}") for name in ("z1", "z2", "tau")}
    z1, z2, tau = leaves.values()
    rows = torch.cat([unit_rows(z1), unit_rows(z2)], dim=1)
    own = torch.arange(rows.shape[1])
    excluded = torch.stack([own, own.roll(len(own) // 2)], dim=1)
    case.check("out.hardest_negative_index", hardest_candidates(rows @ rows.mT, excluded))
    for loss_name, with_positive in (("nt_xent", False), ("infonce", True)):
        for mode in ("max", "logsumexp"):
            options: dict[str, Any] = {"beta": case.params["beta"], "mode": mode, "include_positive": with_positive}
            options["normalize"] = False  # the stored rows are of length 1, and so are the gradients of such rows
            key = f"{loss_name}.{mode}"
            case.check(f"out.{key}.per_anchor", amcl_loss(z1, z2, tau, **options, reduction="none"))
            loss = amcl_loss(z1, z2, tau, **options)
            case.check(f"out.{key}", loss)
            for name, leaf in leaves.items():
                case.check_gradient(f"grad.{key}.{name}", loss, leaf)


def check_simsiam(case: Case) -> None:
    leaves = {name: case.leaf(f"in.{name}") for name in ("z", "z_plus", "tau", "tau_tilde")}
    z, z_plus, tau, tau_tilde = leaves.values()
    given = (z, z_plus, case["in.h"], case["in.h_plus"], tau, tau_tilde)
    case.check("out.per_sample", amcl_simsiam_loss(*given, beta=case.params["beta"], reduction="none"))
    loss = amcl_simsiam_loss(*given, beta=case.params["beta"])
    case.check("out.loss", loss)
    for name, leaf in leaves.items():
        case.check_gradient(f"grad.{name}", loss, leaf)


def check_barlow(case: Case) -> None:
    leaves = {name: case.leaf(f"in.{name}") for name in ("z_a", "z_b", "tau")}
    z_a, z_b, tau = leaves.values()
    case.check("out.cross_correlation", cross_correlation(z_a, z_b, unbiased=True))
    weight = case.params["lam"]
    loss = amcl_barlow_loss(z_a, z_b, tau, beta=case.params["beta"], off_diagonal_weight=weight)
    case.check("out.loss", loss)
    plain = [barlow_twins_loss(a, b, off_diagonal_weight=weight, unbiased=True) for a, b in zip(z_a, z_b, strict=True)]
    case.check("out.plain", torch.stack(plain).sum())
    for name, leaf in leaves.items():
        case.check_gradient(f"grad.{name}", loss, leaf)


CHECKS = {"temperature": check_temperature, "pairs": check_pairs, "simsiam": check_simsiam, "barlow": check_barlow}
