"""AdaCAD and CAD against the authors' functions, key by key."""

import math
from typing import Any

import torch
from torch import Tensor

from dipole.decoding import AdaCAD, ContextAwareDecoding, context_aware_logits, jensen_shannon, nucleus_mask
from reference.cases import ABSOLUTE, Case, parametrize

KINDS = {
    "filters": "out.keep",
    "trajectories": "in.table_context",
    "step": "out.jsd_bits",
    "warm-up": "out.alpha",
    "extreme": "out.jsd",
}


@parametrize("adacad", KINDS)
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def both(case: Case) -> Tensor:
    return torch.stack([case["in.logits_context"], case["in.logits_no_context"]])


def check_step(case: Case) -> None:
    logits = both(case)
    case.check("out.jsd", jensen_shannon(*logits, log_base=math.e))
    case.check("out.jsd_bits", jensen_shannon(*logits, log_base=2))
    scores, details = AdaCAD().combine(logits)
    case.check("out.alpha", details["context_weight"])
    case.check("out.adjusted_logits", scores)
    case.check("out.probs", scores.softmax(dim=1))
    case.check("out.next_token", scores.argmax(dim=1))
    case.check("out.adjusted_probs_if_log2", AdaCAD(log_base=2).combine(logits)[0].softmax(dim=1))
    fixed, _ = ContextAwareDecoding(context_weight=case.params["cad_alpha"]).combine(logits)
    case.check("out.cad_logits", fixed)
    case.check("out.cad_logits", context_aware_logits(*logits, case.params["cad_alpha"]))
    case.check("out.cad_probs", fixed.softmax(dim=1))
    case.check("out.cad_next_token", fixed.argmax(dim=1))


def check_warmup(case: Case) -> None:
    logits = both(case)
    scores, details = AdaCAD(warmup=case.params["threshold"]).combine(logits)
    case.check("out.jsd", jensen_shannon(*logits))
    case.check("out.alpha", details["context_weight"])
    case.check("out.adjusted_logits", scores)
    case.check("out.probs", scores.softmax(dim=1))
    case.check("out.next_token", scores.argmax(dim=1))


def check_extreme(case: Case) -> None:
    """The authors clamp probabilities at 1e-9, which changes the divergence in the sixth digit."""
    scores, details = AdaCAD().combine(both(case))
    expected = {"jsd": details["context_weight"], "adjusted_logits": scores, "probs": scores.softmax(dim=1)}
    for name, value in expected.items():
        torch.testing.assert_close(value, case[f"out.{name}"], rtol=1e-5, atol=ABSOLUTE)
    case.check("out.next_token", scores.argmax(dim=1))


def check_filters(case: Case) -> None:
    decoder = AdaCAD(context_top_p=case.params["filter_top_p"], plain_top_p=case.params["filter_top_p_prior"])
    filtered = decoder.filtered(both(case))
    case.check("out.filtered_context", filtered[0])
    case.check("out.filtered_no_context", filtered[1])
    mixed, details = decoder.combine(both(case))
    case.check("out.alpha", details["context_weight"])
    case.check("out.mixed", mixed)
    case.check("out.keep", nucleus_mask(mixed, case.params["projection_top_p"]))
    case.check("out.next_token_greedy", mixed.argmax(dim=1))


def check_trajectories(case: Case) -> None:
    decoders: dict[str, Any] = {
        "adacad": AdaCAD(),
        "adacad_warm": AdaCAD(warmup=case.params["threshold"]),
        "cad": ContextAwareDecoding(context_weight=case.params["cad_alpha"]),
        "greedy_context": ContextAwareDecoding(context_weight=0.0),
    }
    tables = torch.stack([case["in.table_context"], case["in.table_no_context"]])
    bias = case["in.position_bias"]
    for name, decoder in decoders.items():
        token, tokens, weights = case.params["start_token"], [], []
        for step in range(case.params["T"]):
            scores, details = decoder.combine((tables[:, token] + bias[step])[:, None])
            token = int(scores.argmax())
            tokens.append(token)
            weights.append(details["context_weight"])
        case.check(f"out.{name}", torch.tensor(tokens))
        case.check(f"out.{name}_alpha", torch.cat(weights))


CHECKS = {
    "step": check_step,
    "warm-up": check_warmup,
    "extreme": check_extreme,
    "filters": check_filters,
    "trajectories": check_trajectories,
}
