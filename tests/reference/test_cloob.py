"""CLOOB, its ablations, its analysis and its schedules against the authors' code, key by key."""

import torch
from torch import Tensor

from dipole.diagnostics import ajne_statistic, covariance_eigenvalues, effective_eigenvalues, score_distributions
from dipole.losses import cloob_loss, info_loob_loss
from dipole.methods.optimization import learning_rate_factor
from dipole.nn import hopfield_retrieve
from reference.cases import Case, parametrize


@parametrize(
    "cloob",
    {"loss": "out.U_x", "ablations": "out.infonce", "analysis": "out.ajne", "schedules": "out.lr_restarts"},
)
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def inverse_temperature(case: Case) -> Tensor:
    return torch.tensor(case.params["inv_tau"], dtype=torch.float64, requires_grad=True)


def check_loss(case: Case) -> None:
    x, y, scale = case.leaf("in.image_features"), case.leaf("in.text_features"), inverse_temperature(case)
    beta = case.params["beta"]
    retrieved = {
        name: hopfield_retrieve(stored, query, beta=beta)
        for name, stored, query in (("U_x", x, x), ("U_y", x, y), ("V_x", y, x), ("V_y", y, y))
    }
    for name, rows in retrieved.items():
        case.check(f"out.{name}", rows)
    terms = {
        "image": info_loob_loss(retrieved["U_x"], retrieved["U_y"], temperature=1 / scale),
        "text": info_loob_loss(retrieved["V_y"], retrieved["V_x"], temperature=1 / scale),
    }
    for name, term in terms.items():
        case.check(f"out.loss_{name}", term)
    # The parts one by one, and the loss that takes all retrievals from one matrix.
    for loss in (terms["image"] + terms["text"], cloob_loss(x, y, temperature=1 / scale, beta=beta, normalize=False)):
        case.check("out.loss", loss)
        case.check_gradient("grad.image_features", loss, x)
        case.check_gradient("grad.text_features", loss, y)
        case.check_gradient("grad.inv_tau", loss, scale)


def check_ablations(case: Case) -> None:
    x, y = case.leaf("in.image_features"), case.leaf("in.text_features")
    options = {"temperature": 1 / case.params["inv_tau"], "beta": case.params["beta"], "normalize": False}
    for name, ablation in (
        ("infoloob", {"retrieval": False}),
        ("infonce", {"retrieval": False, "objective": "info_nce"}),
        ("infonce_hopfield", {"objective": "info_nce"}),
    ):
        loss = cloob_loss(x, y, **options, **ablation)
        case.check(f"out.{name}", loss)
        case.check_gradient(f"grad.{name}_image", loss, x)
        case.check_gradient(f"grad.{name}_text", loss, y)
    temperature = options["temperature"]
    terms = [info_loob_loss(*pair, temperature=temperature, normalize=False) for pair in ((x, y), (y, x))]
    case.check("out.infoloob", terms[0] + terms[1])


def check_analysis(case: Case) -> None:
    x, y = case["in.embeddings"], case["in.embeddings_pair"]
    case.check("out.eigenvalues", covariance_eigenvalues(x))
    case.check("out.effective_eigenvalues", torch.tensor(effective_eigenvalues(x, case.params["threshold"])))
    case.check("out.ajne", ajne_statistic(x))
    scores = score_distributions(x, y)
    case.check("out.mean_matched", torch.tensor(scores.positive.mean, dtype=torch.float64))
    case.check("out.mean_unmatched", torch.tensor(scores.negative.mean, dtype=torch.float64))


def check_schedules(case: Case) -> None:
    total, warmup, rate = (case.params[name] for name in ("total_steps", "warmup", "lr"))
    for name, cycles in (("restarts", case.params["cycles"]), ("cosine", 1)):
        rates = [
            rate * learning_rate_factor(step, total, warmup=warmup, schedule="cosine_restarts", cycles=cycles)
            for step in range(len(case[f"out.lr_{name}"]))
        ]
        case.check(f"out.lr_{name}", torch.tensor(rates, dtype=torch.float64))


CHECKS = {"loss": check_loss, "ablations": check_ablations, "analysis": check_analysis, "schedules": check_schedules}
