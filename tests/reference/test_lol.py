"""LOL's parts against the codes of ICD and DoLa, and its reconstruction against independent loops, key by key."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from dipole.decoding.contrast import (
    chosen_layer,
    contrastive_log_probs,
    dola_select_layer,
    early_exit_logits,
    layer_divergence,
    lol_logits,
    plausibility_mask,
)
from dipole.evaluation import multiple_choice_scores
from reference.cases import Case, parametrize

KINDS = {
    "contrast": "out.logprob_baseline",
    "layers": "out.js_official",
    "fused": "out.fused",
    "choice": "in.scores_true",
    "early exit": "in.lm_head",
}


@parametrize("lol", KINDS)
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def answer(case: Case) -> tuple[slice, Tensor]:
    """The positions whose logits predict the answer, and its tokens."""
    start, ids = case.params["prompt_len"], case["in.input_ids"]
    return slice(start - 1, len(ids) - 1), ids[start:]


def total(scores: Tensor, tokens: Tensor) -> Tensor:
    return scores.gather(1, tokens[:, None]).sum()


def check_contrast(case: Case) -> None:
    places, tokens = answer(case)
    original, amateur = case["in.logits_original"][places], case["in.logits_amateur"][places]
    top, fill = case.params["relative_top"], case.params["relative_top_value"]
    case.check("out.masked", ~plausibility_mask(original, top))
    case.check("out.diff_log_softmax", contrastive_log_probs(original, amateur, relative_top=0.0))
    for post in (0, 1):
        for masked, share in ((0, 0.0), (1, top)):
            options = {"relative_top": share, "post_softmax": bool(post), "fill": fill}
            scores = contrastive_log_probs(original, amateur, **options)
            case.check(f"out.logprob_post{post}_top{masked}", total(scores, tokens))
    for key, share in (("apc", top), ("no_apc", 0.0)):
        scores = contrastive_log_probs(original, amateur, relative_top=share, post_softmax=False, fill=-math.inf)
        case.check(f"out.next_token_{key}", scores.argmax(dim=1))
    case.check("out.logprob_baseline", total(original.log_softmax(dim=1), tokens))


def check_layers(case: Case) -> None:
    places, tokens = answer(case)
    mature = case["in.logits_mature"][places]
    numbers = case.params["candidate_layers"]
    early = torch.stack([case[f"in.logits_layer_{number}"][places] for number in numbers])
    case.check("out.js_official", layer_divergence(mature, early).T)
    case.check("out.js_true", layer_divergence(mature, early, jsd="textbook").T)
    place = dola_select_layer(mature, early)
    case.check("out.chosen_layer", torch.tensor(numbers)[place])
    low, top = chosen_layer(early, place), case.params["relative_top"]
    case.check("out.logprob", total(contrastive_log_probs(mature, low, relative_top=top), tokens))
    plain = contrastive_log_probs(mature, low, relative_top=top, post_softmax=False)
    case.check("out.logprob_no_post_softmax", total(plain, tokens))


def check_fused(case: Case) -> None:
    original, guided = case["in.logits_original"], case["in.logits_original_guided"]
    amateur = case["in.logits_amateur"]
    lower = (case["in.logits_original_lower"][None], case["in.logits_amateur_lower"][None])
    weights = {name: case.params[name] for name in ("beta", "omega", "lam", "alpha")}
    found = lol_logits(original, amateur, *lower, guided, **weights)
    for key, value in (
        ("final_contrast", found.final),
        ("lower_contrast", found.lower),
        ("refocused", found.refocused),
        ("fused", found.fused),
        ("valid", found.valid),
    ):
        case.check(f"out.{key}", value)
    log_probability = found.scores.log_softmax(dim=1)
    case.check("out.probs", log_probability.exp())
    case.check("out.next_token", found.scores.argmax(dim=1))
    target = case["in.target_ids"][:, None]
    own = log_probability.gather(1, target)[:, 0]
    case.check("out.logprob", torch.where(found.valid.gather(1, target)[:, 0], own, -1000.0))
    alone = contrastive_log_probs(original, amateur, relative_top=weights["alpha"], post_softmax=False, fill=-math.inf)
    case.check("out.next_token_final_only", alone.argmax(dim=1))
    without = lol_logits(original, amateur, *lower, **{**weights, "omega": 0.0})
    torch.testing.assert_close(without.scores, alone)


def check_choice(case: Case) -> None:
    for suffix, official in (("", False), ("_underflow", True)):
        true, false = case[f"in.scores_true{suffix}"], case[f"in.scores_false{suffix}"]
        found = multiple_choice_scores(true, false, case.params["best_index"], official_underflow=official)
        for key, value in zip(("MC1", "MC2", "MC3"), found, strict=True):
            case.check(f"out.{key}{suffix}", torch.tensor(value, dtype=torch.float64))


def check_early_exit(case: Case) -> None:
    hidden, weight = case["in.hidden"], case["in.norm_weight"]
    matrix = case["in.lm_head"]

    def head(x: Tensor) -> Tensor:
        return x @ matrix.T

    def norm(x: Tensor) -> Tensor:
        return F.rms_norm(x, weight.shape, weight, eps=case.params["rms_eps"])

    case.check("out.logits_raw", early_exit_logits(hidden, head))
    case.check("out.logits_normed", early_exit_logits(hidden, head, norm))


CHECKS = {
    "contrast": check_contrast,
    "layers": check_layers,
    "fused": check_fused,
    "choice": check_choice,
    "early exit": check_early_exit,
}
