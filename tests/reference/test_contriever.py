"""Contriever against the authors' code, key by key; MoCo and in-batch through the methods, with look-up tables."""

import torch
import torch.nn.functional as F

from dipole.data.text import mixture_probabilities
from dipole.evaluation.retrieval import retrieval_metrics
from dipole.losses import hard_negatives_info_nce_loss
from dipole.methods.optimization import learning_rate_factor
from dipole.methods.text.contriever import Contriever, ContrieverInBatch
from dipole.nn.text import pool
from dipole.views.text import (
    add_ends,
    delete_tokens,
    hard_negative_counts,
    mask_tokens,
    pad_tokens,
    random_crop,
    replace_tokens,
    shuffle_tokens,
)
from reference.cases import Case, parametrize
from text_models import Table, ids_batch

KINDS = {
    "pooling": "in.last_hidden",
    "queue": "in.queue",
    "views": "in.tokens",
    "schedules": "in.steps",
    "retrieval": "in.rel",
    "in batch": "in.k",
}


@parametrize("contriever", KINDS)
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def check_pooling(case: Case) -> None:
    hidden, mask, w = case.leaf("in.last_hidden"), case["in.attention_mask"], case["in.w"]
    for name, pooling in (("average", "mean"), ("cls", "cls")):
        z = pool(hidden, mask, pooling)
        for key, value in ((name, z), (f"{name}_norm", F.normalize(z, dim=1))):
            case.check(f"out.{key}", value)
            case.check_gradient(f"grad.last_hidden.{key}", (value * w).sum(), hidden)


def check_queue(case: Case) -> None:
    params, queue = case.params, case["in.queue"].T
    method = Contriever(
        encoder=Table(case["in.q_params"]),
        queue_size=len(queue),
        temperature=params["temperature"],
        encoder_momentum=params["momentum"],
        normalize=params["normalize"],
        label_smoothing=params["label_smoothing"],
    ).double()
    method.momentum_network.module.rows.data.copy_(case["in.k_params"])
    method.queue.entries.copy_(queue)
    method.queue.pointer.fill_(params["queue_ptr0"])
    n = params["N"]
    for step in range(params["steps"]):
        rows = torch.arange(step * n, (step + 1) * n)
        data = ids_batch(rows, rows)
        method.on_train_batch_start(data, step)
        if f"out.q{step}" in case:
            case.check(f"out.q{step}", method.finished(method.project(data["views"])[0]))
            case.check(f"out.k{step}", method.finished(method.project_keys(data["views"])[1]))
        terms = method.loss_terms(data)
        case.check(f"out.loss{step}", terms["loss"])
        case.check(f"out.accuracy{step}", terms["accuracy"])
        case.check_gradient(f"grad.q_params{step}", terms["loss"], method.encoder.rows)
        case.check(f"out.key_params_after{step}", method.momentum_network.module.rows)
        case.check(f"out.queue_after{step}", method.queue.entries.T)
        case.check(f"out.ptr_after{step}", method.queue.pointer)


def check_in_batch(case: Case) -> None:
    params, q, k = case.params, case.leaf("in.q"), case.leaf("in.k")
    n = len(q)
    options = {name: params[name] for name in ("temperature", "label_smoothing", "normalize")}
    if len(k) > n:
        loss = hard_negatives_info_nce_loss(q, k[:n], k[n:], **options)
        scores = q @ k.T if not params["normalize"] else F.normalize(q, dim=1) @ F.normalize(k, dim=1).T
        accuracy = 100 * (scores.argmax(dim=1) == torch.arange(n)).double().mean()
    else:
        method = ContrieverInBatch(encoder=Table(torch.cat([q, k]).detach()), **options).double()
        terms = method.loss_terms(ids_batch(torch.arange(n), n + torch.arange(n)))
        accuracy, rows = terms["accuracy"], torch.autograd.grad(terms["loss"], method.encoder.rows)[0]
        case.check("out.loss", terms["loss"])
        case.check("grad.q", rows[:n])
        case.check("grad.k", rows[n:])
        none = torch.zeros(1, dtype=torch.bool)
        loss = hard_negatives_info_nce_loss(q, k, torch.ones_like(k[:1]), valid=none, **options)
    case.check("out.loss", loss)
    case.check("out.accuracy", accuracy)
    case.check_gradient("grad.q", loss, q)
    case.check_gradient("grad.k", loss, k)


