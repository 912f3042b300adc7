"""SBCL's losses, temperatures, clusters and second stage against the authors' code, key by key."""

import torch
from torch import Tensor

from dipole.losses.long_tail import cosine_logits, effective_number_weights, ldam_loss, ldam_margins
from dipole.losses.sbcl import (
    k_positive_loss,
    subclass_contrastive_loss,
    subclass_contrastive_queue_loss,
    subclass_log_probabilities,
)
from dipole.losses.subclasses import class_concentration, class_concentration_temperature, num_subclasses
from dipole.ops.cosine_clusters import balanced_kmeans, cosine_kmeans
from reference.cases import Case, parametrize

KINDS = {
    "rank": "in.class_temperature",
    "queue": "in.queue",
    "clusters": "in.init_rows",
    "classifier": "in.weight",
    "single": "in.subclasses",
    "concentration": "out.concentration",
}


@parametrize("sbcl", KINDS)
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def views_of(features: Tensor) -> Tensor:
    return features.transpose(0, 1)


def check_rank(case: Case) -> None:
    features = case.leaf("in.features")
    given = (views_of(features), case["in.labels"], case["in.subclasses"])
    options = {
        "temperature": case.params["temperature"],
        "class_temperature": case["in.class_temperature"],
        "normalize": False,
    }
    found = subclass_log_probabilities(*given, **options)
    case.check("out.mean_log_prob_subclass", found.subclass)
    case.check("out.mean_log_prob_class", found.label)
    base = case.params["base_temperature"]
    loss = subclass_contrastive_loss(*given, **options, beta=case.params["beta"], base_temperature=base)
    case.check("out.loss", loss)
    case.check_gradient("grad.features", loss, features)


def check_single(case: Case) -> None:
    features = case.leaf("in.features")
    loss = subclass_contrastive_loss(
        views_of(features),
        case["in.labels"],
        case["in.subclasses"],
        temperature=case.params["temperature"],
        beta=case.params["beta"],
        base_temperature=case.params["base_temperature"],
        form="single_temperature",
        normalize=False,
    )
    case.check("out.loss", loss)
    case.check_gradient("grad.features", loss, features)


def check_concentration(case: Case) -> None:
    counts = torch.tensor(case.params["class_counts"])
    labels = torch.arange(len(counts)).repeat_interleave(counts)
    number = num_subclasses(counts, case.params["delta"])
    case.check("out.num_subclasses", number)
    case.check("out.subclass_offsets", number.cumsum(0) - number)
    phi = class_concentration(case["in.features"], labels, smoothing=case.params["smoothing"])
    case.check("out.concentration", phi)
    low, high = case.params["clip_percentiles"]
    for mode, key in (("ratio", "out.class_temperature"), ("exp", "out.class_temperature_exp")):
        found = class_concentration_temperature(
            phi, number, temperature=case.params["temperature"], mode=mode, clip=(low, high)
        )
        case.check(key, found)


def check_queue(case: Case) -> None:
    query = case.leaf("in.query")
    given = (query, case["in.key"], case["in.queue"], case["in.labels"], case["in.queue_labels"])
    loss = subclass_contrastive_queue_loss(
        *given,
        case["in.subclasses"],
        case["in.queue_subclasses"],
        temperature=case.params["temperature"],
        class_temperature=case.params["class_temperature"],
        beta=case.params["beta"],
        normalize=False,
    )
    case.check("out.loss", loss)
    case.check_gradient("grad.query", loss, query)
    draws = case["in.kcl_uniform"]
    assert len(draws) == case.params["kcl_k"]
    kcl = k_positive_loss(*given, draws, temperature=case.params["temperature"], normalize=False)
    case.check("out.kcl_loss", kcl)
    case.check_gradient("grad.query_kcl", kcl, query)


def check_clusters(case: Case) -> None:
    features, number = case["in.features"], case.params["num_clusters"]
    options = {"initial_rows": case["in.init_rows"], "tolerance": case.params["tol"]}
    found = balanced_kmeans(features, number, **options, max_iterations=case.params["balanced_iters"])
    case.check("out.balanced_assignment", found.assignment)
    case.check("out.balanced_centroids", found.centres)
    once = balanced_kmeans(features, number, **options, max_iterations=1)
    case.check("out.balanced_assignment_one_iter", once.assignment)
    plain = cosine_kmeans(features, number, **options, max_iterations=case.params["kmeans_iters"])
    case.check("out.kmeans_assignment", plain.assignment)
    case.check("out.kmeans_centroids", plain.centres)


def check_classifier(case: Case) -> None:
    counts = torch.tensor(case.params["class_counts"])
    margins = ldam_margins(counts, max_margin=case.params["max_m"])
    weights = effective_number_weights(counts, beta=case.params["beta"])
    case.check("out.margins", margins)
    case.check("out.class_weights", weights)
    features, weight = case.leaf("in.features"), case.leaf("in.weight")
    cosines = cosine_logits(features, weight)
    case.check("out.cosine", cosines)
    loss = ldam_loss(cosines, case["in.labels"], margins, scale=case.params["s"], class_weights=weights)
    case.check("out.loss", loss)
    case.check_gradient("grad.features", loss, features)
    case.check_gradient("grad.weight", loss, weight)


CHECKS = {
    "rank": check_rank,
    "single": check_single,
    "concentration": check_concentration,
    "queue": check_queue,
    "clusters": check_clusters,
    "classifier": check_classifier,
}
