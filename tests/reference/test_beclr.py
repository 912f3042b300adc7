"""BECLR's loss, memory and transport against the authors' code, key by key."""

import torch
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from dipole.losses.beclr import beclr_loss, patch_mask
from dipole.negatives.clustered_memory import DynamicClusteredMemory, memory_size, prototype_scores
from dipole.nn import cosine_momentum
from dipole.ops.sinkhorn import sinkhorn_assign
from dipole.ops.transport import optimal_transport_align, standardise_rows, transport_cost, transport_plan
from reference.cases import Case, parametrize

KINDS = {
    "transport": "in.query_raw",
    "loss": "in.teacher_z",
    "enhance": "in.upstream",
    "update": "in.bank",
    "assign": "in.prototypes",
    "mask": "in.mask",
}


@parametrize("beclr", KINDS)
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def check_transport(case: Case) -> None:
    support, query = standardise_rows(case["in.support_prototypes_raw"]), standardise_rows(case["in.query_raw"])
    case.check("out.support_standardised", support)
    case.check("out.query_standardised", query)
    case.check("out.cost_matrix", transport_cost(support, query))
    options = {
        "epsilon": case.params["regularization"],
        "max_iterations": case.params["max_iter"],
        "threshold": case.params["threshold"],
    }
    plan, cost = transport_plan(support, query, **options)
    case.check("out.plan", plan)
    case.check("out.cost", cost)
    once = optimal_transport_align(support, query, **options)
    case.check("out.transported_one_pass", once)
    several = optimal_transport_align(support, query, **options, passes=case.params["passes"])
    case.check("out.transported_multi", several)
    ratio = case.params["ratio"]
    case.check("out.mixed", ratio * once + (1 - ratio) * support)
    classifier = LogisticRegression(max_iter=1000).fit(several.numpy(), range(len(several)))
    case.check("out.predictions", torch.from_numpy(classifier.predict(query.numpy())))


def check_loss(case: Case) -> None:
    p, z = case.leaf("in.student_p"), case.leaf("in.student_z")
    found = beclr_loss(
        p,
        z,
        case["in.teacher_z"],
        temperature=case.params["temperature"],
        lambda_neg=case.params["lambda_neg"],
        uniformity=case.params["uniformity"],
    )
    for key, value in zip(("loss", "loss_pos", "loss_neg", "std"), found, strict=True):
        case.check(f"out.{key}", value)
    case.check_gradient("grad.student_p", found.loss, p)
    if "grad.student_z" in case:
        case.check_gradient("grad.student_z", found.loss, z)
    else:  # only the teacher spreads
        assert torch.autograd.grad(found.loss, z, allow_unused=True) == (None,)


def check_assign(case: Case) -> None:
    batch, prototypes = case["in.batch"], case["in.prototypes"]
    options = {"epsilon": case.params["epsilon"], "iterations": case.params["iterations"]}
    cosine, euclidean = (prototype_scores(batch, prototypes, metric) for metric in ("cosine", "euclidean"))
    case.check("out.assign_cosine", sinkhorn_assign(cosine, **options).weights)
    case.check("out.assign_neg_euclidean", sinkhorn_assign(euclidean, **options).weights)
    case.check("out.assign_official_euclidean", sinkhorn_assign(-euclidean, **options).weights)
    relaxed = sinkhorn_assign(-euclidean, epsilon=1e-5, iterations=case.params["iterations"])
    case.check("out.assign_official_euclidean_tiny_eps", relaxed.weights)
    case.check("out.effective_eps_tiny", torch.tensor(relaxed.epsilon, dtype=torch.float64))


def memory_of(case: Case, **options: bool) -> DynamicClusteredMemory:
    """A memory in the stored state."""
    bank, prototypes = case["in.bank"], case["in.prototypes"]
    memory = DynamicClusteredMemory(
        *bank.shape,
        clusters=len(prototypes),
        metric="cosine",
        momentum=case.params["momentum"],
        epsilon=case.params["epsilon"],
        iterations=case.params["iterations"],
        legacy_partition_indexing=options.get("legacy", False),
    ).double()
    state = {"bank": bank, "labels": case["in.labels"], "prototypes": prototypes}
    memory.load_state_dict({**state, "pointer": torch.tensor(case.params["ptr"]), "ready": torch.tensor(True)})
    return memory


def check_update(case: Case) -> None:
    memory = memory_of(case)
    found = memory.update(case["in.batch"])
    assert isinstance(found, Tensor)
    case.check("out.batch_labels", found)
    for key, value in (("bank", memory.bank), ("labels", memory.labels), ("prototypes", memory.prototypes)):
        case.check(f"out.{key}", value)
    case.check("out.ptr", memory.pointer)


def check_enhance(case: Case) -> None:
    k = case.params["topk"]
    for legacy, name in ((False, ""), (True, "_official")):
        memory, batch = memory_of(case, legacy=legacy), case.leaf("in.batch")
        memory.update(batch.detach())
        found = memory.enhance(batch, k)
        case.check(f"out.rows{name}", found.places)
        case.check(f"out.enhanced{name}", found.rows)
        # The gradient reaches the rows of the batch alone, whichever neighbours stand beside them.
        case.check_gradient("grad.batch", (found.rows * case["in.upstream"]).sum(), batch)
    for key, value in (("bank", memory.bank), ("labels", memory.labels), ("prototypes", memory.prototypes)):
        case.check(f"out.{key}_after", value)


def check_mask(case: Case) -> None:
    case.check("out.masked", patch_mask(case["in.images"], case["in.mask"], patch=case.params["patch"]))
    total, base = case.params["total_steps"], case.params["momentum_base"]
    found = torch.tensor([cosine_momentum(step / total, base) for step in range(total)], dtype=torch.float64)
    case.check("out.momentum", found)
    example = case.params["memory_size_example"]
    assert memory_size(example["clusters"], 2 * example["B"], example["scale"]) == example["size"]


CHECKS = {
    "transport": check_transport,
    "loss": check_loss,
    "assign": check_assign,
    "update": check_update,
    "enhance": check_enhance,
    "mask": check_mask,
}
