"""MLCD's labels, losses and sampling of classes against independent loops and the authors' sampler, key by key."""

from typing import Any

import torch

from dipole.losses import margin_logits, margin_softmax_loss, multilabel_cluster_loss
from dipole.losses.common import unit_rows
from dipole.losses.mlcd import own_classes, sample_classes
from dipole.nn.partial_classifier import PartialClassifier
from dipole.ops.clusters import nearest_centres
from reference.cases import Case, parametrize

KINDS = {
    "labels": "in.features",
    "losses": "in.positive_mask",
    "whole": "grad.centers",
    "sampling": "in.uniform",
    "single_label": "in.cosine",
}


@parametrize("mlcd", KINDS)
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def check_labels(case: Case) -> None:
    features, centres = case["in.features"], case["in.centers"]
    labels, scores = nearest_centres(features, centres, case.params["num_positives"])
    case.check("out.labels", labels)
    case.check("out.scores", scores)
    every, cosine = nearest_centres(features, centres, len(centres))
    near = torch.where(cosine >= case.params["threshold"], every, -1)
    case.check("out.threshold_mask", own_classes(near, len(centres)))


def check_losses(case: Case) -> None:
    z, w, own, others = case.leaf("in.embeddings"), case.leaf("in.centers"), *masks_of(case)
    options = {name: case.params[name] for name in ("scale", "margin")}
    case.check("out.cosine", unit_rows(z) @ unit_rows(w).T)
    loss = multilabel_cluster_loss(z, w, own, others, **options)
    case.check("out.loss", loss)
    case.check("out.loss_per_sample", multilabel_cluster_loss(z, w, own, others, **options, reduction="none"))
    none = torch.zeros_like(own)
    case.check("out.positive_term", multilabel_cluster_loss(z, w, own, none, **options, reduction="none"))
    case.check("out.negative_term", multilabel_cluster_loss(z, w, none, others, **options, reduction="none"))
    interacting = multilabel_cluster_loss(z, w, own, others, **options, mode="mlc")
    case.check("out.loss_mlc", interacting)
    case.check("out.loss_arcface", multilabel_cluster_loss(z, w, own, others, **options, kind="arcface"))
    for suffix, value in (("", loss), ("_mlc", interacting)):
        case.check_gradient(f"grad.embeddings{suffix}", value, z)
        case.check_gradient(f"grad.centers{suffix}", value, w)


def masks_of(case: Case) -> tuple[torch.Tensor, torch.Tensor]:
    return case["in.positive_mask"], case["in.negative_mask"]


def check_sampling(case: Case) -> None:
    labels, uniform, classes = case["in.labels"], case["in.uniform"], case.params["num_classes"]
    kept, places = sample_classes(labels, classes, case.params["ratio"], uniform=uniform)
    assert len(kept) == case.params["num_sample"]
    case.check("out.sampled", kept)
    case.check("out.remapped_labels", places)
    few, _ = sample_classes(labels, classes, 2 / classes, uniform=uniform)
    case.check("out.sampled_over_budget", few)


def check_whole(case: Case) -> None:
    z, w, labels, uniform = case.leaf("in.embeddings"), case["in.centers"], case["in.labels"], case["in.uniform"]
    options: Any = {name: case.params[name] for name in ("scale", "margin", "ratio")}
    classifier = PartialClassifier(w.shape[1], len(w), **options).double()
    classifier.weight.copy_(w)
    case.check("out.loss_per_sample", classifier(z, labels, uniform=uniform, reduction="none"))
    loss = classifier(z, labels, uniform=uniform)
    case.check("out.loss", loss)
    assert classifier.kept is not None
    assert classifier.rows is not None
    case.check("out.sampled", classifier.kept)
    case.check_gradient("grad.embeddings", loss, z)
    (gradient,) = torch.autograd.grad(loss, classifier.rows)
    case.check("grad.centers", torch.zeros_like(w).index_copy_(0, classifier.kept, gradient))


def check_single_label(case: Case) -> None:
    cosine, labels = case.leaf("in.cosine"), case["in.labels"]
    for name, kind in (("arcface", "arcface_straight_through"), ("cosface", "cosface")):
        options: Any = {"scale": case.params["s"], "margin": case.params[f"{name}_margin"], "kind": kind}
        case.check(
            f"out.{name}_logits",
            margin_logits(cosine, own_classes(labels[:, None], cosine.shape[1]), **options),
        )
        loss = margin_softmax_loss(cosine, labels, **options)
        case.check(f"out.{name}_loss", loss)
        case.check_gradient(f"grad.cosine_{name}", loss, cosine)


CHECKS = {
    "labels": check_labels,
    "losses": check_losses,
    "whole": check_whole,
    "sampling": check_sampling,
    "single_label": check_single_label,
}
