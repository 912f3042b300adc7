"""GroCo, its sorting networks and its kNN against the authors' code, key by key."""

import torch

from dipole.evaluation import weighted_knn, weighted_knn_log_scores
from dipole.losses import (
    anchor_groups,
    differentiable_sort,
    groco_loss,
    group_ordering_loss,
    rank_group_probability,
)
from reference.cases import Case, parametrize


@parametrize("groco", {"sorting": "in.x", "loss": "in.view0", "knn": "in.bank"})
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def check_sorting(case: Case) -> None:
    params = case.params
    for distribution in dict.fromkeys(name.split(".")[0] for name in case.names("out.")):
        x = case.leaf("in.x")
        found = differentiable_sort(
            x,
            network=params["network"],
            steepness=params["steepness"],
            distribution=distribution,  # type: ignore[arg-type]
            art_lambda=params["art_lambda"],
        )
        case.check(f"out.{distribution}.sorted", found.values)
        case.check(f"out.{distribution}.perm", found.permutation)
        key = f"out.{distribution}.grad_x_of_weighted_sum"
        if key in case:  # the authors' code cannot differentiate all of them
            places = torch.arange(1, x.shape[-1] + 1, dtype=x.dtype)
            case.check_gradient(key, (places * found.values).sum() + found.permutation.square().sum(), x)


def check_loss(case: Case) -> None:
    params = case.params
    leaves = [case.leaf(f"in.view{v}") for v in range(params["n_views"])]
    views = torch.stack(leaves)
    sorting = {name: params[name] for name in ("steepness", "network", "distribution")}
    grouping = {
        "top_k": params["topk_neg"],
        "num_positive_views": params["n_pos_views"],
        "stop_gradient": params["stop_grad"],
    }
    loss = groco_loss(views, **sorting, **grouping)
    case.check("out.loss", loss)
    groups = anchor_groups(views, **grouping)
    assert [group.view for group in groups] == list(range(params["n_views"]))
    per_view = [group_ordering_loss(group.positives, group.negatives, **sorting) for group in groups]
    case.check("out.loss_per_anchor_view", torch.stack(per_view))
    for group in groups:
        similarities = torch.cat([group.negatives, group.positives], dim=1)
        probability = rank_group_probability(similarities, group.positives.shape[1], **sorting)
        case.check(f"out.sorted_input_sims_view{group.view}", similarities)
        case.check(f"out.prob_positive_rank_view{group.view}", probability[..., 1])
    attached = groco_loss(views, **sorting, **{**grouping, "stop_gradient": False})
    for v, leaf in enumerate(leaves):
        case.check_gradient(f"grad.view{v}", loss, leaf)
        case.check_gradient(f"out.grad_view{v}_without_stop_gradient", attached, leaf)


def check_knn(case: Case) -> None:
    bank, labels, query = case["in.bank"], case["in.bank_labels"], case["in.query"]
    options = {"k": case.params["k"], "temperature": case.params["temperature"]}
    classes, log_scores = weighted_knn_log_scores(bank, labels, query, **options)
    scores = torch.zeros(len(query), case.params["num_classes"], dtype=query.dtype)
    scores[:, classes] = log_scores.exp()
    case.check("out.scores", scores)
    predictions = weighted_knn(bank, labels, query, **options)
    case.check("out.pred", predictions)
    case.check("out.n_correct", (predictions == case["in.query_labels"]).sum())


CHECKS = {"sorting": check_sorting, "loss": check_loss, "knn": check_knn}
