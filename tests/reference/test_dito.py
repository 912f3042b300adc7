"""DITO's scores, crops, transformer, losses and pyramid against values of the authors' formulas, key by key."""

from typing import Any

import torch
from torch import Tensor

from dipole.evaluation import ensemble_probabilities, fuse_scores, region_text_logits, select_detections
from dipole.losses import (
    box_iou_loss,
    centerness_loss,
    pool_regions,
    region_classification_loss,
    region_contrastive_loss,
)
from dipole.losses.common import unit_rows
from dipole.nn.feature_pyramid import NormalizedLinear, SimpleFeaturePyramid
from dipole.nn.windowed_vit import ShiftedWindowViT, window_partition
from dipole.ops import decode_boxes, decode_distances, encode_boxes, pyramid_level, rescale_boxes
from dipole.ops.boxes import crop_from_level, roi_align_multilevel
from reference.cases import Case, parametrize


@parametrize(
    "dito",
    {
        "scores": "out.ensembled",
        "crops": "out.crop",
        "windows": "out.window_split",
        "regions": "out.loss_per_level",
        "boxes": "out.encoded",
        "selection": "out.det_scores",
        "normalised layer": "in.kernel",
        "pyramid": "in.l2_up1_w",
    },
)
def test_every_value(case: Case, kind: str) -> None:
    CHECKS[kind](case)
    case.check_all_read()


def check_scores(case: Case) -> None:
    p, text = case.params, case["in.text_embed"]
    detector = region_text_logits(case["in.det_region_embed"], text, temperature=p["t_det"])
    frozen = region_text_logits(case["in.vlm_region_embed"], text, temperature=p["t_vlm"])
    case.check("out.det_logits", detector)
    case.check("out.vlm_logits", frozen)
    case.check("out.det_probs", detector.softmax(dim=-1))
    case.check("out.vlm_probs", frozen.softmax(dim=-1))
    base = case["in.base_indicator"] if "in.base_indicator" in case.values else None
    weights: dict[str, Any] = {"base_weight": p["alpha_base"], "novel_weight": p["beta_novel"]}
    case.check("out.ensembled", ensemble_probabilities(detector, frozen, base, **weights))
    objectness, power = case["in.objectness"], p["objectness_power"]
    case.check("out.final", fuse_scores(detector, frozen, objectness, base, objectness_power=power, **weights))


def check_crops(case: Case) -> None:
    p, boxes = case.params, case["in.boxes"]
    features = {level: case[f"in.feature_level{level}"].permute(0, 3, 1, 2) for level in p["levels"]}
    case.check("out.level", pyramid_level(boxes, p["levels"]))
    crops = roi_align_multilevel(features, boxes, p["output_size"])
    case.check("out.crop", crops.permute(0, 1, 3, 4, 2))
    height, width = p["image_size"]
    smaller = rescale_boxes(boxes, p["roi_scale_factor"], (height, width))
    case.check("out.rescaled_boxes", smaller)
    top = max(p["levels"])
    crops = crop_from_level(features[top], smaller, 2**top, p["output_size"])
    case.check("out.vlm_crop", crops.permute(0, 1, 3, 4, 2))
    case.check("out.avg_pooled_vlm", crops.mean(dim=(3, 4)))


def check_windows(case: Case) -> None:
    p, patches = case.params, case["in.patch_tokens"]
    dim, grid = patches.shape[-1], patches.shape[1]
    vit = ShiftedWindowViT(dim, p["heads"], windows=p["windows"], grid=grid, shift=p["shift"]).double()
    names = {"query": "q", "key": "k", "value": "v", "out": "o", "hidden.0": "1", "hidden.2": "2"}
    weights = {
        "positions": case["in.pos_embed"],
        "norm.weight": case["in.ln_post_g"],
        "norm.bias": case["in.ln_post_b"],
    }
    for number in range(len(p["windows"])):
        ours, theirs = f"blocks.{number}", f"in.block{number}"
        for norm, key in (("attention_norm", "ln1"), ("hidden_norm", "ln2")):
            weights[f"{ours}.{norm}.weight"] = case[f"{theirs}_{key}_g"]
            weights[f"{ours}.{norm}.bias"] = case[f"{theirs}_{key}_b"]
        for layer, key in names.items():
            weights[f"{ours}.{layer}.weight"] = case[f"{theirs}_w{key}"].T
            weights[f"{ours}.{layer}.bias"] = case[f"{theirs}_b{key}"]
    missing = vit.load_state_dict(weights, strict=False).missing_keys
    assert missing == ["patches.weight", "patches.bias"]
    case.check("out.unshifted", vit.passed(patches))
    case.check("out.shifted", vit.passed(patches, p["shift"]))
    case.check("out.output", vit.encode(patches))
    windows = next(number for number in p["windows"] if number is not None)
    case.check("out.window_split", window_partition(patches, windows))


