"""CUT against the authors' code and, for the paper's form, independent code, key by key."""

from typing import Any

import torch
from torch import Tensor

from dipole.losses import cut_loss
from dipole.losses.cut import CUTTerms, ResponseTokens, cut_terms, response_tokens
from reference.cases import Case, parametrize

PAPER: dict[str, Any] = {"reduction": "sample", "combine": "sum"}


@parametrize(
    "cut",
    {
        "authors": "out.inappropriate_flags",
        "paper": "out.L1",
        "strict": "out.total_threshold_3",
        "satisfactory": "out.mle",
    },
)
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


class Batch:
    """The inputs of a case."""

    def __init__(self, case: Case) -> None:
        weight = case["in.weight_unlike"].squeeze(1)
        self.logits = case.leaf("in.logits")
        self.judged, self.plain = self.logits.chunk(2)
        self.labels, self.labels_plain = case["in.labels"], case["in.labels_plain"]
        self.is_negative = weight != -1
        # One weight for the whole batch, as in the authors' code.
        self.alpha = float(weight[self.is_negative][0]) if bool(self.is_negative.any()) else 1.0

    def loss(self, **options: Any) -> Tensor:
        return cut_loss(
            self.judged,
            self.labels,
            self.plain,
            self.labels_plain,
            self.is_negative,
            **{"alpha": self.alpha, **options},
        )

    def terms(self, **options: Any) -> CUTTerms:
        judged = response_tokens(self.judged, self.labels)
        rows = torch.arange(len(self.labels))[self.is_negative]
        plain = response_tokens(self.plain[rows], self.labels_plain[rows])
        plain = ResponseTokens(plain.log_probability, plain.token, rows[plain.sample])
        return cut_terms(judged, plain, self.is_negative, **{"alpha": self.alpha, **options})

    def probabilities(self, which: str) -> Tensor:
        """(B, T − 1), 0 where there is no token of a response."""
        logits, labels = (self.judged, self.labels) if which == "judged" else (self.plain, self.labels_plain)
        found = torch.zeros_like(logits[:, 1:, 0])
        found[labels[:, 1:] != -100] = response_tokens(logits, labels).log_probability.exp()
        return found


def check_authors(case: Case) -> None:
    batch = Batch(case)
    threshold = case.params["threshold"]
    terms = batch.terms(threshold=threshold)
    case.check("out.mle", terms.likelihood)
    case.check("out.unlikelihood", terms.unlikelihood)
    case.check("out.total", terms.loss)
    case.check("out.inappropriate_flags", terms.inappropriate)
    samples = batch.terms(threshold=threshold, reduction="sample")
    case.check("out.mle_sample_mean", samples.likelihood)
    case.check("out.unlikelihood_sample_mean", samples.unlikelihood)
    for which in ("judged", "plain"):
        case.check(f"out.prob_{which}", batch.probabilities(which))
    loss = batch.loss(threshold=threshold)
    case.check("out.total", loss)
    case.check_gradient("grad.logits", loss, batch.logits)


def check_paper(case: Case) -> None:
    batch = Batch(case)
    options = {**PAPER, **{name: case.params[name] for name in ("alpha", "threshold", "gamma")}}
    terms = batch.terms(**options)
    case.check("out.L1", terms.unlikelihood)
    case.check("out.L2", terms.likelihood)
    loss = batch.loss(**options)
    case.check("out.total", loss)
    case.check_gradient("grad.logits", loss, batch.logits)


def check_satisfactory(case: Case) -> None:
    batch = Batch(case)
    terms = batch.terms(threshold=case.params["threshold"])
    case.check("out.mle", terms.likelihood)
    assert float(terms.unlikelihood) == 0
    loss = batch.loss(threshold=case.params["threshold"])
    case.check("out.total", loss)
    case.check_gradient("grad.logits", loss, batch.logits)


def check_strict(case: Case) -> None:
    batch = Batch(case)
    for which in ("judged", "plain"):
        scored = (batch.labels if which == "judged" else batch.labels_plain)[:, 1:] != -100
        case.check(f"out.prob_{which}", batch.probabilities(which)[scored])
    # At a ratio of exactly λ rounding decides; only the token that is clearly beyond it is told.
    assert bool(batch.terms(threshold=case.params["threshold"]).inappropriate[case.params["flagged_token_index"]])
    terms = batch.terms(threshold=3.0)
    case.check("out.unlikelihood_threshold_3", terms.unlikelihood)
    case.check("out.total_threshold_3", terms.loss)


CHECKS = {"authors": check_authors, "paper": check_paper, "strict": check_strict, "satisfactory": check_satisfactory}
