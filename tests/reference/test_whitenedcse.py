"""WhitenedCSE against the authors' code (its syntax repaired) and independent code, key by key."""

import pytest
import torch
import torch.nn.functional as F

from dipole.diagnostics import alignment, uniformity
from dipole.losses import info_nce_loss, multi_positive_info_nce_loss
from dipole.nn.text import pool
from dipole.nn.whitening import ShuffledGroupWhitening, group_whiten
from reference.cases import Case, parametrize


@parametrize("whitenedcse", {"whitening": "in.x", "loss": "in.z", "end to end": "in.h"})
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def check_whitening(case: Case) -> None:
    x, w, permutations = case.leaf("in.x"), case["in.w"], case["in.perm"]
    shuffle, groups = case.params["shuffle"], case.params["num_groups"]
    shape = (len(permutations), -1, x.shape[1])
    assert shuffle or torch.equal(permutations, torch.arange(x.shape[1]).expand_as(permutations))
    for name, detach in (("detached_W", True), ("full", False)):
        module = ShuffledGroupWhitening(x.shape[1], groups, shuffle=shuffle, eps=0.0, detach=detach)
        y = module(x.view(shape), permutations).flatten(0, 1)
        case.check("out.y", y)
        case.check_gradient(f"grad.x.{name}", (y * w).sum(), x)
    module.eval()
    case.check("out.y_eval", module(x.view(shape), case["in.perm_eval"][None]).flatten(0, 1))
    case.check("out.y_eval", group_whiten(x, groups, case["in.perm_eval"]))


def check_loss(case: Case) -> None:
    z, temperature, weights = case.leaf("in.z"), case.params["temperature"], case.params["lam"]
    views = z.transpose(0, 1)
    for name, options in (
        ("sum", {}),
        ("weighted_sum", {"weights": weights}),
        ("inside_log", {"weights": weights, "mode": "inside_log"}),
    ):
        loss = multi_positive_info_nce_loss(views[0], views[1:], temperature=temperature, **options)
        case.check(f"out.loss_{name}", loss)
        case.check_gradient(f"grad.z.{name}", loss, z)
    single = [info_nce_loss(views[0], view, temperature=temperature) for view in views[1:]]
    case.check("out.loss_per_view", torch.stack(single))
    for name, value in (("align", alignment(views[0], views[1])), ("uniform", uniformity(views[0]))):
        case.check(f"out.{name}", value)
        case.check_gradient(f"grad.z.{name}", value, z)


def check_end_to_end(case: Case) -> None:
    hidden, weight, bias = case.leaf("in.h"), case.leaf("in.weight"), case.leaf("in.bias")
    permutations = case["in.perm"]
    cls = pool(hidden, torch.ones(hidden.shape[:2], dtype=torch.long), "cls")
    # Row V · sample + view.
    views = cls.unflatten(0, (-1, len(permutations))).transpose(0, 1)
    for name, options in (
        ("official_layout", {"layout": "official"}),
        ("paper_layout_detached", {}),
        ("paper_layout_full", {"detach": False}),
    ):
        module = ShuffledGroupWhitening(cls.shape[1], case.params["num_groups"], eps=0.0, **options)
        z = torch.tanh(F.linear(module(views, permutations), weight, bias))
        loss = multi_positive_info_nce_loss(z[0], z[1:], temperature=case.params["temperature"])
        case.check(f"out.loss_{name}", loss)
        for key, leaf in (("h", hidden), ("weight", weight), ("bias", bias)):
            case.check_gradient(f"grad.{key}.{name}", loss, leaf)
    official, paper = case["out.loss_official_layout"], case["out.loss_paper_layout_detached"]
    assert float(official) != pytest.approx(float(paper), rel=0.05)


CHECKS = {"whitening": check_whitening, "loss": check_loss, "end to end": check_end_to_end}
