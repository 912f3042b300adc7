"""DebCSE's pairs and loss against independent loops, key by key.

The loss is that of supervised SimCSE; the weights of pairs are a reconstruction from the paper's abstract.
"""

import torch
from torch import Tensor

from dipole.losses import own_negatives_info_nce_loss, tuple_info_nce_loss
from dipole.negatives import gumbel_top_k, propensity_weights
from dipole.views.text import edit_distance, length_ratio, surface_similarity
from reference.cases import Case, parametrize

# No rounding stands between two orders of the same sums.
EXACT = 1e-9


@parametrize("debcse", {"surface": "in.a", "propensity": "in.sem", "loss": "in.neg_valid"})
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def texts(case: Case, key: str) -> list[str]:
    case.unread.discard(key)
    return [str(text) for text in case.values[key]]


def check_exactly(case: Case, key: str, actual: Tensor) -> None:
    torch.testing.assert_close(actual, case[key], rtol=EXACT, atol=EXACT, msg=lambda text: f"{case.name}.{key}: {text}")


def check_surface(case: Case) -> None:
    pairs = list(zip(texts(case, "in.a"), texts(case, "in.b"), strict=True))
    found = {
        "lev_word": [edit_distance(a, b) for a, b in pairs],
        "lev_char": [edit_distance(a, b, level="character") for a, b in pairs],
        "sim_word": [surface_similarity(a, b) for a, b in pairs],
        "sim_char": [surface_similarity(a, b, level="character") for a, b in pairs],
        "jaccard": [surface_similarity(a, b, measure="jaccard") for a, b in pairs],
        "length_ratio": [length_ratio(a, b) for a, b in pairs],
    }
    for name, values in found.items():
        expected = case[f"out.{name}"]
        check_exactly(case, f"out.{name}", torch.tensor(values, dtype=expected.dtype))


def check_propensity(case: Case) -> None:
    params, semantic, surface = case.params, case["in.sem"], case["in.surf"]
    options = {"alpha": params["alpha"], "beta": params["beta"]}
    options |= {"surface_epsilon": params["eps"], "semantic_floor": params["eps"]}
    for role, short, count, index in (("positive", "pos", 1, 0), ("negative", "neg", params["k"], slice(None))):
        weights = propensity_weights(
            semantic,
            surface,
            role=role,  # type: ignore[arg-type]
            threshold=params[f"delta_{short}"],
            **options,
        )
        check_exactly(case, f"out.p_{short}", weights)
        drawn = gumbel_top_k(weights, count, noise=case[f"in.gumbel_{short}"])
        assert torch.equal(drawn[:, index], case[f"out.{short}_index"]), short


def check_loss(case: Case) -> None:
    leaves = {name: case.leaf(f"in.{name}") for name in ("h", "pos", "neg")}
    h, pos, neg = leaves.values()
    valid, temperature = case["in.neg_valid"], case.params["temperature"]
    loss = tuple_info_nce_loss(h, pos, neg, valid=valid, temperature=temperature)
    case.check("out.loss", loss)
    for name, leaf in leaves.items():
        case.check_gradient(f"grad.{name}", loss, leaf)
    own = tuple_info_nce_loss(h, pos, neg, valid=valid, temperature=temperature, scope="own_negatives")
    case.check("out.loss_own_negatives", own)
    among = torch.eye(len(h), dtype=torch.bool)
    same = own_negatives_info_nce_loss(h, pos, pos, neg, exclude=among, valid=valid, temperature=temperature)
    case.check("out.loss_own_negatives", same)


CHECKS = {"surface": check_surface, "propensity": check_propensity, "loss": check_loss}