def check_views(case: Case) -> None:
    p, tokens, given = case.params["p"], case["in.tokens"], case["in.aug_input"]
    crops = [
        random_crop(tokens, ratio=ratio, start=start)
        for ratio, start in zip(case["in.crop_ratio"].tolist(), case["in.crop_start"].tolist(), strict=True)
    ]
    case.check("out.crop_len", torch.tensor([len(crop) for crop in crops]))
    case.check("out.crop_first", torch.stack([crop[0] for crop in crops]).long())
    case.check("out.crop_last", torch.stack([crop[-1] for crop in crops]).long())
    deleted = delete_tokens(given, p, draws=case["in.delete_u"])
    case.check("out.delete", deleted)
    masked = mask_tokens(given, p, mask_id=case.params["mask_id"], draws=case["in.mask_u"])
    case.check("out.mask", masked.long())
    replaced = replace_tokens(
        given,
        p,
        vocabulary=case.params["vocab_size"],
        first_id=case.params["start_id"],
        draws=case["in.replace_u"],
        replacements=case["in.replace_ids"],
    )
    case.check("out.replace", replaced.long())
    draws = {"draws": case["in.shuffle_u"], "positions": case["in.shuffle_idx"], "order": case["in.shuffle_order"]}
    assert len(draws["positions"]) == int((draws["draws"] < p).sum())
    case.check("out.shuffle_intended", shuffle_tokens(given, p, **draws))
    case.check("out.shuffle_official_aliased", shuffle_tokens(given, p, official_aliasing=True, **draws))
    # The ids of the ends are not stored apart from the padded rows.
    expected, lengths = case["out.padded_ids"], case["out.padded_mask"].sum(dim=1)
    begin, end = int(expected[0, 0]), int(expected[0, lengths[0] - 1])
    rows = [add_ends(deleted, begin, end), add_ends(crops[1], begin, end), add_ends(crops[2], None, end)]
    ids, mask = pad_tokens(rows)
    case.check("out.padded_ids", ids)
    case.check("out.padded_mask", mask)


def check_schedules(case: Case) -> None:
    params = case.params
    options = {"total": params["total"], "warmup": params["warmup"], "min_ratio": params["ratio"]}
    steps = case["in.steps"].tolist()
    official = [learning_rate_factor(step, schedule="linear_contriever", **options) for step in steps]
    case.check("out.lr_factor", torch.tensor(official, dtype=torch.float64))
    clean = [learning_rate_factor(step, schedule="linear", **options) for step in steps]
    assert all(
        a == b if step >= params["warmup"] else a <= b for step, a, b in zip(steps, official, clean, strict=True)
    )
    case.check("out.prob", mixture_probabilities(params["sizes"], params["coef"]))
    hard, random = case["in.n_hard_pool"].tolist(), case["in.n_random_pool"].tolist()
    draws = case["in.u"].view(len(hard), params["negative_ctxs"])
    counts = [
        # The first hard negative is left out: stated in the case's description.
        hard_negative_counts(row, params["hard_ratio"], *pools, hard_start=params.get("min_idx", 1))
        for row, *pools in zip(draws, hard, random, strict=True)
    ]
    case.check("out.n_hard", torch.tensor([count[0] for count in counts]))
    case.check("out.n_random", torch.tensor([count[1] for count in counts]))


def check_retrieval(case: Case) -> None:
    scores, relevance, k = case["in.q"] @ case["in.d"].T, case["in.rel"], case.params["k"]
    judgements = {
        f"q{query}": {f"d{document:04d}": int(grade) for document, grade in enumerate(grades) if grade > 0}
        for query, grades in enumerate(relevance)
    }
    run = {
        f"q{query}": {f"d{document:04d}": float(score) for document, score in enumerate(row)}
        for query, row in enumerate(scores)
    }
    names = {"ndcg": f"ndcg@{k}", "recall": f"recall@{k}", "map": f"map@{k}", "precision": f"precision@{k}"}
    found = retrieval_metrics(judgements, run, list(names.values()))
    judged = [f"q{index}" for index in case["out.query_index"].tolist()]
    assert list(found.queries) == judged
    for name, metric in names.items():
        values = [found.queries[query][metric] for query in judged]
        case.check(f"out.{name}", torch.tensor(values, dtype=torch.float64))
        if f"out.mean_{name}" in case:
            case.check(f"out.mean_{name}", torch.tensor(found.mean[metric], dtype=torch.float64))


CHECKS = {
    "pooling": check_pooling,
    "queue": check_queue,
    "in batch": check_in_batch,
    "views": check_views,
    "schedules": check_schedules,
    "retrieval": check_retrieval,
}
