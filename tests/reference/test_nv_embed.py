"""NV-Embed's pooling, losses, mining and decoder without a causal mask, key by key."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dipole.losses import tuple_info_nce_loss
from dipole.negatives import mine_positive_aware
from dipole.nn.text import make_bidirectional, pool
from dipole.nn.text.latent_attention import OFFICIAL_NAMES, LatentAttentionPooling
from reference.cases import Case, parametrize

# transformers computes norms, softmax and rotary tables of a float64 model in float32.
DECODER = {"rtol": 1e-5, "atol": 1e-6}


@parametrize(
    "nv-embed", {"pooling": "in.cotangent", "losses": "in.q", "mining": "in.scores", "decoder": "in.input_ids"}
)
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def check_pooling(case: Case) -> None:
    params, hidden = case.params, case.leaf("in.hidden")
    pooling = LatentAttentionPooling(
        params["hidden"],
        num_latents=params["num_latents"],
        num_heads=params["heads"],
        head_width=params["dim_head"],
    ).double()
    pooling.load_state_dict({ours: case[f"in.weight.{theirs}"] for ours, theirs in OFFICIAL_NAMES.items()})
    states = pooling.states(hidden)
    case.check("out.cross_attention", states.found)
    case.check("out.tokens", states.tokens)
    pooled = pooling(hidden, case["in.pool_mask"])
    case.check("out.pooled", pooled)
    unit = F.normalize(pooled, dim=1)
    case.check("out.pooled_normalised", unit)
    # Instructions stand at the front of the text and do not count.
    instruction = torch.arange(hidden.shape[1]) < torch.tensor(params["instruction_lens"])[:, None]
    assert torch.equal(case["in.pool_mask"].bool(), case["in.attention_mask"].bool() & ~instruction)
    total = (unit * case["in.cotangent"]).sum()
    case.check_gradient("grad.hidden", total, hidden)
    weights = dict(pooling.named_parameters())
    assert set(weights) == set(OFFICIAL_NAMES)
    for ours, theirs in OFFICIAL_NAMES.items():
        case.check_gradient(f"grad.weight.{theirs}", total, weights[ours])


def check_losses(case: Case) -> None:
    leaves = {name: case.leaf(f"in.{name}") for name in ("q", "p", "n")}
    assert leaves["n"].shape[1] == case.params["num_hard"]
    for name, scope in (("stage1_shared", "batch"), ("stage1_own_hard", "own_negatives"), ("stage2", "own")):
        loss = tuple_info_nce_loss(*leaves.values(), scope=scope, temperature=case.params["temperature"])  # type: ignore[arg-type]
        case.check(f"out.{name}", loss)
        for key, leaf in leaves.items():
            if loss.requires_grad and f"grad.{name}.{key}" in case:
                case.check_gradient(f"grad.{name}.{key}", loss, leaf)


def check_mining(case: Case) -> None:
    params, scores, positives = case.params, case["in.scores"], case["in.positive_index"]
    limits: dict[str, dict[str, Any]] = {
        "topk_naive": {"percentage": None},
        "perc": {"percentage": params["percentage"]},
        "margin": {"percentage": None, "margin": params["margin"]},
    }
    for name, options in limits.items():
        case.check(f"out.{name}", mine_positive_aware(scores, positives, params["K"], **options))


def check_decoder(case: Case) -> None:
    from transformers import MistralConfig, MistralModel

    settings = dict(case.params["config"])
    settings["rope_parameters"] = {"rope_type": "default", "rope_theta": settings.pop("rope_theta")}
    ids, mask = case["in.input_ids"], case["in.attention_mask"]
    weights = {name: case[f"in.weight.{name}"] for name in case.names("in.weight.")}
    real = mask.bool()
    for implementation in ("eager", "sdpa"):
        decoder: Any = (
            MistralModel._from_config(MistralConfig(**settings), attn_implementation=implementation).double().eval()
        )
        decoder.load_state_dict(weights)
        causal = states(decoder, ids, mask)
        torch.testing.assert_close(causal[real], case["out.causal"][real], **DECODER)
        found = states(make_bidirectional(decoder), ids, mask)
        for name in ("bidirectional", "bidirectional_numpy"):
            torch.testing.assert_close(found[real], case[f"out.{name}"][real], **DECODER)
        assert not torch.allclose(found[real], causal[real], rtol=0.01)
        for pooling, name in (("mean", "mean_pooled"), ("last", "eos_pooled")):
            torch.testing.assert_close(pool(found, mask, pooling), case[f"out.{name}"], **DECODER)  # type: ignore[arg-type]


@torch.no_grad()
def states(decoder: Any, ids: Tensor, mask: Tensor) -> Tensor:
    return decoder(input_ids=ids, attention_mask=mask).last_hidden_state


CHECKS = {"pooling": check_pooling, "losses": check_losses, "mining": check_mining, "decoder": check_decoder}
