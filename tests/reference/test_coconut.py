"""COCONUT's losses, memory and scores against independent loops and the author's herding, key by key."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dipole.evaluation import continual_scores
from dipole.losses import coconut_loss, sup_con_distillation_loss, supervised_multimodal_loss
from dipole.negatives.rehearsal import choose_exemplars
from reference.cases import Case, parametrize

FORMS: dict[str, dict[str, Any]] = {
    "nspt": {"denominator": "mixed"},
    "nspt_literal": {"denominator": "student"},
    "ntpt": {"denominator": "teacher"},
    "nsps": {"positives": "student", "denominator": "student"},
}


@parametrize(
    "coconut",
    {
        "distillation": "out.anchor_index",
        "total": "in.logits",
        "multimodal": "out.rehearsal",
        "herding": "out.icarl",
        "scores": "in.A",
        "sup_con": "in.student",
    },
)
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def anchors_of(label: Tensor, chosen: Tensor) -> Tensor:
    """Chosen rows that have a partner."""
    partner = (label[:, None] == label).sum(dim=1) > 1
    return (chosen & partner).nonzero().flatten()


def check_distillation(case: Case) -> None:
    label, rehearsal, teacher = case["in.label"], case["in.is_rehearsal"], case["in.teacher"]
    index = anchors_of(label, rehearsal)
    case.check("out.anchor_index", index)
    for name, form in FORMS.items():
        student = case.leaf("in.student")
        options = {"anchors": rehearsal, "temperature": case.params["tau"], "normalize": False, **form}
        loss = sup_con_distillation_loss(student, teacher, label, **options)
        case.check(f"out.{name}", loss)
        values = sup_con_distillation_loss(student, teacher, label, **options, reduction="none")
        case.check(f"out.{name}.per_anchor", values[index])
        assert not values[torch.isin(torch.arange(len(values)), index, invert=True)].any()
        case.check_gradient(f"grad.{name}.student", loss, student)


def check_sup_con(case: Case) -> None:
    student, label = case.leaf("in.student"), case["in.label"]
    options = {"temperature": case.params["tau"], "normalize": False, **FORMS["nsps"]}
    loss = sup_con_distillation_loss(student, None, label, **options)
    case.check("out.loss", loss)
    values = sup_con_distillation_loss(student, None, label, **options, reduction="none")
    case.check("out.per_anchor", values[anchors_of(label, torch.ones_like(label, dtype=torch.bool))])
    case.check_gradient("grad.student", loss, student)


def check_multimodal(case: Case) -> None:
    label, rehearsal = case["in.label"], case["in.is_rehearsal"]
    for name, anchors in (("new", ~rehearsal), ("all", None), ("rehearsal", rehearsal)):
        audio, text = case.leaf("in.audio"), case.leaf("in.text")
        options = {"anchors": anchors, "temperature": case.params["tau"], "normalize": False}
        loss = supervised_multimodal_loss(audio, text, label, **options)
        case.check(f"out.{name}", loss)
        case.check_gradient(f"grad.{name}.audio", loss, audio)
        case.check_gradient(f"grad.{name}.text", loss, text)


def check_total(case: Case) -> None:
    leaves = {name: case.leaf(f"in.{name}") for name in ("logits", "audio", "text")}
    logits, audio, text = leaves.values()
    target, given = case["in.target"], case.params
    case.check("out.ce", F.cross_entropy(logits.flatten(0, 1), target.flatten(), ignore_index=given["pad"]))
    loss = coconut_loss(
        logits,
        target,
        audio,
        text,
        case["in.teacher"],
        case["in.label"],
        case["in.is_rehearsal"],
        multimodal_weight=given["lambda_mm"],
        distillation_weight=given["lambda_nspt"],
        temperature=given["tau"],
        # Of this file the page says that its distillation is the mixed form.
        denominator=given.get("denominator", "mixed"),
        ignore_index=given["pad"],
        normalize=False,
    )
    case.check("out.loss", loss)
    for name, leaf in leaves.items():
        case.check_gradient(f"grad.{name}", loss, leaf)


def check_herding(case: Case) -> None:
    features, label, per_class = case["in.features"], case["in.label"], case.params["per_class"]
    case.check("out.icarl", choose_exemplars(features, label, per_class, selection="herding"))
    case.check("out.cluster", choose_exemplars(features, label, per_class, selection="closest"))


def check_scores(case: Case) -> None:
    scores = continual_scores(case["in.A"], case["in.count"])
    case.check("out.step_acc", scores.steps)
    for key, value in (("average_acc", scores.average), ("last_acc", scores.last), ("forgetting", scores.forgetting)):
        case.check(f"out.{key}", torch.tensor(value, dtype=torch.float64))


CHECKS = {
    "distillation": check_distillation,
    "sup_con": check_sup_con,
    "multimodal": check_multimodal,
    "total": check_total,
    "herding": check_herding,
    "scores": check_scores,
}
