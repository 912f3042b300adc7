"""CACR against the authors' code, key by key."""

from typing import Any

import torch

from dipole.data import imbalanced_sizes
from dipole.losses import (
    attraction_weights,
    cacr_loss,
    cacr_momentum_loss,
    cacr_momentum_views_loss,
    cacr_queue_loss,
    cacr_weights,
    momentum_query_weights,
    repulsion_weights,
)
from dipole.losses.cacr import positive_distances
from dipole.negatives import Queue
from reference.cases import Case, parametrize

WEIGHTINGS = {
    "none": "none",
    "without_w1": "uniform_positives",
    "without_w2": "uniform_negatives",
    "full": "full",
}


@parametrize(
    "cacr",
    {
        "euclidean": "out.weights_pos",
        "ablations": "out.loss_ca.none",
        "queue": "in.queue",
        "momentum": "in.q",
        "imbalance": "out.cifar10.linear",
    },
)
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def check_euclidean(case: Case) -> None:
    views = case.leaf("in.views")
    t = {"t_positive": case.params["t_pos"], "t_negative": case.params["t_neg"]}
    alpha, beta = case.params["alpha"], case.params["beta"]
    attraction = cacr_loss(views, **t, alpha=alpha, beta=0, normalize=False)
    repulsion = cacr_loss(views, **t, alpha=0, beta=beta, normalize=False)
    loss = cacr_loss(views, **t, alpha=alpha, beta=beta, normalize=False)
    detached = cacr_loss(views, **t, alpha=alpha, beta=beta, normalize=False, detach_weights=True)
    case.check("out.loss_ca", attraction)
    case.check("out.loss_cr", repulsion)
    case.check("out.loss", loss)
    case.check("out.loss", detached)
    weights = cacr_weights(views, **t, normalize=False)
    case.check("out.weights_pos", weights.positive)
    case.check("out.weights_neg", weights.negative)
    case.check_gradient("grad.views", loss, views)
    case.check_gradient("grad.views_ca", attraction, views)
    case.check_gradient("grad.views_cr", repulsion, views)
    case.check_gradient("grad.views_weights_detached", detached, views)


def check_ablations(case: Case) -> None:
    views = case.leaf("in.views")
    alpha, beta = case.params["alpha"], case.params["beta"]

    def loss(alpha: float, beta: float, **options: Any) -> torch.Tensor:
        t = {"t_positive": case.params["t_pos"], "t_negative": case.params["t_neg"]}
        return cacr_loss(views, **t, alpha=alpha, beta=beta, normalize=False, **options)

    for choice in case.names("out.loss_ca."):
        case.check(f"out.loss_ca.{choice}", loss(alpha, 0, weighting=WEIGHTINGS[choice]))
        case.check(f"out.loss_cr.{choice}", loss(0, beta, weighting=WEIGHTINGS[choice]))
        case.check_gradient(f"grad.views.{choice}", loss(alpha, beta, weighting=WEIGHTINGS[choice]), views)
    rbf = {"cost": "rbf", "rbf_scale": case.params["rbf_t"]}
    variants = {
        "debiased": {"debias": case.params["tau_plus"], "debias_sign": "official"},
        "debiased_corrected_sign": {"debias": case.params["tau_plus"]},
        "rbf": rbf,
    }
    for name, options in variants.items():
        repulsion = loss(0, beta, **options)
        case.check(f"out.loss_cr.{name}", repulsion)
        case.check_gradient(f"grad.views_cr.{name}", repulsion, views)
    case.check("out.loss_cr.rbf_uniform", loss(0, beta, weighting="uniform_negatives", **rbf))
    last_pair = views[-2:].detach()
    weights = cacr_weights(last_pair, t_negative=case.params["t_neg"], normalize=False)
    case.check("out.weights_neg_last.rbf", weights.negative[0])


def check_queue(case: Case) -> None:
    raw, queue = case.leaf("in.raw"), case["in.queue"].T
    alpha, beta = case.params["alpha"], case.params["beta"]
    t = {"t_positive": case.params["t_pos"], "t_negative": case.params["t_neg"]}
    behaviours: dict[str, dict[str, Any]] = {
        "official_as_written": {"queue_queries": "first_view", "detach_weights": "queue"},
        "intended": {},
    }
    gradients: dict[str, dict[str, Any]] = {
        "official_as_written": behaviours["official_as_written"],
        "intended.weights_as_official": {"detach_weights": "queue"},
        "intended.weights_detached": {},
    }
    for tag, intra_batch in (("intra", True), ("queue_only", False)):

        def loss(alpha: float, beta: float, options: dict[str, Any], intra_batch: bool = intra_batch) -> torch.Tensor:
            return cacr_queue_loss(raw, raw, queue, **t, alpha=alpha, beta=beta, intra_batch=intra_batch, **options)

        for name, options in behaviours.items():
            case.check(f"out.{name}.loss_ca.{tag}", loss(alpha, 0, options))
            case.check(f"out.{name}.loss_cr.{tag}", loss(0, beta, options))
        for name, options in gradients.items():
            case.check_gradient(f"grad.{name}.raw.{tag}", loss(alpha, beta, options), raw)
    memory = Queue(len(queue), queue.shape[1])
    memory.double().entries.copy_(queue)
    memory.enqueue(torch.nn.functional.normalize(raw[-1].detach(), dim=1))
    case.check("out.queue_after", memory.entries.T)
    case.check("out.queue_ptr_after", memory.pointer.reshape(1))


def check_momentum(case: Case) -> None:
    queries, keys = case.leaf("in.q"), case["in.k"]
    temperature = case.params["T"]
    unit_queries, unit_keys = (torch.nn.functional.normalize(x.detach(), dim=-1) for x in (queries, keys))
    case.check("out.p_all_queries_vs_k0", momentum_query_weights(unit_queries, unit_keys[0], temperature))
    # The authors sum the Euclidean cost over the batch and average the RBF cost.
    for cost, reduction in (("rbf", "mean"), ("euclidean", "sum")):
        options: dict[str, Any] = {"temperature": temperature, "cost": cost, "reduction": reduction}
        losses = {
            "all_queries_vs_k0": cacr_momentum_loss(queries, keys[0], **options),
            "light": cacr_momentum_views_loss(queries, keys[:2], **options),
            "full": cacr_momentum_views_loss(queries, keys, **options),
        }
        for name, loss in losses.items():
            case.check(f"out.{cost}.{name}", loss)
            case.check_gradient(f"grad.{cost}.{name}.q", loss, queries)


def check_imbalance(case: Case) -> None:
    per_class = {"cifar10": 5000, "cifar100": 500}
    for name in case.names("out."):
        data, profile = name.split(".")
        expected = case[f"out.{name}"]
        classes = len(expected)
        # CIFAR-100 has one size for each of ten groups of neighbouring classes.
        groups = 10 if data == "cifar100" else None
        sizes = imbalanced_sizes([per_class[data]] * classes, profile=profile, groups=groups)
        assert list(sizes) == expected.tolist()


CHECKS = {
    "euclidean": check_euclidean,
    "ablations": check_ablations,
    "queue": check_queue,
    "momentum": check_momentum,
    "imbalance": check_imbalance,
}


def test_weights_of_the_paper() -> None:
    distances = positive_distances(torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0)))
    attraction, repulsion = attraction_weights(distances, 1.5), repulsion_weights(distances, 1.5)
    far, near = distances.argmax(dim=-1), distances.argmin(dim=-1)
    assert torch.equal(attraction.argmax(dim=-1), far)
    assert torch.equal(repulsion.argmax(dim=-1), near)
