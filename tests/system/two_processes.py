"""Run by torchrun: each process contrasts its half of a batch; the result must be that of the joined batch."""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.losses import (
    arbitrary_pair_loss,
    cacr_loss,
    cacr_momentum_views_loss,
    clip_loss,
    cloob_loss,
    cross_modal_barlow_loss,
    cross_modal_prediction_loss,
    cwcl_loss,
    dcl_loss,
    dcl_neighbour_loss,
    dclw_loss,
    groco_loss,
    hard_contrastive_loss,
    hard_negatives_info_nce_loss,
    info_loob_loss,
    info_nce_loss,
    masked_contrast_loss,
    multi_positive_info_nce_loss,
    multi_text_clip_loss,
    multi_view_clip_loss,
    multilabel_cluster_loss,
    nt_xent_loss,
    pairwise_clip_loss,
    prototype_swap_loss,
    region_contrastive_loss,
    same_index_nt_xent_loss,
    same_label_clip_loss,
    same_label_nt_xent_loss,
    siglip_loss,
    simple_contrastive_loss,
    sup_con_loss,
    swalip_loss,
    symile_loss,
    tuple_info_nce_loss,
    weighted_contrastive_loss,
)
from dipole.methods.base import Method
from dipole.negatives import Queue
from dipole.nn import PartialClassifier
from dipole.ops import gather as gather_rows
from dipole.runs.refresh import Refresh

ROWS, WIDTH, DIM, VIEWS = 6, 5, 4, 3
TOLERANCE = 1e-10
Objective = Callable[[Tensor, Tensor, bool], Tensor]


def pair(function: Callable[..., Tensor], **options: object) -> Objective:
    return lambda z, labels, gather: function(z[0], z[1], gather=gather, **options)


def views(function: Callable[..., Tensor], **options: object) -> Objective:
    return lambda z, labels, gather: function(z, gather=gather, **options)


def supervised(z: Tensor, labels: Tensor, gather: bool) -> Tensor:
    # Rows of one sample lie side by side, so that the halves of the processes join to the whole batch in order.
    return sup_con_loss(z.transpose(0, 1).flatten(0, 1), labels.repeat_interleave(VIEWS), gather=gather)


def arbitrary_pairs(z: Tensor, labels: Tensor, gather: bool, **options: Any) -> Tensor:
    return arbitrary_pair_loss(z[0], z[1], z[2].sigmoid(), labels, (labels + 1) % 3, gather=gather, **options)


def multi_positive(z: Tensor, labels: Tensor, gather: bool) -> Tensor:
    return multi_positive_info_nce_loss(z[0], z[1:], gather=gather, temperature=0.4, weights=[1.0, 0.5])


def hard_negatives(z: Tensor, labels: Tensor, gather: bool) -> Tensor:
    options: dict[str, Any] = {"valid": labels > 0, "temperature": 0.4, "label_smoothing": 0.1}
    return hard_negatives_info_nce_loss(z[0], z[1], z[2], gather=gather, **options)


def tuples(z: Tensor, labels: Tensor, gather: bool, scope: str) -> Tensor:
    """Two hard negatives a query, some of them not valid, and candidates that are left out by their labels."""
    everywhere = gather_rows(labels) if gather else labels
    candidates = torch.cat([everywhere, everywhere.repeat_interleave(2)])
    exclude = (labels[:, None] + candidates[None]) % 3 == 0
    hard = torch.stack([z[2], z[2].roll(1, 1)], dim=1)
    valid = torch.stack([labels > 0, labels >= 0], dim=1)
    return tuple_info_nce_loss(
        z[0],
        z[1],
        hard,
        valid=valid,
        exclude=exclude,
        scope=scope,
        temperature=0.4,
        gather=gather,  # type: ignore[arg-type]
    )


def masked(z: Tensor, labels: Tensor, gather: bool, form: str) -> Tensor:
    everywhere = gather_rows(labels) if gather else labels
    exclude = ((labels[:, None] + everywhere[None]) % 3 == 0).repeat(1, 2)
    return masked_contrast_loss(z[0], z[1], z[2], exclude, form=form, temperature=0.4, gather=gather)  # type: ignore[arg-type]


