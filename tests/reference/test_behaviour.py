"""The behaviour of the contrastive loss: losses, penalties, metrics and memory bank, key by key."""

import torch

from dipole.diagnostics import (
    local_separation,
    loss_at_infinite_temperature,
    loss_at_zero_temperature,
    loss_gradients,
    penalties,
    penalty_entropy,
    relative_penalty,
    tolerance,
    uniformity,
)
from dipole.losses import contrastive_loss_from_similarities, hardest_negatives, simple_loss_from_similarities
from dipole.negatives import InstanceMemoryBank
from reference.cases import Case, parametrize


@parametrize(
    "behaviour", {"penalties": "out.P", "losses": "in.s_neg", "metrics": "out.uniformity", "memory bank": "in.bank"}
)
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def check_penalties(case: Case) -> None:
    s = case.leaf("in.s")
    negatives = ~torch.eye(len(s), dtype=torch.bool)
    off_diagonal = s[negatives].view(len(s), -1)
    temperatures = case.params["temperatures"]
    losses = torch.stack(
        [
            contrastive_loss_from_similarities(s.diagonal(), off_diagonal, temperature=t, reduction="none")
            for t in temperatures
        ]
    )
    case.check("out.loss", losses)
    gradients = [torch.autograd.grad(loss.sum(), s, retain_graph=True)[0] for loss in losses]
    case.check("grad.s", torch.stack(gradients))
    s = s.detach()
    case.check("grad.s", torch.stack([loss_gradients(s, t) for t in temperatures]))
    case.check("out.P", torch.stack([penalties(s, t) for t in temperatures]))
    relative = torch.stack([relative_penalty(s, t, negatives) for t in temperatures])
    case.check("out.r", relative)
    case.check("out.entropy", torch.stack([penalty_entropy(r) for r in relative]))
    case.check("out.limit_zero", torch.stack([loss_at_zero_temperature(s, t) for t in temperatures]))
    case.check("out.limit_inf", torch.stack([loss_at_infinite_temperature(s, t) for t in temperatures]))


def check_losses(case: Case) -> None:
    positive, negative = case.leaf("in.s_pos"), case.leaf("in.s_neg")
    temperature, weight = case.params["temperature"], case.params["lam"]
    for prefix, kept in (("", {}), ("hard_", {"top_k": case.params["top_k"]})):
        contrastive = contrastive_loss_from_similarities(
            positive, negative, temperature=temperature, reduction="none", **kept
        )
        simple = simple_loss_from_similarities(positive, negative, negative_weight=weight, reduction="none", **kept)
        for name, values in ((f"{prefix}contrastive", contrastive), (f"{prefix}simple", simple)):
            case.check(f"out.{name}.per_anchor", values)
            case.check(f"out.{name}", values.mean())
            case.check_gradient(f"grad.{name}.s_pos", values.mean(), positive)
            case.check_gradient(f"grad.{name}.s_neg", values.mean(), negative)
    for choice in ({"top_k": case.params["top_k"]}, {"alpha": case.params["alpha"]}):
        hardest = hardest_negatives(negative.detach(), **choice)
        case.check("out.threshold", hardest.threshold)
        case.check("out.mask", hardest.mask)
        case.check("out.r_hard", relative_penalty(negative.detach(), temperature, hardest.mask))


def check_metrics(case: Case) -> None:
    x, labels = case["in.x"], case["in.labels"]
    case.check("out.uniformity", uniformity(x, case.params["t"]))
    case.check("out.uniformity_with_self", uniformity(x, case.params["t"], include_self=True))
    case.check("out.tolerance", tolerance(x, labels))
    case.check("out.tolerance_indicator", tolerance(x, labels, form="indicator"))
    separation = local_separation(x, case["in.view"], k=case.params["top_k"])
    case.check("out.positive_similarity", separation.positive_similarity)
    case.check("out.top_negative_similarity", separation.top_negative_similarity)


def check_memory_bank(case: Case) -> None:
    before = case["in.bank"]
    bank = InstanceMemoryBank(*before.shape, momentum=case.params["momentum"]).double()
    bank.entries.copy_(before)
    bank.update(case["in.index"], case["in.z"])
    case.check("out.bank_after", bank.entries)


CHECKS = {
    "penalties": check_penalties,
    "losses": check_losses,
    "metrics": check_metrics,
    "memory bank": check_memory_bank,
}
