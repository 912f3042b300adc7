"""MCLRec against the authors' code and, for the paper's form of the regulariser, independent code, key by key."""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from dipole.data.recommendation import expand_prefixes, leave_one_out
from dipole.evaluation.ranking import ranking_metrics, target_ranks
from dipole.losses.mclrec import contrastive_regularizer, mclrec_terms, two_view_info_nce
from dipole.methods.recommendation.mclrec import MCLRec
from dipole.nn.recommendation import AttentionAugmenter, ModelAugmenter, SASRecEncoder
from dipole.views.sequences import crop_sequences, cropped_length, share_of
from reference.cases import Case, load, parametrize

# RecBole's names of the parts of a layer, and ours.
LAYER = {
    "multi_head_attention.query": "query",
    "multi_head_attention.key": "key",
    "multi_head_attention.value": "value",
    "multi_head_attention.dense": "output",
    "multi_head_attention.LayerNorm": "attention_norm",
    "feed_forward.dense_1": "feed_forward.0",
    "feed_forward.dense_2": "feed_forward.2",
    "feed_forward.LayerNorm": "feed_forward_norm",
}


@parametrize(
    "mclrec",
    {
        "info_nce": "out.logits",
        "augmenters": "out.attn",
        "regularizer": "out.paper",
        "views": "out.reg_term",
        "model": "out.loss_step1",
        "steps": "out.losses",
        "augmentations": "out.aug1",
        "metrics": "out.ndcg",
        "split": "out.train",
    },
)
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def check_info_nce(case: Case) -> None:
    a, b = case.leaf("in.z_i"), case.leaf("in.z_j")
    similarity = {"dot": "dot", "cos": "cosine"}[case.params["sim"]]
    loss = two_view_info_nce(a, b, temperature=case.params["tau"], similarity=similarity)
    case.check("out.loss", loss)
    case.check_gradient("grad.z_i", loss, a)
    case.check_gradient("grad.z_j", loss, b)
    # The loss keeps no logits; the ones in the file must give it.
    logits = case["out.logits"]
    torch.testing.assert_close((logits.logsumexp(dim=1) - logits[:, 0]).mean(), loss.detach(), rtol=1e-6, atol=1e-9)
    z = torch.cat([a, b]).detach()
    z = nn.functional.normalize(z, dim=1) if similarity == "cosine" else z
    scores = z @ z.T / case.params["tau"]
    count = len(a)
    for row in range(2 * count):
        partner = (row + count) % (2 * count)
        others = [column for column in range(2 * count) if column not in (row, partner)]
        ours = torch.cat([scores[row, [partner]], scores[row, others].sort().values])
        theirs = torch.cat([logits[row, :1], logits[row, 1:].sort().values])
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-9)


def augmenter(case: Case, prefix: str) -> ModelAugmenter:
    weights = case.names(prefix)
    count = len(weights) // 2
    widths = [len(case[f"{prefix}dense_{layer}.bias"]) for layer in range(1, count + 1)]
    built = ModelAugmenter(widths[-1], widths[:-1]).double()
    built.load_state_dict(
        {f"network.{2 * (int(name[6]) - 1)}{name[7:]}": case[prefix + name] for name in weights}  # dense_1.weight
    )
    return built


def check_augmenters(case: Case) -> None:
    x = case.leaf("in.x")
    mlp = augmenter(case, "in.mlp.")
    attention = AttentionAugmenter(x.shape[1]).double()
    parts = {"dense_1": "query", "dense_2": "key", "dense_3": "value"}
    attention.load_state_dict(
        {
            f"{part}.{kind}": case[f"in.attn.{name}.{kind}"]
            for name, part in parts.items()
            for kind in ("weight", "bias")
        }
    )
    assert [layer.in_features for layer in mlp.network if isinstance(layer, nn.Linear)] == case.params["layers"][:-1]
    for name, module in (("mlp", mlp), ("attn", attention)):
        y = module(x)
        case.check(f"out.{name}", y)
        case.check_gradient(f"grad.x_{name}", (case["in.w"] * y).sum(), x)


def check_regularizer(case: Case) -> None:
    a, b = case.leaf("in.a"), case.leaf("in.b")
    loss = contrastive_regularizer(a, b, temperature=case.params["tau"])
    case.check("out.loss", loss)
    case.check_gradient("grad.a", loss, a)
    case.check_gradient("grad.b", loss, b)
    case.check("out.paper", contrastive_regularizer(a, b, temperature=case.params["tau"], scope="batch"))