def several_texts(z: Tensor, labels: Tensor, gather: bool, **options: Any) -> Tensor:
    return multi_text_clip_loss(z[0], z[1:], gather=gather, **options)


def weak_and_strong(z: Tensor, labels: Tensor, gather: bool, **options: Any) -> Tensor:
    return multi_view_clip_loss(z[0], z[1], z[:2], z[1:3], view_temperature=0.3, gather=gather, **options)


def symile(z: Tensor, labels: Tensor, gather: bool, **options: Any) -> Tensor:
    generator = torch.Generator().manual_seed(1 + dist.get_rank() * gather)  # the draw of the first process counts
    return symile_loss(z, gather=gather, generator=generator, **options)


def weighted(z: Tensor, labels: Tensor, gather: bool, **options: Any) -> Tensor:
    """Rectangular weights: of this process's rows with those of all."""
    everywhere = gather_rows(labels) if gather else labels
    weights = (labels[:, None] == everywhere).double() + 0.1
    return weighted_contrastive_loss(z[0], z[1], weights=weights, gather=gather, **options)


def momentum(z: Tensor, labels: Tensor, gather: bool, cost: str) -> Tensor:
    return cacr_momentum_views_loss(z, z.detach().roll(1, dims=-1), gather=gather, cost=cost)  # type: ignore[arg-type]


def groco_with_ids(z: Tensor, labels: Tensor, gather: bool) -> Tensor:
    return groco_loss(z, top_k=2, ids=labels, gather=gather)


OBJECTIVES: dict[str, Objective] = {
    "nt_xent": pair(nt_xent_loss),
    "info_nce": pair(info_nce_loss),
    "info_nce, smoothed": pair(info_nce_loss, label_smoothing=0.1),
    "hard negatives": hard_negatives,
    "tuples": partial(tuples, scope="batch"),
    "tuples, own negatives": partial(tuples, scope="own_negatives"),
    "tuples, own": partial(tuples, scope="own"),
    "masked": partial(masked, form="info_nce"),
    "masked as the authors": partial(masked, form="official_bce"),
    "multi positive": multi_positive,
    "dcl": pair(dcl_loss),
    "dclw": pair(dclw_loss),
    "dclw attached": pair(dclw_loss, detach_weight=False),
    "dcl neighbours": pair(dcl_neighbour_loss),
    "hard": pair(hard_contrastive_loss, top_k=3),
    "simple": pair(simple_contrastive_loss),
    "cacr": views(cacr_loss),
    "cacr detached": views(cacr_loss, detach_weights=True, symmetric=True),
    "cacr rbf": views(cacr_loss, cost="rbf"),
    "cacr momentum rbf": partial(momentum, cost="rbf"),
    "cacr momentum euclidean": partial(momentum, cost="euclidean"),
    "groco": views(groco_loss, top_k=3),
    "groco attached": views(groco_loss, top_k=3, stop_gradient=False, num_positive_views=2),
    "groco ids": groco_with_ids,
    "sup_con": supervised,
    "same label": lambda z, labels, gather: same_label_nt_xent_loss(z[0], z[1], labels, gather=gather),
    "same label, clip": lambda z, labels, gather: same_label_clip_loss(z[0], z[1], labels, gather=gather),
    "same index": lambda z, labels, gather: same_index_nt_xent_loss(
        z.transpose(0, 1).flatten(0, 1), labels.repeat_interleave(VIEWS), gather=gather
    ),
    "arbitrary pairs": arbitrary_pairs,
    "arbitrary pairs, macro": partial(arbitrary_pairs, reduction="macro"),
    "arbitrary pairs, macro_valid": partial(arbitrary_pairs, reduction="macro_valid", similarity="prenormalised"),
    "arbitrary pairs, one view": partial(arbitrary_pairs, exclude_self=True),
}


