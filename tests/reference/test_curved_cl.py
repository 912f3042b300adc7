"""Curved contrastive learning against the authors' code, key by key."""

import torch

from dipole.evaluation import (
    goal_curvature,
    goal_order_scores,
    planning_ranks,
    rank_of,
    reply_scores,
    sequence_scores,
)
from dipole.losses import curved_loss, margin_contrastive_loss
from dipole.views.text import context_is_odd, curved_pairs, is_odd
from reference.cases import Case, parametrize

KINDS = {
    "pairs": "in.draws",
    "losses": "in.nli_label",
    "sequences": "in.context_even",
    "goals": "in.goals_before",
    "replies": "in.true",
    "parities": "in.distance",
}


@parametrize("curved-cl", KINDS)
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def check_pairs(case: Case) -> None:
    lengths, window, draws = case.params["dialogue_lengths"], case.params["window"], case["in.draws"]
    pairs = curved_pairs(lengths, window=window, draws=draws, official_windows=True)
    for name in ("before", "after", "speaker"):
        case.check(f"out.{name}", getattr(pairs, name))
    case.check("out.label", pairs.label.double())
    classic = curved_pairs(lengths, window=window, draws=draws, official_windows=True, speaker_tokens=False)
    case.check("out.speaker_classic", classic.speaker)
    per_window = 3 * (window - 1)
    assert len(pairs.label) == case.params["n_windows_official"] * per_window
    assert len(curved_pairs(lengths, window=window).label) == case.params["n_windows_all"] * per_window


def check_losses(case: Case) -> None:
    u, v, label, inference = case.leaf("in.u"), case.leaf("in.v"), case["in.label"], case["in.nli_label"]
    rows = [reply_scores(a[None], b) for a, b in zip(u.detach(), v.detach(), strict=True)]
    case.check("out.cosine", torch.cat(rows))
    loss = curved_loss(u, v, label)
    case.check("out.loss", loss)
    case.check_gradient("grad.u", loss, u)
    case.check_gradient("grad.v", loss, v)
    margin = case.params["margin"]
    case.check("out.nli_official", margin_contrastive_loss(u, v, inference.double(), margin=margin))
    case.check("out.nli_binary", margin_contrastive_loss(u, v, (inference == 1).double(), margin=margin))


def check_sequences(case: Case) -> None:
    scores = sequence_scores(case["in.context_odd"], case["in.context_even"], case["in.candidates"])
    case.check("out.scores", scores)
    order = scores.argsort(descending=True)
    case.check("out.order", order)
    # What the authors' class returns: the places of the largest indices, not the best candidates.
    case.check("out.official_returned", order.topk(min(case.params["top_k"], len(order))).indices)
    nexts = case["in.batch_next"]
    scored = [
        sequence_scores(odd, even, nexts) for even, odd in zip(case["in.batch_even"], case["in.batch_odd"], strict=True)
    ]
    case.check("out.batch_scores", torch.stack(scored))
    ranks = torch.tensor([rank_of(row, place) for place, row in enumerate(scored)])
    case.check("out.batch_rank", ranks)
    case.check("out.mean_rank", ranks.double().mean())


def check_goals(case: Case) -> None:
    before, after, context = case["in.goals_before"], case["in.goals_after"], case["in.context"]
    curvature = goal_curvature(context, after)
    case.check("out.curving", curvature)
    case.check("out.greedy_best", curvature.argmax())
    case.check("out.greedy_rank", torch.tensor(rank_of(curvature)))
    for name, found in (
        ("iec", goal_order_scores(before, after)),
        ("iec_curving", goal_order_scores(before, after, curvature=curvature)),
    ):
        case.check("out.permutations", found.orders)
        case.check(f"out.{name}", found.scores)
        case.check(f"out.{name}_best", found.orders[found.scores.argmax()])
        case.check(f"out.{name}_ranks", torch.tensor(planning_ranks(found.scores)))


def check_replies(case: Case) -> None:
    scores = reply_scores(torch.cat([case["in.candidates"], case["in.true"][None]]), case["in.goal"])
    case.check("out.scores", scores)
    case.check("out.best", scores.argmax())
    case.check("out.rank", torch.tensor(rank_of(scores, -1)))


def check_parities(case: Case) -> None:
    distance = case["in.distance"]
    case.check("out.is_odd", torch.as_tensor(is_odd(distance)))
    # Position i from the end is at distance i + s: a context that ends s turns before what is scored.
    for ahead in (1, 2):
        assert context_is_odd(len(distance), ahead=ahead)[::-1] == [bool((i + ahead) % 2) for i in range(len(distance))]


CHECKS = {
    "pairs": check_pairs,
    "losses": check_losses,
    "sequences": check_sequences,
    "goals": check_goals,
    "replies": check_replies,
    "parities": check_parities,
}