def check_views(case: Case) -> None:
    h1, h2 = case.leaf("in.h1"), case.leaf("in.h2")
    first, second = augmenter(case, "in.aug1."), augmenter(case, "in.aug2.")
    z1, z2 = first(h1), second(h2)
    case.check("out.z1", z1)
    case.check("out.z2", z2)
    terms = mclrec_terms(h1, h2, z1, z2, temperature=case.params["tau"])
    weighted = case.params["reg_weight"] * terms.regularizer
    case.check("out.reg_term", weighted)
    loss = terms.views + weighted * case.params["use_reg"]
    case.check("out.loss", loss)
    case.check_gradient("grad.h1", loss, h1)
    case.check_gradient("grad.h2", loss, h2)
    for name, module in (("aug1", first), ("aug2", second)):
        for weight in case.names(f"grad.{name}."):
            case.check_gradient(f"grad.{name}.{weight}", loss, named(module, weight))


def named(module: ModelAugmenter, name: str) -> Tensor:
    """The parameter of an augmenter that RecBole calls `dense_2.weight`."""
    layer = module.network[2 * (int(name[6]) - 1)]
    return getattr(layer, name[8:])


def model(case: Case) -> MCLRec:
    """The whole model of a case."""
    p = case.params
    built = MCLRec(
        items=p["n_items"] - 1,
        max_length=p["max_len"],
        width=p["hidden"],
        heads=p["heads"],
        layers=p["layers"],
        inner_width=p["inner"],
        dropout=0.0,
        attention_dropout=0.0,
        augmenter_hidden=[len(case[f"in.aug1net.dense_{layer}.bias"]) for layer in (1, 2)],
        temperature=p["tau"],
        similarity={"dot": "dot", "cos": "cosine"}[p["sim"]],
        sequence_weight=p["lmd"],
        view_weight=p["beta"],
        regularizer_weight=0.1 * p["use_reg"],
    ).double()
    built.encoder.load_state_dict(encoder_state(case, built.encoder))
    built.augmenters[0].load_state_dict(augmenter(case, "in.aug1net.").state_dict())
    built.augmenters[1].load_state_dict(augmenter(case, "in.aug2net.").state_dict())
    return built


def encoder_state(case: Case, encoder: SASRecEncoder) -> dict[str, Tensor]:
    """RecBole's weights under our names, without its spare row of items."""
    state = {
        "item_embedding.weight": case["in.enc.item_embedding.weight"][: encoder.items + 1],
        "position_embedding.weight": case["in.enc.position_embedding.weight"],
        **{f"norm.{kind}": case[f"in.enc.LayerNorm.{kind}"] for kind in ("weight", "bias")},
    }
    for name in case.names("in.enc.trm_encoder.layer."):
        number, _, rest = name.partition(".")
        part, _, kind = rest.rpartition(".")
        state[f"layers.{number}.{LAYER[part]}.{kind}"] = case[f"in.enc.trm_encoder.layer.{name}"]
    return state


def batch(case: Case) -> dict[str, Tensor]:
    return {
        "history": case["in.item_seq"],
        "length": case["in.item_len"],
        "target": case["in.target"],
        "views": torch.stack([case["in.aug1"], case["in.aug2"]]),
        "view_lengths": torch.stack([case["in.aug_len1"], case["in.aug_len2"]]),
    }


def spared(values: Tensor, like: Tensor) -> Tensor:
    """Our item table with the spare row that theirs has and nothing ever uses."""
    return torch.cat([values, like[len(values) :]])


def check_model(case: Case) -> None:
    built = model(case)
    encoder = built.encoder
    assert encoder.norm.eps == case.params["ln_eps"]
    views = batch(case)
    h = encoder(views["history"], views["length"])
    case.check("out.h", h)
    for number in (0, 1):
        case.check(f"out.h{number + 1}", encoder(views["views"][number], views["view_lengths"][number]))
    case.check("out.scores", encoder.scores(h))
    losses = {
        1: built.encoder_loss(views)["loss"],
        2: built.augmenter_loss(*built.encode_views(views)[1:]),
        3: built.encoder_loss(views)["loss"],
    }
    for step, loss in losses.items():
        case.check(f"out.loss_step{step}", loss)
        (items,) = torch.autograd.grad(loss, encoder.item_embedding.weight, retain_graph=True)
        theirs = case[f"grad.step{step}.item_embedding"]
        assert not theirs[len(items) :].any()
        case.check(f"grad.step{step}.item_embedding", spared(items, theirs))
        first = built.augmenters[0].network[0].weight
        case.check_gradient(f"grad.step{step}.aug1.dense_1.weight", loss, first)
        case.check_gradient(f"grad.step{step}.enc.q0", loss, encoder.layers[0].query.weight)


