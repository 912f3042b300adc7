"""Feature transformation against the authors' code, key by key."""

import torch
from torch import Tensor

from dipole.diagnostics import score_curves, score_gradients, score_statistics
from dipole.losses import (
    TransformDraws,
    extrapolate_positives,
    feature_transform_loss,
    info_nce_loss,
    transform_features,
)
from dipole.negatives import Queue
from reference.cases import Case, parametrize

COLUMNS = ("score_neg_mean", "score_neg_var", "score_pos", "score_exp_neg_mean", "score_exp_pos")


@parametrize("feature-transform", {"step": "in.keys_to_enqueue", "closed form": "in.lam", "curves": "in.records"})
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def check_step(case: Case) -> None:
    q, k, queue = case.leaf("in.q"), case["in.k"], case["in.queue"]
    draws = draws_of(case)
    plain = {"temperature": case.params["tau"], "normalize": False}
    options = {"post_norm": case.params["post_norm"], "normalize": False}
    seen = transform_features(q, k, queue, draws, **options)
    for name, rows in zip(("q_mix", "k_mix", "queue_mix"), seen, strict=True):
        case.check(f"out.{name}", rows)
    positive, negative = (seen.queries * seen.keys).sum(dim=1), seen.queries @ seen.negatives.T
    case.check("out.logits", torch.cat([positive[:, None], negative], dim=1) / case.params["tau"])
    loss = feature_transform_loss(q, k, queue, draws=draws, temperature=case.params["tau"], **options)
    case.check("out.loss", loss)
    case.check_gradient("grad.q", loss, q)
    case.check("out.loss_without_transform", info_nce_loss(q, k, queue, **plain))
    for name, column in zip(COLUMNS, score_statistics(*seen, **plain).unbind(dim=1), strict=True):
        case.check(f"out.{name}", column)
    of_positive, of_negatives = score_gradients(positive, negative, temperature=case.params["tau"])
    case.check("out.grad_wrt_pos_score", of_positive)
    case.check("out.grad_wrt_neg_scores", of_negatives)
    check_queue(case, queue)


def draws_of(case: Case) -> TransformDraws:
    """λ and permutation, as far as the target has them."""
    target, scalar = case.params["target"], case.params["scalar"]
    assert ("in.lam_ex" in case, "in.lam_in" in case) == ("pos" in target, "neg" in target)
    extrapolation = interpolation = permutation = None
    if "in.lam_ex" in case:
        extrapolation = case["in.lam_ex"]
        case.check("in.lam_ex", case["in.beta_draw_pos"] + 1)
        assert (extrapolation.ndim == 0) == scalar
    if "in.lam_in" in case:
        interpolation, permutation = case["in.lam_in"], case["in.perm"]
        assert (interpolation.ndim == 0) == scalar
    return TransformDraws(extrapolation, interpolation, permutation)


def check_queue(case: Case, start: Tensor) -> None:
    """The keys are enqueued as they were."""
    queue = Queue(*start.shape).to(start.dtype)
    queue.entries.copy_(start)
    queue.pointer.fill_(case.params["queue_ptr"])
    queue.enqueue(case["in.keys_to_enqueue"])
    case.check("out.queue_after", queue.entries)
    case.check("out.queue_ptr_after", queue.pointer)


def check_closed_form(case: Case) -> None:
    q, k = case["in.q"], case["in.k"]
    score = (q * k).sum(dim=1)
    case.check("out.score", score)
    mixed = []
    for coefficient in case["in.lam"].tolist():
        queries, keys = extrapolate_positives(q, k, coefficient)
        mixed.append((queries * keys).sum(dim=1))
        other = 1 - coefficient
        torch.testing.assert_close(mixed[-1], 2 * coefficient * other + (coefficient**2 + other**2) * score)
    case.check("out.score_mixed", torch.stack(mixed))


def check_curves(case: Case) -> None:
    for name, curve in score_curves(list(case["in.records"]))._asdict().items():
        case.check(f"out.{name}", curve)


CHECKS = {"step": check_step, "closed form": check_closed_form, "curves": check_curves}
