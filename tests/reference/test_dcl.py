"""DCL and DCLW against independent code, key by key."""

import torch

from dipole.losses import (
    dcl_loss,
    dcl_neighbour_loss,
    dcl_queue_loss,
    dclw_loss,
    info_nce_loss,
    npc_multiplier,
    nt_xent_loss,
    vmf_negative_weights,
)
from dipole.losses.dcl import npc_queue_multiplier
from dipole.negatives import nearest
from reference.cases import Case, parametrize


@parametrize("dcl", {"two views": "in.raw1", "coupling": "out.U", "queue": "in.queue", "neighbours": "in.support"})
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def check_two_views(case: Case) -> None:
    z = [case.leaf("in.z1"), case.leaf("in.z2")]
    raw = [case.leaf("in.raw1"), case.leaf("in.raw2")]
    temperature, sigma = case.params["temperature"], case.params["sigma"]
    for name, function, options in (("dcl", dcl_loss, {}), ("dclw", dclw_loss, {"sigma": sigma})):
        options = {"temperature": temperature, **options}
        values = function(*z, normalize=False, reduction="none", **options)
        case.check(f"out.{name}.view1", values[: len(z[0])].mean())
        case.check(f"out.{name}.view2", values[len(z[0]) :].mean())
        total = function(*z, normalize=False, reduction="sum_of_views", detach_weight=False, **options)
        case.check(f"out.{name}.sum_of_views", total)
        mean = function(*raw, **options)
        case.check(f"out.{name}.mean_of_views", mean)
        for view in (0, 1):
            case.check_gradient(f"grad.{name}.weights_attached.sum.z{view + 1}", total, z[view])
            case.check_gradient(f"grad.{name}.weights_detached.mean.raw{view + 1}", mean, raw[view])
    case.check("out.weights", vmf_negative_weights(*z, sigma=sigma))
    case.check("out.nt_xent.mean", nt_xent_loss(*raw, temperature=temperature))


def check_coupling(case: Case) -> None:
    views = [case.leaf("in.z1"), case.leaf("in.z2")]
    temperature = case.params["temperature"]
    multiplier = npc_multiplier(*views, temperature=temperature, normalize=False)
    info_nce = nt_xent_loss(*views, temperature=temperature, normalize=False, reduction="none").view(2, -1)
    dcl = dcl_loss(*views, temperature=temperature, normalize=False, reduction="none").view(2, -1)
    positive = (views[0] * views[1]).sum(dim=1) / temperature
    case.check("out.U", (dcl + positive).exp())
    case.check("out.q", multiplier)
    case.check("out.loss_infonce", info_nce)
    case.check("out.loss_dcl", dcl)
    rows = len(views[0])
    gradients = {
        name: torch.stack([torch.stack(torch.autograd.grad(row, views, retain_graph=True)) for row in loss.flatten()])
        for name, loss in (("infonce", info_nce), ("dcl", dcl))
    }
    # gradient[k, i, l, j]: of anchor i in view k with respect to row j of view l
    gradient = {name: value.view(2, rows, 2, rows, -1) for name, value in gradients.items()}
    anchor = torch.arange(rows)
    for name, value in gradient.items():
        own = torch.stack([value[k, anchor, k, anchor] for k in (0, 1)])
        other = torch.stack([value[k, anchor, 1 - k, anchor] for k in (0, 1)])
        case.check(f"grad.{name}_anchor", own)
        case.check(f"grad.{name}_positive", other)
    negatives = gradient["infonce"].clone()
    negatives[:, anchor, :, anchor] = 0
    case.check("grad.infonce_negatives", negatives)


def check_queue(case: Case) -> None:
    q, k, queue = case.leaf("in.q"), case["in.k"], case["in.queue"]
    temperature = case.params["temperature"]
    dcl = dcl_queue_loss(q, k, queue, temperature=temperature)
    info_nce = info_nce_loss(q, k, queue, temperature=temperature)
    case.check("out.loss_dcl", dcl)
    case.check("out.loss_infonce", info_nce)
    case.check("out.q_multiplier", npc_queue_multiplier(q, k, queue, temperature=temperature))
    case.check_gradient("grad.q_dcl", dcl, q)
    case.check_gradient("grad.q_infonce", info_nce, q)


def check_neighbours(case: Case) -> None:
    z = [case["in.z1"], case["in.z2"]]
    predictions = [case.leaf("in.p1"), case.leaf("in.p2")]
    support, temperature = case["in.support"], case.params["temperature"]
    losses: dict[str, list[torch.Tensor]] = {"dcl": [], "nnclr": []}
    for view in (0, 1):
        index = nearest(z[view], support)
        case.check(f"out.nn_index.view{view + 1}", index)
        neighbours, prediction = support[index], predictions[1 - view]
        dcl = dcl_neighbour_loss(neighbours, prediction, temperature=temperature)
        nnclr = info_nce_loss(neighbours, prediction, temperature=temperature)
        case.check(f"out.dcl.view{view + 1}", dcl)
        case.check(f"out.nnclr.view{view + 1}", nnclr)
        losses["dcl"].append(dcl)
        losses["nnclr"].append(nnclr)
    dcl_mean, nnclr_mean = (torch.stack(values).mean() for values in losses.values())
    case.check("out.loss_dcl", dcl_mean)
    case.check("out.loss_nnclr", nnclr_mean)
    case.check_gradient("grad.p1_dcl", dcl_mean, predictions[0])
    case.check_gradient("grad.p2_dcl", dcl_mean, predictions[1])
    case.check_gradient("grad.p1_nnclr", nnclr_mean, predictions[0])


CHECKS = {
    "two views": check_two_views,
    "coupling": check_coupling,
    "queue": check_queue,
    "neighbours": check_neighbours,
}
