"""SuSana's episode losses against the authors' code, key by key."""

from typing import Any

from dipole.losses.episodes import episode_loss, prototype_logits
from dipole.losses.susana import (
    class_prototypes,
    icnn_loss,
    icnn_older_score,
    icnn_score,
    proto_triplet_loss,
)
from reference.cases import Case, parametrize

KINDS = {"triplet": "out.per_query", "episode": "out.logits", "icnn": "out.lambda_same", "older": "out.score"}


@parametrize("susana", KINDS)
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def check_triplet(case: Case) -> None:
    support, query = case.leaf("in.support"), case.leaf("in.query")
    prototypes, classes = class_prototypes(support, case["in.support_labels"])
    case.check("out.prototypes", prototypes)
    given = (query, case["in.query_labels"], prototypes, classes)
    case.check("out.per_query", proto_triplet_loss(*given, margin=case.params["margin"], reduction="none"))
    loss = proto_triplet_loss(*given, margin=case.params["margin"])
    case.check("out.loss", loss)
    case.check_gradient("grad.support", loss, support)
    case.check_gradient("grad.query", loss, query)


def check_icnn(case: Case) -> None:
    origin = case.leaf("in.origin")
    target = case.leaf("in.target") if "in.target" in case else None
    among = (None, None) if target is None else (target, case["in.target_labels"])
    # The authors' code leaves the nearest target out even where it is not the row itself.
    options: dict[str, Any] = {"k": case.params["k"], "items_per_class": case.params["ipc"], "drop_first": True}
    found = icnn_score(origin, case["in.origin_labels"], *among, **options)
    case.check("out.score", found.score)
    case.check("out.lambda_same", found.same)
    case.check("out.lambda_diff", found.different)
    case.check("out.gamma", found.purity)
    loss = icnn_loss(origin, case["in.origin_labels"], *among, **options)
    case.check("out.loss", loss)
    case.check_gradient("grad.origin", loss, origin)
    if target is not None:
        case.check_gradient("grad.target", loss, target)


def check_episode(case: Case) -> None:
    support, query = case.leaf("in.support"), case.leaf("in.query")
    prototypes, _ = class_prototypes(support, case["in.support_labels"])
    temperature = case.params["temperature"]
    case.check("out.logits", prototype_logits(query, prototypes, temperature=temperature))
    loss = episode_loss(
        support,
        case["in.support_labels"],
        query,
        case["in.query_labels"],
        terms=case.params["losses"].split(","),
        margin=case.params["margin"],
        k=case.params["k"],
        temperature=temperature,
        query_to="prototypes" if case.params.get("query_protos") else "support",
        drop_first=True,
    )
    case.check("out.loss", loss)
    case.check_gradient("grad.support", loss, support)
    case.check_gradient("grad.query", loss, query)


def check_older(case: Case) -> None:
    origin = case.leaf("in.origin")
    powers = {name: case.params[name] for name in ("k", "p", "r")}
    score = icnn_older_score(origin, case["in.origin_labels"], **powers)
    case.check("out.score", score)
    case.check("out.loss", -score.log())
    case.check_gradient("grad.origin", -score.log(), origin)


CHECKS = {"triplet": check_triplet, "icnn": check_icnn, "episode": check_episode, "older": check_older}
