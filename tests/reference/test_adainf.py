"""AdaInf's mixture, loss, schedule and graph against the authors' code and independent formulas, key by key."""

import torch
from torch import Tensor

from dipole.data.inflated import inflate
from dipole.diagnostics.overlap_graph import labelling_error, laplacian_spectrum, overlap_graph
from dipole.losses import same_index_nt_xent_loss
from dipole.methods.optimization import learning_rate_factor
from reference.cases import Case, parametrize


@parametrize("adainf", {"inflation": "in.real", "loss": "in.z", "schedule": "out.lr", "graph": "in.x"})
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def total_variation(p: Tensor, q: Tensor) -> Tensor:
    return (p - q).abs().sum() / 2


def check_inflation(case: Case) -> None:
    real, generated, labels = case["in.real"], case["in.generated"], case["in.labels"]
    assert (len(real), len(generated)) == (case.params["n_real"], case.params["n_generated"])
    share, source, weights = inflate(len(real), len(generated), case.params["dup"])
    case.check("out.source_index", source)
    case.check("out.data", torch.cat([real, generated])[source])
    case.check("out.targets", torch.cat([labels, torch.full((len(generated),), -1)])[source])
    case.check("out.beta", torch.tensor(share, dtype=torch.float64))
    case.check("out.sampling_weight", weights)
    p, q = case["in.p_real"], case["in.p_generated"]
    mixed = share * p + (1 - share) * q
    case.check("out.p_inflated", mixed)
    case.check("out.tv_generated_real", total_variation(q, p))
    case.check("out.tv_inflated_real", total_variation(mixed, p))
    case.check("out.tv_inflated_real", (1 - share) * total_variation(q, p))


def check_loss(case: Case) -> None:
    for key, suffix in (("index", ""), ("source_index", "_by_source")):
        z = case.leaf("in.z")
        loss = same_index_nt_xent_loss(z, case[f"in.{key}"], temperature=case.params["temperature"])
        case.check(f"out.loss{suffix}", loss)
        case.check_gradient(f"grad.z{suffix}", loss, z)


def check_schedule(case: Case) -> None:
    params = case.params
    base = params["base_lr"]
    rates = [
        base
        * learning_rate_factor(
            step,
            params["max_steps"],
            warmup=params["warmup_steps"],
            warmup_start=params["warmup_start_lr"] / base,
            min_ratio=params["eta_min"] / base,
        )
        for step in range(params["max_steps"])
    ]
    case.check("out.lr", torch.tensor(rates, dtype=torch.float64))


def check_graph(case: Case) -> None:
    x, radius = case["in.x"], case.params["radius"]
    graph = overlap_graph(x, radius)
    case.check("out.W", torch.from_numpy(graph.toarray()))
    spectrum = laplacian_spectrum(graph)
    case.check("out.eigenvalues", spectrum)
    case.check("out.lambda_k_plus_1", spectrum[case.params["k"]])
    share, labels = labelling_error(x, radius)
    case.check("out.labelling_error_per_sample", share)
    case.check("out.labelling_error", share.mean())
    case.check("out.labels", labels)


CHECKS = {"inflation": check_inflation, "loss": check_loss, "schedule": check_schedule, "graph": check_graph}
