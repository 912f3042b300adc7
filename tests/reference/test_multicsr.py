"""MultiCSR's three stages: the authors' loss and filter, and the formulas of their figures, key by key."""

import torch
from torch import Tensor, nn

from dipole.data.text import curate_scores, parse_similarity_score
from dipole.data.text.triplets import PRESETS
from dipole.decoding import OpposingInstructions, opposing_logits
from dipole.losses import false_negative_mask, masked_contrast_loss
from dipole.methods.text.simcse import dense_tanh
from reference.cases import Case, parametrize


@parametrize("multicsr", {"loss": "in.mask_h", "generation": "in.opposite_logits", "curation": "in.raw_answers"})
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def check_loss(case: Case) -> None:
    params, h, frozen = case.params, case.leaf("in.h"), case["in.mask_h"]
    head = dense_tanh(params["D"]).double()
    dense = head[0]
    assert isinstance(dense, nn.Linear)
    dense.load_state_dict({"weight": case["in.weight"], "bias": case["in.bias"]})
    z = head(h).unbind(dim=1)
    anchors, positives, negatives = frozen.unbind(dim=1)
    own = torch.arange(len(h))
    mask = false_negative_mask(anchors, torch.cat([positives, negatives]), threshold=params["phi"], positives=own)
    case.check("out.keep", ~mask)

    def loss(marked: Tensor, form: str) -> Tensor:
        return masked_contrast_loss(*z, marked, form=form, temperature=params["temperature"])  # type: ignore[arg-type]

    leaves = {"h": h, "weight": dense.weight, "bias": dense.bias}
    for name, form in (("infonce_masked", "info_nce"), ("infonce_zeroed", "zeroed"), ("official_bce", "official_bce")):
        value = loss(mask, form)
        case.check(f"out.{name}", value)
        for leaf, tensor in leaves.items():
            if f"grad.{leaf}.{name}" in case:
                case.check_gradient(f"grad.{leaf}.{name}", value, tensor)
    case.check("out.infonce_unmasked", loss(torch.zeros_like(mask), "info_nce"))
    case.check("out.infonce_unmasked", loss(torch.zeros_like(mask), "zeroed"))


def check_generation(case: Case) -> None:
    logits, opposite, omega = case["in.logits"], case["in.opposite_logits"], case.params["omega"]
    combined = opposing_logits(logits, opposite, omega)
    case.check("out.combined", combined)
    case.check("out.combined", OpposingInstructions(opposite_weight=omega).combine(torch.stack([logits, opposite]))[0])
    case.check("out.log_probs", combined.log_softmax(dim=1))
    case.check("out.greedy", combined.argmax(dim=1))
    case.check("out.greedy_without", opposing_logits(logits, opposite, 0.0).argmax(dim=1))


def check_curation(case: Case) -> None:
    params = case.params
    a, b = case["in.a"].numpy(), case["in.b"].numpy()
    found = curate_scores(a, b, at_least=params["alpha"], at_most=params["beta"], gap=params["gamma"])
    for name, values in (
        ("swapped", found.swapped),
        ("positive_score", found.positive),
        ("negative_score", found.negative),
        ("keep_rule", found.keep),
    ):
        case.check(f"out.{name}", torch.from_numpy(values))
    at_least, at_most, gap = PRESETS.get(params["filter_type"], (params["alpha"], params["beta"], False))
    official = curate_scores(a, b, at_least=at_least, at_most=at_most, gap=0.0, official_gap=gap)
    case.check("out.keep_official", torch.from_numpy(official.keep))
    case.unread.discard("in.raw_answers")
    answers = [str(answer) for answer in case.values["in.raw_answers"]]
    case.check("out.valid", torch.tensor([parse_similarity_score(answer) is not None for answer in answers]))


CHECKS = {"loss": check_loss, "generation": check_generation, "curation": check_curation}
