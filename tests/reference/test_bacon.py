"""BaCon's losses, estimate of class sizes and evaluation against the authors' code, key by key."""

import torch
from torch import Tensor

from dipole.evaluation.clusters import clustering_accuracy, frequency_groups
from dipole.losses import nt_xent_loss, sup_con_loss
from dipole.losses.bacon import (
    _ratio_to_prior,
    debiased_soft_labels,
    distribution_regularizer,
    prior_adjustment,
    pseudo_label_sampling_rate,
    select_confident,
    self_distillation_loss,
    soft_contrastive_loss,
    soft_label_rows,
    soft_weights,
    teacher_temperature,
)
from dipole.ops.matching import estimate_class_distribution
from reference.cases import Case, parametrize

KINDS = {
    "contrast": "out.loss_unsup",
    "soft": "in.soft_labels",
    "selection": "in.uniform",
    "regulariser": "out.mean_prob",
    "distillation": "out.teacher_temperature",
    "estimate": "in.cluster_ids",
    "evaluation": "in.y_pred",
}


@parametrize("bacon", KINDS)
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def check_contrast(case: Case) -> None:
    features = case.leaf("in.features")
    first, second = features.chunk(2)
    # The authors scale rows to length 1 inside this loss, and outside the other ones.
    loss = nt_xent_loss(first, second, temperature=case.params["temperature_unsup"])
    case.check("out.loss_unsup", loss)
    case.check_gradient("grad.features_unsup", loss, features)
    both = case["in.labelled"].repeat(2)
    labels = case["in.labels"].repeat(2)[both]
    loss = sup_con_loss(features[both], labels, temperature=case.params["temperature_sup"], normalize=False)
    case.check("out.loss_sup", loss)
    case.check_gradient("grad.features_sup", loss, features)


def check_soft(case: Case) -> None:
    features, soft = case.leaf("in.features"), case["in.soft_labels"]
    case.check("out.weights", soft_weights(soft))
    options = {"temperature": case.params["temperature"], "normalize": False}
    loss = soft_contrastive_loss(features.transpose(0, 1), soft, **options)
    case.check("out.loss", loss)
    case.check_gradient("grad.features", loss, features)
    cosine = soft_contrastive_loss(features.transpose(0, 1), soft, **options, similarity="cosine")
    case.check("out.loss_cosine", cosine)


def two(rows: Tensor) -> Tensor:
    return rows.unflatten(0, (2, -1))


def check_selection(case: Case) -> None:
    features, logits, counts = case.leaf("in.features"), two(case["in.logits"]), case["in.estimated_counts"]
    labels, labelled, draws = case["in.labels"], case["in.labelled"], case["in.uniform"]
    kappa, student = case.params["kappa"], case.params["student_temp"]
    exponents = {"alpha": case.params["alpha"], "beta": case.params["beta"]}
    case.check("out.adjustment", prior_adjustment(counts, kappa=kappa))
    soft = debiased_soft_labels(logits, counts, kappa=kappa, temperature=student)
    case.check("out.soft_labels", soft)
    rates = pseudo_label_sampling_rate(counts, labels[labelled], **exponents)
    case.check("out.sampling_rate", rates)
    found = select_confident(soft[~labelled], rates, draws)
    case.check("out.num_keep", found.number)
    selected = torch.zeros_like(labelled)
    selected[~labelled] = found.chosen
    case.check("out.selected", selected)
    places, chosen = soft_label_rows(logits, labels, labelled, counts, draws, **exponents, kappa=kappa, student=student)
    case.check("out.weights", soft_weights(chosen))
    views = two(features)[:, places]
    loss = soft_contrastive_loss(views, chosen, temperature=case.params["temperature"], normalize=False)
    case.check("out.loss", loss)
    case.check_gradient("grad.features", loss, features)


def check_regulariser(case: Case) -> None:
    logits, counts = case.leaf("in.logits"), case["in.estimated_counts"]
    p, temperature = case.params["p"], case.params["student_temp"]
    mean, ratio = _ratio_to_prior(logits, counts, p, temperature)
    case.check("out.mean_prob", mean)
    case.check("out.q", ratio)
    loss = distribution_regularizer(logits, counts, p=p, temperature=temperature)
    case.check("out.loss", loss)
    case.check_gradient("grad.logits", loss, logits)
    kl = distribution_regularizer(logits, counts, p=p, temperature=temperature, form="kl")
    case.check("out.loss_paper_kl", kl)


def check_distillation(case: Case) -> None:
    logits = case.leaf("in.logits")
    temperature = teacher_temperature(
        case.params["epoch"],
        start=case.params["warmup_teacher_temp"],
        end=case.params["teacher_temp"],
        warmup_epochs=case.params["warmup_epochs"],
    )
    case.check("out.teacher_temperature", torch.tensor(temperature, dtype=torch.float64))
    loss = self_distillation_loss(two(logits), teacher=temperature, student=case.params["student_temp"])
    case.check("out.loss", loss)
    case.check_gradient("grad.logits", loss, logits)


def check_estimate(case: Case) -> None:
    found = estimate_class_distribution(
        case["in.cluster_ids"],
        case["in.labels"],
        case["in.labelled"],
        num_known=case.params["num_known"],
        num_classes=case.params["num_classes"],
    )
    case.check("out.estimated_counts", found.to(case["out.estimated_counts"].dtype))


def check_evaluation(case: Case) -> None:
    counts, known = case["in.train_counts"], case.params["num_known"]
    found = clustering_accuracy(case["in.y_true"], case["in.y_pred"], num_known=known, train_counts=counts)

    def number(value: float) -> Tensor:
        return torch.tensor(value, dtype=torch.float64)

    for name in ("all", "old", "new"):
        case.check(f"out.acc_{name}", number(100 * getattr(found, name)))
        case.check(f"out.balanced_{name}", number(found.balanced[name]))
    case.check("out.acc_groups", 100 * torch.tensor(list(found.groups.values()), dtype=torch.float64))
    for kind, first, of_kind in (("known", 0, counts[:known]), ("novel", known, counts[known:])):
        for name, members in frequency_groups(of_kind).items():
            case.check(f"out.{kind}_{name}", torch.tensor([first + c for c in members], dtype=torch.int64))
        case.check(f"out.std_{kind}", number(100 * found.deviation[kind]))
    case.check("out.class_to_cluster", found.class_to_cluster)


CHECKS = {
    "contrast": check_contrast,
    "soft": check_soft,
    "selection": check_selection,
    "regulariser": check_regulariser,
    "distillation": check_distillation,
    "estimate": check_estimate,
    "evaluation": check_evaluation,
}