def two_towers(temperature: float | Tensor) -> dict[str, Objective]:
    """What contrasts modalities; the temperature may be a parameter."""
    options: dict[str, Any] = {"temperature": temperature}
    return {
        "clip": pair(clip_loss, **options),
        "clip, smoothed": pair(clip_loss, label_smoothing=0.1, **options),
        "clip, several texts": partial(several_texts, **options),
        "clip, several texts, first": partial(several_texts, text_to_image="first", **options),
        "clip, pairwise": views(pairwise_clip_loss, **options),
        "clip, weak and strong views": partial(weak_and_strong, **options),
        "regions": lambda z, labels, gather: region_contrastive_loss(
            torch.stack([z[:2], z[1:3]]).transpose(1, 2), z[0], gather=gather, **options
        ),
        "siglip": pair(siglip_loss, bias=-2.0, **options),
        "siglip, learned bias": pair(siglip_loss, bias=temperature, temperature=0.4),
        "swalip": lambda z, labels, gather: swalip_loss(z[:2], z[1:3].flip(0), gather=gather, **options),
        "swalip, prototypes": lambda z, labels, gather: prototype_swap_loss(
            z[0], z[1], torch.eye(z.shape[2], dtype=z.dtype), gather=gather, **options
        ),
        "barlip": lambda z, labels, gather: cross_modal_barlow_loss(z[:2], z[1:3], gather=gather),
        "siamlip": lambda z, labels, gather: cross_modal_prediction_loss(z[:2], z[1:3], z[1:3], z[:2]),
        "info_loob": pair(info_loob_loss, **options),
        "cloob": pair(cloob_loss, beta=3.0, **options),
        "cloob, info_nce": pair(cloob_loss, beta=3.0, objective="info_nce", **options),
        "cloob, no retrieval": pair(cloob_loss, retrieval=False, **options),
        "cloob, learned beta": pair(cloob_loss, beta=temperature, temperature=0.4),
        "symile": partial(symile, **options),
        "symile, all tuples": partial(symile, negatives="n_squared", **options),
        "cwcl": pair(cwcl_loss, **options),
        "cwcl, both directions": pair(cwcl_loss, weighted="both", **options),
        "cwcl, given weights": partial(weighted, **options),
    }


OBJECTIVES |= two_towers(0.4)


def gradients(encoder: nn.Module, loss: Tensor) -> list[Tensor]:
    found = torch.autograd.grad(loss, list(encoder.parameters()), allow_unused=True, materialize_grads=True)
    return [gradient.clone() for gradient in found]


def check_queue(keys: Tensor, mine: slice) -> None:
    """Queues of all processes stay equal, and equal to that of one process."""
    size = 2 * len(keys) - 3
    queues = [Queue(size, DIM, torch.Generator().manual_seed(0), with_ids=True).double() for _ in range(2)]
    ids = torch.arange(len(keys))
    for _ in range(2):
        queues[0].enqueue(keys[mine], gather=True, ids=ids[mine])
        queues[1].enqueue(keys, ids=ids)
    for ours, expected in zip(queues[0].buffers(), queues[1].buffers(), strict=True):
        assert torch.equal(ours, expected)


class Remembering(Method):
    """Keeps what a refresh shows it."""

    def refresh(self, embeddings: Tensor, index: Tensor) -> dict[str, Tensor]:
        return {"embeddings": embeddings, "index": index}