def check_regions(case: Case) -> None:
    regions, text = case.leaf("in.region_embed"), case.leaf("in.text_embed")
    scale = torch.tensor(1 / case.params["temperature"], dtype=torch.float64, requires_grad=True)
    options: dict[str, Any] = {"temperature": 1 / scale}
    case.check("out.image_embed", unit_rows(pool_regions(regions)))
    case.check("out.loss_per_level", region_contrastive_loss(regions, text, levels="none", **options))
    case.check("out.loss_sum_over_levels", region_contrastive_loss(regions, text, levels="sum", **options))
    mean = region_contrastive_loss(regions, text, pool="mean", levels="none", **options)
    case.check("out.loss_per_level_meanpool", mean)
    case.check("out.loss_meanpool", region_contrastive_loss(regions, text, pool="mean", **options))
    loss = region_contrastive_loss(regions, text, **options)
    case.check("out.loss", loss)
    for name, leaf in {"region_embed": regions, "text_embed": text, "inverse_temperature": scale}.items():
        case.check_gradient(f"grad.{name}", loss, leaf)


def check_boxes(case: Case) -> None:
    anchors = case["in.anchors"]
    codes = encode_boxes(case["in.gt_boxes"], anchors)
    case.check("out.encoded", codes)
    case.check("out.decoded", decode_boxes(codes, anchors))
    boxes = decode_distances(case["in.lrtb"], anchors)
    case.check("out.decoded_lrtb", boxes)
    case.check("out.iou_loss", box_iou_loss(boxes, case["in.iou_target_boxes"]))
    case.check("out.center_loss", centerness_loss(case["in.center_logits"], case["in.center_targets"]))
    weight = case.params["background_weight"]
    loss = region_classification_loss(case["in.class_logits"], case["in.class_targets"], background_weight=weight)
    case.check("out.class_loss", loss)


def check_selection(case: Case) -> None:
    p = case.params
    found = select_detections(
        case["in.boxes"],
        case["in.scores"],
        nms_threshold=p["nms_threshold"],
        score_threshold=p["score_threshold"],
        maximum=p["max_detections"],
    )
    case.check("out.det_scores", found.scores)
    case.check("out.det_classes", found.classes)
    case.check("out.det_boxes", found.boxes)


def check_normalised_layer(case: Case) -> None:
    kernel = case["in.kernel"]
    layer = NormalizedLinear(*kernel.shape, scale=case.params["temperature"]).double()
    layer.weight.data.copy_(kernel.T)
    case.check("out.y", layer(case["in.x"]))


def check_pyramid(case: Case) -> None:
    p, feature = case.params, case["in.x"]
    levels = tuple(range(p["min_level"], p["max_level"] + 1))
    pyramid = SimpleFeaturePyramid(feature.shape[1], p["num_filters"], input_level=p["input_level"], levels=levels)
    pyramid = pyramid.double()
    parts = {"conv1_w": "0.weight", "ln1_g": "1.weight", "ln1_b": "1.bias"}
    parts |= {"conv3_w": "2.weight", "ln2_g": "3.weight", "ln2_b": "3.bias"}
    up = {"up1_w": "0.weight", "up_ln_g": "1.weight", "up_ln_b": "1.bias", "up2_w": "3.weight"}
    weights: dict[str, Tensor] = {}
    for level in levels:
        for key in case.names(f"in.l{level}_"):
            if key in parts:
                name = f"convolved.{level}.{parts[key]}"
            else:
                one = f"in.l{level}_up2_w" not in case
                name = f"scaled.{level}.{'weight' if one else up[key]}"
            weights[name] = case[f"in.l{level}_{key}"]
    pyramid.load_state_dict(weights)
    for level, found in pyramid(feature).items():
        case.check(f"out.level{level}", found)


CHECKS = {
    "scores": check_scores,
    "crops": check_crops,
    "windows": check_windows,
    "regions": check_regions,
    "boxes": check_boxes,
    "selection": check_selection,
    "normalised layer": check_normalised_layer,
    "pyramid": check_pyramid,
}
