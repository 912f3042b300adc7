"""MoCHi against independent code, key by key."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dipole.diagnostics import alignment, proxy_accuracy, uniformity
from dipole.losses import info_nce_loss, own_negatives_info_nce_loss
from dipole.negatives import MixedNegatives, MixingDraws, Queue, mix_hard_negatives
from dipole.nn import MomentumEncoder
from reference.cases import Case, parametrize


@parametrize("mochi", {"step": "in.mix_i", "queue": "in.keys", "geometry": "in.x"})
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def check_step(case: Case) -> None:
    """A whole step; with ids, entries of the query's class are none of its negatives."""
    q, k, queue, temperature = case.leaf("in.q"), case["in.k"], case["in.queue"], case.params["tau"]
    exclude = case["in.ids_q"][:, None] == case["in.ids_queue"] if "in.ids_q" in case else None
    draws = MixingDraws(*(case[f"in.{name}"] for name in ("mix_i", "mix_j", "alpha", "mix_q", "beta")))
    assert draws.first.shape[1] == case.params["s"]
    assert draws.negative.shape[1] == case.params["s_prime"]
    mixing = {"num_hard": case.params["N"], "draws": draws, "allow_repeat": True, "normalize": False}
    mixed = mix_hard_negatives(q, queue, exclude=exclude, **mixing)
    case.check("out.hard_idx", mixed.hardest)
    case.check("out.h", mixed.pairs)
    case.check("out.h_prime", mixed.with_query)
    case.check("out.logits", logits(q, k, queue, mixed, exclude) / temperature)
    candidates = (q, k, queue, mixed.all)
    options = {"exclude": exclude, "valid": mixed.valid}
    plain = {
        "temperature": temperature,
        "normalize": False,
    }  # rows are of unit length; gradients are with respect to them
    losses = own_negatives_info_nce_loss(*candidates, **options, **plain, reduction="none")
    case.check("out.loss", losses.mean())
    case.check_gradient("grad.q", losses.mean(), q)
    if "out.loss_per_query" in case:
        case.check("out.loss_per_query", losses)
    if "out.mask" in case:
        assert exclude is not None
        case.check("out.mask", exclude.to(case["out.mask"].dtype))
    if "out.loss_moco_without_synth" in case:
        case.check("out.loss_moco_without_synth", info_nce_loss(q, k, queue, **plain))
    if "out.loss_without_oracle" in case:
        mixed = mix_hard_negatives(q, queue, **mixing)
        loss = own_negatives_info_nce_loss(q, k, queue, mixed.all, **plain)
        case.check("out.loss_without_oracle", loss)
    if "out.proxy_top1" in case:
        case.check("out.proxy_top1", proxy_accuracy(*candidates, **options))
    if "out.grad_q_if_not_detached" in case:
        # The mistake of letting gradient into the query inside h'.
        negatives = queue[mixed.hardest.gather(1, draws.negative)]
        share = draws.query_share[..., None]
        attached = F.normalize(share * q[:, None] + (1 - share) * negatives, dim=-1)
        own = torch.cat([mixed.pairs, attached], dim=1)
        loss = own_negatives_info_nce_loss(q, k, queue, own, **plain)
        case.check_gradient("out.grad_q_if_not_detached", loss, q)


def logits(q: Tensor, k: Tensor, queue: Tensor, mixed: MixedNegatives, exclude: Tensor | None) -> Tensor:
    """Scores of positive, queue, pairs, mixtures with the query."""
    bank = q @ queue.T
    if exclude is not None:
        bank = bank.masked_fill(exclude, -torch.inf)
    own = (mixed.all @ q[..., None])[..., 0].masked_fill(~mixed.valid, -torch.inf)
    return torch.cat([(q * k).sum(dim=1, keepdim=True), bank, own], dim=1)


def check_queue(case: Case) -> None:
    """First in, first out, around the end; and the momentum encoder."""
    start, keys = case["in.queue"], case["in.keys"]
    queue = Queue(*start.shape).to(start.dtype)
    queue.entries.copy_(start)
    queue.pointer.fill_(case.params["ptr"])
    queue.enqueue(keys)
    case.check("out.queue", queue.entries)
    case.check("out.ptr", queue.pointer)
    online = nn.ParameterList([case["in.param_q"]])
    follower = MomentumEncoder(online, case.params["m"])
    follower.module[0].copy_(case["in.param_k"])  # type: ignore[operator, index]
    follower.update(online)
    case.check("out.param_k", follower.module[0])  # type: ignore[arg-type, index]


def check_geometry(case: Case) -> None:
    x, y = case["in.x"], case["in.y"]
    case.check("out.alignment", alignment(x, y, alpha=case.params["a"]))
    case.check("out.uniformity", uniformity(x, t=case.params["t"]))


CHECKS = {"step": check_step, "queue": check_queue, "geometry": check_geometry}