def check_classifier(z: Tensor, mine: slice, mode: Any, kind: Any) -> None:
    """Classes in two parts give the loss, gradients and weights after a step of one process with all classes."""
    classes, labels = 7, torch.tensor([[0, 5, 5], [6, -1, -1], [2, 3, 4]]).repeat(len(z) // 3, 1)
    torch.manual_seed(0)
    parts = PartialClassifier(DIM, classes, ratio=1.0, scale=8.0, margin=0.2, mode=mode, kind=kind).double()
    weight = parts.stored()["weight"].requires_grad_()
    mask = torch.zeros(len(z), classes + 1, dtype=torch.bool).scatter_(1, labels.remainder(classes + 1), True)[:, :-1]
    rows, whole = z[mine].detach().requires_grad_(), z.detach().requires_grad_()
    loss = parts(rows, labels[mine])
    joined = multilabel_cluster_loss(whole, weight, mask, scale=8.0, margin=0.2, mode=mode, kind=kind)
    value = loss.detach().clone()
    dist.all_reduce(value)
    torch.testing.assert_close(value / dist.get_world_size(), joined.detach(), rtol=TOLERANCE, atol=TOLERANCE)
    loss.backward()
    joined.backward()
    assert rows.grad is not None
    assert whole.grad is not None
    torch.testing.assert_close(rows.grad / dist.get_world_size(), whole.grad[mine], rtol=TOLERANCE, atol=TOLERANCE)
    parts.update(0.1, weight_decay=0.5)
    optimizer = torch.optim.AdamW([weight], lr=0.1, weight_decay=0.5)
    optimizer.step()
    torch.testing.assert_close(parts.stored()["weight"], weight.detach(), rtol=TOLERANCE, atol=TOLERANCE)


def check_refresh() -> None:
    """Every process sees the embeddings of all samples in their order, also where the samples do not divide evenly."""
    samples = torch.randn(7, DIM, generator=torch.Generator().manual_seed(2))
    method = Remembering()
    Refresh(lambda method, index, progress: samples[index], len(samples))._refresh(method)
    assert torch.equal(method.refreshed["index"], torch.arange(7))
    assert torch.equal(method.refreshed["embeddings"], samples)


def main() -> None:
    dist.init_process_group("gloo")
    rank, size = dist.get_rank(), dist.get_world_size()
    generator = torch.Generator().manual_seed(0)
    torch.manual_seed(0)
    encoder = nn.Sequential(nn.Linear(WIDTH, 8), nn.Tanh(), nn.Linear(8, DIM)).double()
    temperature = nn.Parameter(torch.tensor(0.4, dtype=torch.float64))
    encoder.register_parameter("temperature", temperature)
    OBJECTIVES["nt_xent, learned temperature"] = pair(nt_xent_loss, temperature=temperature)
    OBJECTIVES["dcl, learned temperature"] = pair(dcl_loss, temperature=temperature)
    OBJECTIVES.update({f"{name}, learned temperature": item for name, item in two_towers(temperature).items()})
    inputs = torch.randn(VIEWS, ROWS * size, WIDTH, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, 3, (ROWS * size,), generator=generator)
    mine = slice(rank * ROWS, (rank + 1) * ROWS)
    for name, objective in OBJECTIVES.items():
        loss = objective(encoder(inputs[:, mine]), labels[mine], True)
        local = gradients(encoder, loss)
        joined = objective(encoder(inputs), labels, False)
        expected = gradients(encoder, joined)
        value = loss.detach().clone()
        dist.all_reduce(value)
        torch.testing.assert_close(value / size, joined.detach(), rtol=TOLERANCE, atol=TOLERANCE, msg=name)
        for actual, wanted in zip(local, expected, strict=True):
            dist.all_reduce(actual)  # data-parallel training averages
            torch.testing.assert_close(actual / size, wanted, rtol=TOLERANCE, atol=TOLERANCE, msg=name)
    check_queue(encoder(inputs)[0], mine)
    for mode, kind in (("mlcd", "cosface"), ("mlc", "cosface"), ("mlcd", "arcface")):
        check_classifier(encoder(inputs)[0], mine, mode, kind)
    check_refresh()
    try:
        nt_xent_loss(torch.randn(2 + rank, DIM), torch.randn(2 + rank, DIM), gather=True)
    except InputError as error:
        assert "equal batches" in str(error)  # noqa: PT017 - a script, not a test function
    else:
        raise AssertionError("unequal batches went unnoticed")
    dist.barrier()  # neither process leaves while the other still talks to it
    dist.destroy_process_group()
    if rank == 0:
        sys.stdout.write(f"{len(OBJECTIVES)} objectives agree\n")


if __name__ == "__main__":
    main()