def check_steps(case: Case) -> None:
    start = next(other for other in load("mclrec") if other.name == case.params["start_from"])
    built = model(start)
    optimizers = [
        torch.optim.Adam(parameters, lr=case.params["lr"])
        for parameters in (built.encoder.parameters(), built.augmenters.parameters())
    ]
    losses = []
    for _ in range(len(case["out.losses"]) // 3):
        losses += [terms["loss"] for terms in built.alternate(batch(start), *optimizers, torch.autograd.backward)]
    # After several steps of Adam rounding has grown: the page asks for 1e-5.
    close: Any = {"rtol": 1e-5, "atol": 1e-8}
    torch.testing.assert_close(torch.stack(losses), case["out.losses"], **close)
    encoder = built.encoder
    theirs = case["out.enc.item_embedding.weight"]
    start_items = start["in.enc.item_embedding.weight"]
    torch.testing.assert_close(theirs[encoder.items + 1 :], start_items[encoder.items + 1 :], **close)
    torch.testing.assert_close(spared(encoder.item_embedding.weight.detach(), theirs), theirs, **close)
    ours = {
        "enc.position_embedding.weight": encoder.position_embedding.weight,
        "aug1net.dense_1.weight": built.augmenters[0].network[0].weight,
        "aug2net.dense_3.bias": built.augmenters[1].network[4].bias,
    }
    for name, value in ours.items():
        torch.testing.assert_close(value.detach(), case[f"out.{name}"], **close)


class Draws:
    """The draws of the authors' code, in its order."""

    def __init__(self, draws: list[Any]) -> None:
        self.draws: Iterator[Any] = iter(draws)

    def take(self, kind: str, first: int, second: int) -> Any:
        drawn, *bounds, value = next(self.draws)
        assert (drawn, bounds) == (kind, [first, second])
        return value


def check_augmentations(case: Case) -> None:
    draws = Draws(case.params["draws"])
    sequences, lengths = case["in.seq"], case["in.length"]
    for row, length in enumerate(lengths.tolist()):
        views = [(sequences[row], length)] * 2
        if length > 1:
            operations = draws.take("sample", 3, 2)
            views = [changed(case, draws, operation, sequences[row], length) for operation in operations]
        for number, (items, kept) in enumerate(views, start=1):
            assert torch.equal(items, case[f"out.aug{number}"][row])
            assert kept == int(case[f"out.len{number}"][row])
    assert next(draws.draws, None) is None


def changed(case: Case, draws: Draws, operation: int, items: Tensor, length: int) -> tuple[Tensor, int]:
    """One operation with recorded draws: crop, mask or reorder."""
    one = torch.tensor([length])
    if operation == 0:
        kept = int(cropped_length(one, case.params["crop_ratio"]))
        start = draws.take("randint", 0, length - kept)
        return crop_sequences(items[None], torch.tensor([start]), torch.tensor([kept]))[0], kept
    if operation == 1:
        places = draws.take("sample", length, int(share_of(one, case.params["mask_ratio"])))
        return items.index_fill(0, torch.tensor(places, dtype=torch.long), 0), length
    window = int(share_of(one, case.params["reorder_ratio"]))
    start = draws.take("randint", 0, length - window)
    order = torch.arange(len(items))
    order[start : start + window] = start + torch.tensor(draws.take("shuffle", window, 0))
    return items[order], length


def check_metrics(case: Case) -> None:
    ranks = target_ranks(case["in.scores"], case["in.target"])
    case.check("out.rank", ranks)
    found = ranking_metrics(ranks, case.params["topk"])
    for key, name in {"hit": "HR", "recall": "HR", "ndcg": "NDCG", "mrr": "MRR"}.items():
        values = [found[f"{name}@{cutoff}"] for cutoff in case.params["topk"]]
        case.check(f"out.{key}", torch.tensor(values, dtype=torch.float64))


def check_split(case: Case) -> None:
    rows = expand_prefixes(case["in.user"].numpy(), case.params["max_len"])
    for key, value in {"uid": rows.user, "start": rows.start, "end": rows.end, "target": rows.target}.items():
        case.check(f"out.{key}", torch.from_numpy(value))
    split = leave_one_out(rows.user)
    for key, value in {"train": split.train, "valid": split.validation, "test": split.test}.items():
        case.check(f"out.{key}", torch.from_numpy(value))


CHECKS = {
    "info_nce": check_info_nce,
    "augmenters": check_augmenters,
    "regularizer": check_regularizer,
    "views": check_views,
    "model": check_model,
    "steps": check_steps,
    "augmentations": check_augmentations,
    "metrics": check_metrics,
    "split": check_split,
}
