"""Diagnostics of the temperature paper against independent values."""

import pytest
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
from dipole.losses import hardest_negatives
from reference.cases import Case, load


def case_with(key: str) -> Case:
    return next(case for case in load("behaviour") if key in case)


def test_penalties_and_limits() -> None:
    case = case_with("out.P")
    s = case["in.s"]
    negatives = ~torch.eye(len(s), dtype=torch.bool)
    temperatures = case.params["temperatures"]
    r = torch.stack([relative_penalty(s, t, negatives) for t in temperatures])
    case.check("out.r", r)
    case.check("out.entropy", torch.stack([penalty_entropy(shares) for shares in r]))
    case.check("out.P", torch.stack([penalties(s, t) for t in temperatures]))
    case.check("grad.s", torch.stack([loss_gradients(s, t) for t in temperatures]))
    case.check("out.limit_zero", torch.stack([loss_at_zero_temperature(s, t) for t in temperatures]))
    case.check("out.limit_inf", torch.stack([loss_at_infinite_temperature(s, t) for t in temperatures]))


@pytest.mark.parametrize("option", ["top_k", "alpha"])
def test_hard_negatives(option: str) -> None:
    case = case_with("out.r_hard")
    s_neg = case["in.s_neg"]
    kept = hardest_negatives(s_neg, **{option: case.params[option]})
    case.check("out.threshold", kept.threshold)
    assert torch.equal(kept.mask, case["out.mask"])
    case.check("out.r_hard", relative_penalty(s_neg, case.params["temperature"], kept.mask))


def test_metrics() -> None:
    case = case_with("out.uniformity")
    x, labels = case["in.x"], case["in.labels"]
    case.check("out.uniformity", uniformity(x, case.params["t"]))
    case.check("out.uniformity_with_self", uniformity(x, case.params["t"], include_self=True))
    case.check("out.tolerance", tolerance(x, labels))
    case.check("out.tolerance_indicator", tolerance(x, labels, form="indicator"))
    found = local_separation(x, case["in.view"], k=case.params["top_k"])
    case.check("out.positive_similarity", found.positive_similarity)
    case.check("out.top_negative_similarity", found.top_negative_similarity)
