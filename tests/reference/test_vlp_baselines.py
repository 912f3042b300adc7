"""CLIP-rocket, SiamLIP, BYOLIP, BarLIP and SwALIP against the authors' code, key by key."""

import torch
from torch import Tensor, nn

from dipole.evaluation import matching_accuracy, mixed_scores, zero_shot_scores
from dipole.losses import (
    clip_loss,
    cross_modal_barlow_loss,
    cross_modal_correlation,
    cross_modal_prediction_loss,
    multi_view_clip_loss,
    multi_view_clip_terms,
    prototype_swap_loss,
    swalip_loss,
    swapped_targets,
)
from dipole.losses.common import unit_rows
from dipole.losses.vision_language import paired_views
from dipole.methods.optimization import learning_rate_factor
from dipole.nn.momentum import MomentumEncoder
from dipole.ops.sinkhorn import sinkhorn_assign
from reference.cases import Case, parametrize


@parametrize(
    "vlp-baselines",
    {
        "prototypes": "in.prototypes",
        "swalip": "out.targets_image",
        "barlip": "out.barlip_loss",
        "siamlip": "out.siamlip_loss",
        "schedule and ensemble": "out.lr",
        "momentum": "in.param_momentum",
        "clip": "out.clip_loss",
    },
)
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


class Contrast:
    """The contrastive part that every case has."""

    def __init__(self, case: Case) -> None:
        names = [name for name in case.names("in.") if name[:2] in ("z_", "h_")]
        self.leaves = {name: case.leaf(f"in.{name}") for name in names}
        self.scales = {name: number(case.params[name]).requires_grad_() for name in ("logit_scale", "h_logit_scale")}
        self.temperatures = {
            "temperature": 1 / self.scales["logit_scale"],
            "view_temperature": 1 / self.scales["h_logit_scale"],
        }
        self.views = [self.leaves.get(f"h_{kind}_local") for kind in ("image", "text")]
        assert case.params["num_augs"] == (0 if self.views[0] is None else len(self.views[0]))
        self.pair = (self.leaves["z_image_global"], self.leaves["z_text_global"])
        options = {"label_smoothing": case.params["label_smoothing"], **self.temperatures}
        self.terms = multi_view_clip_terms(*self.pair, *self.views, **options)
        reading = {"sum": "sum", "avg": "mean"}[case.params["loss_avg_or_sum"]]
        self.loss = multi_view_clip_loss(*self.pair, *self.views, **options, directions=reading)  # type: ignore[arg-type]

    def check_gradients(self, case: Case, loss: Tensor, others: dict[str, Tensor] | None = None) -> None:
        leaves = self.leaves | self.scales | (others or {})
        for name in case.names("grad."):
            case.check_gradient(f"grad.{name}", loss, leaves[name])


def views_of(case: Case, name: str, suffix: str = "", *, leaves: bool = True) -> tuple[Tensor, dict[str, Tensor]]:
    """The weak view and the strong ones in one tensor, and the leaves that it is made of."""
    read = case.leaf if leaves else case.__getitem__
    parts = {key: read(f"in.{key}") for key in (f"{name}{suffix}", f"{name}_local{suffix}") if f"in.{key}" in case}
    weak, *strong = parts.values()
    return torch.cat([weak[None], *strong]), parts


def check_clip(case: Case) -> None:
    contrast = Contrast(case)
    terms = contrast.terms
    case.check("out.loss", contrast.loss)
    case.check("out.clip_loss", (terms.image + terms.text) / 2)
    for kind in ("image", "text"):
        case.check(f"out.clip_loss_{kind}", getattr(terms, kind))
        case.check(f"out.clip_loss_{kind}_global", getattr(terms, f"weak_{kind}"))
        if contrast.views[0] is not None:
            case.check(f"out.clip_loss_{kind}_local", getattr(terms, f"strong_{kind}"))
    image, text = contrast.pair
    for key in ("clip_acc", "clip_acc_image_global"):
        case.check(f"out.{key}", number(100 * matching_accuracy(image, text)))
    case.check("out.clip_acc_text_global", number(100 * matching_accuracy(text, image)))
    if contrast.views[0] is not None:
        images, texts = contrast.views
        assert images is not None
        assert texts is not None
        found = {"image": [(x, y) for x in images for y in texts], "text": [(y, x) for x in images for y in texts]}
        for kind, pairs in found.items():
            mean = sum(matching_accuracy(x, y) for x, y in pairs) / len(pairs)
            case.check(f"out.clip_acc_{kind}_local", number(100 * mean))
    contrast.check_gradients(case, contrast.loss)
    if contrast.views[0] is None:
        plain = clip_loss(image, text, temperature=contrast.temperatures["temperature"])
        torch.testing.assert_close((terms.image + terms.text) / 2, plain)


