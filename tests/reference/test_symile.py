"""Symile, its baseline, its scores and its synthetic data against the authors' code, key by key."""

from itertools import product

import torch
from torch import Tensor

from dipole.data import combine_xor, xor_information
from dipole.evaluation import multilinear_scores, pairwise_scores
from dipole.losses import multilinear_inner_product, pairwise_clip_loss, permuted_candidates, symile_loss
from reference.cases import Case, parametrize


@parametrize(
    "symile",
    {
        "permutations": "in.perms",
        "all tuples": "out.loss_per_anchor",
        "pairwise": "out.zeroshot_clip",
        "information": "out.table",
        "xor": "out.v_c",
    },
)
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def logit_scale(case: Case) -> Tensor:
    return torch.tensor(case.params["logit_scale"], dtype=torch.float64, requires_grad=True)


def others(modalities: Tensor, anchor: int) -> Tensor:
    return torch.cat([modalities[:anchor], modalities[anchor + 1 :]])


def check_loss(case: Case, logits: Tensor, negatives: str, permutations: Tensor | None) -> None:
    """The loss, its gradients, and the loss of each anchor from the logits, positives on the diagonal."""
    modalities, scale = case.leaf("in.reps"), logit_scale(case)
    anchors = len(modalities)
    losses = [torch.nn.functional.cross_entropy(scale * rows, torch.arange(len(rows))) for rows in logits]
    case.check("out.loss_per_anchor", torch.stack(losses))
    loss = symile_loss(
        modalities,
        temperature=1 / scale,
        negatives=negatives,  # type: ignore[arg-type]
        permutations=permutations,
        normalize=False,
    )
    case.check("out.loss", loss)
    assert case.params.get("num_modalities", anchors) == anchors
    case.check_gradient("grad.reps", loss, modalities)
    case.check_gradient("grad.logit_scale", loss, scale)


def check_permutations(case: Case) -> None:
    modalities, permutations = case["in.reps"], case["in.perms"]
    if case.params.get("l2_normalised"):
        torch.testing.assert_close(modalities.norm(dim=-1), torch.ones(modalities.shape[:2], dtype=torch.float64))
    positive = multilinear_inner_product(*modalities)
    own = torch.eye(len(positive), dtype=torch.bool)
    logits = torch.stack(
        [
            torch.where(own, positive, rows @ permuted_candidates(others(modalities, anchor), permutations[anchor]).T)
            for anchor, rows in enumerate(modalities)
        ]
    )
    case.check("out.logits", logits)
    check_loss(case, logits, "n", permutations)


def check_all_tuples(case: Case) -> None:
    modalities, expected = case["in.reps"], case["out.logits"]
    rows = modalities.shape[1]
    found = []
    for anchor, queries in enumerate(modalities):
        rest = others(modalities, anchor)
        indices = product(range(rows), repeat=len(rest))
        tuples = [[part[i] for part, i in zip(rest, index, strict=True)] for index in indices]
        keys = [torch.stack([member[number] for member in tuples]) for number in range(len(rest))]
        found.append(multilinear_inner_product(queries[:, None], *(key[None] for key in keys)))
    logits = torch.stack(found)
    # The order of the columns is nobody's affair, but the true tuples stand on the diagonal.
    torch.testing.assert_close(logits.sort(dim=-1).values, expected.sort(dim=-1).values, rtol=1e-6, atol=1e-9)
    positive = multilinear_inner_product(*modalities)
    torch.testing.assert_close(expected.diagonal(dim1=1, dim2=2), positive.expand(len(modalities), -1))
    check_loss(case, expected, "n_squared", None)


def check_pairwise(case: Case) -> None:
    modalities, scale = case.leaf("in.reps"), logit_scale(case)
    loss = pairwise_clip_loss(modalities, temperature=1 / scale, normalize=False)
    case.check("out.loss", loss)
    case.check_gradient("grad.reps", loss, modalities)
    case.check_gradient("grad.logit_scale", loss, scale)
    queries, candidates = case["in.queries"], case["in.candidates"]
    scores = multilinear_scores(queries, candidates)
    case.check("out.mip", scores)
    case.check("out.mip", multilinear_inner_product(*queries[:, :, None], candidates))
    case.check("out.zeroshot_symile", scale * scores)
    case.check("out.zeroshot_clip", scale * pairwise_scores(queries, candidates))


def check_information(case: Case) -> None:
    table = case["out.table"]
    rows = [[bits, share, *xor_information(int(bits), share)] for bits, share in table[:, :2].tolist()]
    case.check("out.table", torch.tensor(rows, dtype=torch.float64))


def check_xor(case: Case) -> None:
    case.check("out.v_c", combine_xor(case["in.v_a"], case["in.v_b"], case["in.i"]))


CHECKS = {
    "permutations": check_permutations,
    "all tuples": check_all_tuples,
    "pairwise": check_pairwise,
    "information": check_information,
    "xor": check_xor,
}
