"""LaCLIP: its losses, captions, prompts, classifier and schedule against the authors' code, key by key."""

import torch
from torch import Tensor

from dipole.evaluation import class_embeddings, matching_accuracy, top_k_accuracy, zero_shot_scores
from dipole.losses import clip_loss, info_nce_loss, multi_text_clip_loss
from dipole.methods.optimization import learning_rate_factor
from dipole.views import build_rewrite_prompt, choose_caption, parse_rewrite
from reference.cases import Case, parametrize


@parametrize(
    "laclip",
    {
        "clip": "out.acc",
        "several texts": "out.i2t_per_version",
        "captions": "in.captions",
        "prompt": "out.prompt",
        "classifier": "out.classifier",
        "schedule": "out.lr",
    },
)
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def logit_scale(case: Case) -> Tensor:
    return torch.tensor(case.params["logit_scale"], dtype=torch.float64, requires_grad=True)


def number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def strings(case: Case, key: str) -> list[str]:
    """An array of strings, nested as it is stored."""
    case.unread.discard(key)
    found: list[str] = case.values[key].tolist()
    return found


def text(case: Case, key: str) -> str:
    case.unread.discard(key)
    return str(case.values[key])


def check_clip(case: Case) -> None:
    image, caption, scale = case.leaf("in.image_embed"), case.leaf("in.text_embed"), logit_scale(case)
    loss = clip_loss(image, caption, temperature=1 / scale)
    case.check("out.loss", loss)
    case.check("out.acc", number(100 * matching_accuracy(image, caption)))
    case.check_gradient("grad.image_embed", loss, image)
    case.check_gradient("grad.text_embed", loss, caption)
    case.check_gradient("grad.logit_scale", loss, scale)


def check_several_texts(case: Case) -> None:
    image, texts, scale = case.leaf("in.image_embed"), case.leaf("in.text_embed"), logit_scale(case)
    assert case.params["num_texts"] == len(texts)
    versions = [info_nce_loss(image, version, temperature=1 / scale) for version in texts]
    case.check("out.i2t_per_version", torch.stack(versions))
    versions = [info_nce_loss(version, image, temperature=1 / scale) for version in texts]
    case.check("out.t2i_per_version", torch.stack(versions))
    for reading in ("all", "first"):
        loss = multi_text_clip_loss(image, texts, temperature=1 / scale, text_to_image=reading)  # type: ignore[arg-type]
        case.check(f"out.loss_{reading}", loss)
        case.check_gradient(f"grad.image_embed_{reading}", loss, image)
        case.check_gradient(f"grad.text_embed_{reading}", loss, texts)
        case.check_gradient(f"grad.logit_scale_{reading}", loss, scale)


def check_captions(case: Case) -> None:
    captions = strings(case, "in.captions")
    # Rows beyond the table begin again at its first one.
    draws = enumerate(case["in.draw"].tolist())
    chosen = [choose_caption(captions[row % len(captions)], draw=draw) for row, draw in draws]
    case.check("out.index", torch.tensor([caption.version for caption in chosen]))
    assert [caption.text for caption in chosen] == strings(case, "out.caption")


def check_prompt(case: Case) -> None:
    pairs = list(zip(strings(case, "in.sources"), strings(case, "in.targets"), strict=True))
    examples = [pairs[index] for index in case["in.chosen"].tolist()]
    assert case.params["num_examples"] == len(examples)
    caption, completion = text(case, "in.caption"), text(case, "in.completion")
    layout = {"instruction": case.params["instruction"], "indent": case.params["indent"]}
    prompt = build_rewrite_prompt(examples, caption, **layout)
    assert prompt == text(case, "out.prompt")
    assert prompt == build_rewrite_prompt(examples, caption)  # the authors' layout is the default
    assert parse_rewrite(prompt, completion, caption) == text(case, "out.rewrite")
    official = parse_rewrite(prompt, completion, caption, parser="official")
    assert official == text(case, "out.rewrite_official_parser")


def check_classifier(case: Case) -> None:
    classes = class_embeddings(case["in.template_embed"])
    case.check("out.classifier", classes)
    scores, labels = zero_shot_scores(case["in.image_embed"], classes), case["in.label"]
    case.check("out.logits", scores)
    case.check("out.top1", number(100 * top_k_accuracy(scores, labels)))
    case.check("out.top5", number(100 * top_k_accuracy(scores, labels, k=5)))


def check_schedule(case: Case) -> None:
    p = case.params
    base, per_epoch = p["base_value"], p["niter_per_ep"]
    rates = [
        base
        * learning_rate_factor(
            step,
            p["epochs"] * per_epoch,
            warmup=p["warmup_epochs"] * per_epoch,
            warmup_start=p["start_warmup_value"] / base,
            min_ratio=p["final_value"] / base,
        )
        for step in range(p["epochs"] * per_epoch)
    ]
    case.check("out.lr", torch.tensor(rates, dtype=torch.float64))


CHECKS = {
    "clip": check_clip,
    "several texts": check_several_texts,
    "captions": check_captions,
    "prompt": check_prompt,
    "classifier": check_classifier,
    "schedule": check_schedule,
}