def check_siamlip(case: Case) -> None:
    contrast = Contrast(case)
    leaves: dict[str, Tensor] = {}
    predictions = []
    for name in ("p_image", "p_text"):
        views, parts = views_of(case, name)
        predictions.append(views)
        leaves |= parts
    # The momentum network's where there is one; those of the network itself are read, and have no part in the loss.
    targets = [views_of(case, name, leaves=False)[0] for name in ("v_image", "v_text")]
    if case.params["momentum"]:
        targets = [views_of(case, name, "_momentum", leaves=False)[0] for name in ("v_image", "v_text")]
    siamlip = cross_modal_prediction_loss(*predictions, *targets)
    case.check("out.siamlip_loss", siamlip)
    case.check("out.clip_loss", (contrast.terms.image + contrast.terms.text) / 2)
    loss = siamlip + contrast.loss
    case.check("out.loss", loss)
    contrast.check_gradients(case, loss, leaves)


def check_barlip(case: Case) -> None:
    contrast = Contrast(case)
    (images, image_leaves), (texts, text_leaves) = views_of(case, "v_image"), views_of(case, "v_text")
    options = {"off_diagonal_weight": case.params["lamb"], "scale": case.params["scale_loss"]}
    case.check("out.corr_global", cross_modal_correlation(images[0], texts[0]))
    pairs = [cross_modal_barlow_loss(images[a][None], texts[c][None], **options) for a, c in paired_views(len(images))]
    case.check("out.pair_losses", torch.stack(pairs))
    barlip = cross_modal_barlow_loss(images, texts, **options)
    case.check("out.barlip_loss", barlip)
    case.check("out.clip_loss", (contrast.terms.image + contrast.terms.text) / 2)
    loss = barlip + contrast.loss
    case.check("out.loss", loss)
    contrast.check_gradients(case, loss, image_leaves | text_leaves)


def check_swalip(case: Case) -> None:
    contrast = Contrast(case)
    images, texts = contrast.views
    assert images is not None
    assert texts is not None
    options = {"epsilon": case.params["target_epsilon"], "iterations": case.params["sk_iters"]}
    case.check("out.targets_image", swapped_targets(images, texts, **options))
    case.check("out.targets_text", swapped_targets(texts, images, **options))
    swalip = swalip_loss(images, texts, temperature=contrast.temperatures["view_temperature"], **options)
    case.check("out.swalip_loss", swalip)
    case.check("out.clip_loss", (contrast.terms.image + contrast.terms.text) / 2)
    loss = case.params["swalip_weight"] * swalip + contrast.loss
    case.check("out.loss", loss)
    contrast.check_gradients(case, loss)


def check_prototypes(case: Case) -> None:
    leaves = {name: case.leaf(f"in.{name}") for name in ("z_image", "z_text", "h_image", "h_text")}
    prototypes = case["in.prototypes"]
    options = {"epsilon": case.params["target_epsilon"], "iterations": case.params["sk_iters"]}
    for kind in ("image", "text"):
        scores = unit_rows(leaves[f"h_{kind}"]) @ prototypes.T
        case.check(f"out.assign_{kind}", sinkhorn_assign(scores, **options).weights)
    temperature = case.params["temperature"]
    swalip = prototype_swap_loss(leaves["h_image"], leaves["h_text"], prototypes, temperature=temperature, **options)
    case.check("out.swalip_loss", swalip)
    contrastive = clip_loss(leaves["z_image"], leaves["z_text"], temperature=1 / case.params["logit_scale"])
    case.check("out.clip_loss", contrastive)
    loss = contrastive + case.params["swalip_weight"] * swalip
    case.check("out.loss", loss)
    for name, leaf in leaves.items():
        case.check_gradient(f"grad.{name}", loss, leaf)


def check_schedule_and_ensemble(case: Case) -> None:
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
    scores = [zero_shot_scores(case[f"in.{s}_image"], case[f"in.{s}_text_class"]) for s in "zh"]
    case.check("out.z_sim", scores[0])
    case.check("out.h_sim", scores[1])
    mixed = [mixed_scores(*scores, weight=weight) for weight in p["ensemble_weights"]]
    case.check("out.ensemble", torch.stack(mixed))


def check_momentum(case: Case) -> None:
    online, parameter = nn.Module(), case["in.param"]
    online.weight = nn.Parameter(parameter)
    slow = MomentumEncoder(online, case.params["tau"])
    slow.module.weight.data.copy_(case["in.param_momentum"])  # type: ignore[union-attr,operator]
    slow.update(online)
    case.check("out.param_momentum", slow.module.weight)  # type: ignore[arg-type]


CHECKS = {
    "clip": check_clip,
    "siamlip": check_siamlip,
    "barlip": check_barlip,
    "swalip": check_swalip,
    "prototypes": check_prototypes,
    "schedule and ensemble": check_schedule_and_ensemble,
    "momentum": check_momentum,
}
