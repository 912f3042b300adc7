"""CWCL against independent code, key by key."""

import torch
import torch.nn.functional as F
from torch import Tensor

from dipole.evaluation import class_embeddings, zero_shot_scores
from dipole.losses import continuous_weights, cwcl_loss, info_nce_loss, weighted_contrastive_loss
from reference.cases import Case, parametrize


@parametrize("cwcl", {"loss": "in.u_raw", "given weights": "in.weights", "zero-shot": "in.class_template_embed"})
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def logit_scale(case: Case) -> Tensor:
    return torch.tensor(case.params["logit_scale"], dtype=torch.float64, requires_grad=True)


def check_loss(case: Case) -> None:
    u, v, scale = case.leaf("in.u_raw"), case.leaf("in.v_embed"), logit_scale(case)
    features = case["in.weight_embed"]
    temperature = 1 / scale
    assert abs(float(temperature.detach()) - case.params["temperature"]) < 1e-12
    weights = continuous_weights(features)
    case.check("out.weights", weights)
    weighted = weighted_contrastive_loss(v, u, weight_embeddings=features, temperature=temperature)
    case.check("out.loss_v_to_u", weighted)
    case.check("out.loss_v_to_u", weighted_contrastive_loss(v, u, weights=weights, temperature=temperature))
    identity = torch.eye(len(u), dtype=torch.float64)
    plain = weighted_contrastive_loss(v, u, weights=identity, temperature=temperature)
    case.check("out.loss_v_to_u_identity_weights", plain)
    case.check("out.loss_u_to_v", info_nce_loss(u, v, temperature=temperature))
    for source in ({"weight_embeddings": features}, {"weights": weights}):
        loss = cwcl_loss(u, v, temperature=temperature, **source)
        case.check("out.loss", loss)
        case.check("out.loss_mean_of_directions", cwcl_loss(u, v, temperature=temperature, directions="mean", **source))
        # v is of unit length and enters the reference as it is: compare gradients without the normalisation's.
        unit = cwcl_loss(F.normalize(u, dim=1), v, temperature=temperature, normalize=False, **source)
        case.check("out.loss", unit)
        case.check_gradient("grad.u_raw", loss, u)
        case.check_gradient("grad.v_embed", unit, v)
        case.check_gradient("grad.logit_scale", loss, scale)


def check_given_weights(case: Case) -> None:
    u, v, weights = case.leaf("in.u_embed"), case["in.v_embed"], case["in.weights"]
    labels, temperature = case["in.labels"], 1 / logit_scale(case)
    torch.testing.assert_close(weights, (labels[:, None] == labels).double())
    options = {"temperature": temperature, "normalize": False}
    weighted = weighted_contrastive_loss(v, u, weights=weights, **options)
    plain = info_nce_loss(u, v, **options)
    case.check("out.loss_v_to_u", weighted)
    case.check("out.loss_u_to_v_plain", plain)
    torch.testing.assert_close(cwcl_loss(u, v, weights=weights, **options), weighted + plain)
    both = cwcl_loss(u, v, weights=weights, weighted="both", **options)
    case.check("out.loss_both_weighted", both)
    case.check_gradient("grad.u_embed_both_weighted", both, u)


def check_zero_shot(case: Case) -> None:
    classes = class_embeddings(case["in.class_template_embed"])
    case.check("out.class_embed", classes)
    scores = zero_shot_scores(case["in.u_embed"], classes)
    case.check("out.logits", scores)
    case.check("out.pred", scores.argmax(dim=1))


CHECKS = {"loss": check_loss, "given weights": check_given_weights, "zero-shot": check_zero_shot}
