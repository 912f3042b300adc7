"""Multistage contrastive learning against the authors' code and independent loops, key by key."""

from typing import Any

import torch

from dipole.data.samplers import InTurns, in_turns
from dipole.evaluation.matched_pairs import matched_pairs
from dipole.losses import clip_loss, nt_xent_loss, same_label_clip_loss, same_label_nt_xent_loss
from dipole.nn.stages import concatenate_stages
from dipole.ops.clusters import combine_cluster_labels
from reference.cases import Case, parametrize

KINDS = {
    "sampler": "out.len_per_rank",
    "labels": "in.cluster_labels",
    "stages": "out.concat_then_norm",
    "views": "in.z1",
    "pairs_of_pairs": "out.pair_correct",
    "clip": "in.text",
}


@parametrize("multistage", KINDS)
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def check_sampler(case: Case) -> None:
    labels, size, processes = case["in.pseudo_label"], case.params["batch_size"], case.params["world_size"]
    groups = [
        (labels == label).nonzero().flatten()[case[f"in.perm_c{label}"]] for label in range(case.params["num_labels"])
    ]
    joined = in_turns(groups, size * processes)
    assert len(joined) == len(InTurns(labels, size * processes))
    assert len(joined) // (size * processes) == case["out.len_per_rank"]
    # Processes take turns in the order; the authors' code takes the samples of a batch from the end one by one.
    batches = joined.view(-1, size, processes).flip(1)
    for rank in range(processes):
        torch.testing.assert_close(batches[..., rank], case[f"out.batches_rank{rank}"])


def check_labels(case: Case) -> None:
    stages, clusters = case["in.cluster_labels"], case.params["num_clusters"]
    combined = combine_cluster_labels(stages, clusters)
    case.check("out.pseudo_label", combined)
    case.check("out.pseudo_label_official_bug", combine_cluster_labels(stages, clusters, kind="last_stage"))
    case.check("out.num_distinct", torch.tensor(len(combined.unique())))


def check_stages(case: Case) -> None:
    features = [case[f"in.{name}"] for name in case.names("in.")]
    after = concatenate_stages(features, "after")
    case.check("out.concat_then_norm", after)
    case.check("out.cos_concat_then_norm", after @ after.T)
    both = concatenate_stages(features, "both")
    case.check("out.norm_each_then_concat", both)
    case.check("out.cos_norm_each", both @ both.T)


def check_views(case: Case) -> None:
    z1, z2, labels = case.leaf("in.z1"), case.leaf("in.z2"), case["in.pseudo_label"]
    options: Any = {"temperature": case.params["temperature"], "normalize": False}  # the stored rows are of length 1
    loss = same_label_nt_xent_loss(z1, z2, labels, **options)
    case.check("out.loss", loss)
    case.check("out.loss_per_view", same_label_nt_xent_loss(z1, z2, labels, **options, reduction="none"))
    case.check("out.loss_unrestricted", nt_xent_loss(z1, z2, **options))
    case.check("out.loss_unrestricted", same_label_nt_xent_loss(z1, z2, labels * 0, **options))
    case.check_gradient("grad.z1", loss, z1)
    case.check_gradient("grad.z2", loss, z2)


def check_clip(case: Case) -> None:
    image, text, labels = case.leaf("in.image"), case.leaf("in.text"), case["in.pseudo_label"]
    options: Any = {"temperature": 1 / case.params["logit_scale"], "normalize": False}
    loss = same_label_clip_loss(image, text, labels, **options)
    case.check("out.loss", loss)
    case.check("out.loss_unrestricted", clip_loss(image, text, **options))
    case.check("out.loss_unrestricted", same_label_clip_loss(image, text, labels * 0, **options))
    case.check_gradient("grad.image", loss, image)
    case.check_gradient("grad.text", loss, text)


def check_pairs_of_pairs(case: Case) -> None:
    correct = matched_pairs(case["in.image"], case["in.text"])
    case.check("out.pair_correct", correct)
    case.check("out.accuracy", 100 * correct.double().mean())


CHECKS = {
    "sampler": check_sampler,
    "labels": check_labels,
    "stages": check_stages,
    "views": check_views,
    "clip": check_clip,
    "pairs_of_pairs": check_pairs_of_pairs,
}
