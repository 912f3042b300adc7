"""Every loss as a function of two views (N, D), so that one property is tested on all of them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

from dipole.losses import (
    TransformDraws,
    arbitrary_pair_loss,
    cacr_loss,
    cacr_momentum_views_loss,
    cacr_queue_loss,
    clip_loss,
    cloob_loss,
    cross_modal_prediction_loss,
    curved_loss,
    cwcl_loss,
    dcl_loss,
    dcl_neighbour_loss,
    dcl_queue_loss,
    dclw_loss,
    feature_transform_loss,
    global_info_nce_loss,
    groco_loss,
    hard_contrastive_loss,
    hard_negatives_info_nce_loss,
    hydra_moco_loss,
    info_loob_loss,
    info_nce_loss,
    margin_contrastive_loss,
    masked_contrast_loss,
    mnr_plus_loss,
    multi_positive_info_nce_loss,
    multi_text_clip_loss,
    multi_view_clip_loss,
    multilabel_cluster_loss,
    nt_xent_loss,
    own_negatives_info_nce_loss,
    pairwise_clip_loss,
    region_contrastive_loss,
    same_index_nt_xent_loss,
    same_label_clip_loss,
    same_label_nt_xent_loss,
    score_distillation_loss,
    siglip_loss,
    simple_contrastive_loss,
    sup_con_loss,
    swalip_loss,
    symile_loss,
    team_up_loss,
    tuple_info_nce_loss,
    weighted_contrastive_loss,
)
from dipole.losses.common import accumulate
from dipole.negatives import MixingDraws, mix_hard_negatives

Loss = Callable[[Tensor, Tensor], Tensor]
DIM = 4


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def bank(like: Tensor) -> Tensor:
    """Seven entries that half precision holds exactly."""
    return ((4 * random(7, like.shape[1], seed=99)).round() / 4).to(like.dtype)


def mixing(rows: int) -> MixingDraws:
    """One mixture of each kind."""
    return MixingDraws(*(torch.tensor([value]).expand(rows, 1) for value in (0, 2, 0.3, 1, 0.4)))


def third(a: Tensor) -> Tensor:
    """Another view, made without rounding and row by row."""
    return a.roll(1, dims=1)


def teacher(a: Tensor, b: Tensor) -> Tensor:
    """Scores of another model: cosines, made in float64 whatever the type and the context."""
    first, second = (normalize(accumulate(z).detach().double(), dim=1) for z in (third(a), b))
    return (first @ second.T).to(accumulate(a).dtype)


def assert_same(ours: Tensor, expected: Tensor, leaves: tuple[Tensor, ...]) -> None:
    """Equal values and equal gradients, of every entry weighed differently."""
    torch.testing.assert_close(ours, expected)
    weight = torch.linspace(0.5, 2, ours.numel(), dtype=ours.dtype).view_as(ours)
    for x, y in zip(
        torch.autograd.grad((weight * ours).sum(), leaves, allow_unused=True, retain_graph=True),
        torch.autograd.grad((weight * expected).sum(), leaves, allow_unused=True, retain_graph=True),
        strict=True,
    ):
        assert (x is None) == (y is None)
        if x is not None:
            torch.testing.assert_close(x, y)


def hard(a: Tensor, b: Tensor) -> Tensor:
    """Two hard negatives of each row."""
    return torch.stack([third(a), third(b)], dim=1)


def marks(a: Tensor) -> Tensor:
    """False negatives that move with a permutation of the rows: candidates of another sign."""
    sign = (a[:, 0] > 0).repeat(2)
    return (a[:, :1] > 0) != sign


def sup_con(z1: Tensor, z2: Tensor) -> Tensor:
    """Labels are what rows have in common, so they move with a permutation: the sign of a fixed projection."""
    labels = (torch.cat([z1, z1])[:, 0] > 0).long()
    return sup_con_loss(torch.cat([z1, z2]), labels, temperature=0.4)


def classes(a: Tensor) -> Tensor:
    """Three classes that move with a permutation of the rows."""
    return (a[:, 0] > 0).long() + (a[:, 1] > 0).long()


def own_columns(a: Tensor) -> Tensor:
    """Which rows of the other view are a row's own classes: those of the same of three classes."""
    return classes(a)[:, None] == classes(a)


def half_open(a: Tensor) -> Tensor:
    """Gates that half precision holds exactly."""
    return 0.25 + 0.5 * (third(a) > 0).to(a)


def arbitrary_pairs(a: Tensor, b: Tensor, **options: Any) -> Tensor:
    return arbitrary_pair_loss(a, b, half_open(b), classes(a), classes(third(a)), temperature=0.3, **options)


# Differentiable in every input, nothing is treated as a constant: finite differences apply.
SMOOTH: dict[str, Loss] = {
    "nt_xent": lambda a, b: nt_xent_loss(a, b, temperature=0.3),
    "info_nce": lambda a, b: info_nce_loss(a, b, temperature=0.3),
    "info_nce with a bank": lambda a, b: info_nce_loss(a, b, bank(a), temperature=0.3),
    "info_nce, smoothed": lambda a, b: info_nce_loss(a, b, temperature=0.3, label_smoothing=0.2),
    "info_nce with a bank, smoothed": lambda a, b: info_nce_loss(a, b, bank(a), temperature=0.3, label_smoothing=0.2),
    "hard_negatives_info_nce": lambda a, b: hard_negatives_info_nce_loss(a, b, bank(a), temperature=0.3),
    "hard_negatives_info_nce, some valid, smoothed": lambda a, b: hard_negatives_info_nce_loss(
        a, b, bank(a), valid=torch.arange(7) % 2 == 0, temperature=0.3, label_smoothing=0.2
    ),
    "multi_positive": lambda a, b: multi_positive_info_nce_loss(a, torch.stack([b, third(a)]), temperature=0.3),
    "multi_positive, weighted": lambda a, b: multi_positive_info_nce_loss(
        a, torch.stack([b, third(a)]), temperature=0.3, weights=[1.0, 0.5]
    ),
    "multi_positive, inside the logarithm": lambda a, b: multi_positive_info_nce_loss(
        a, torch.stack([b, third(a)]), temperature=0.3, weights=[1.0, 0.5], mode="inside_log"
    ),
    "own_negatives": lambda a, b: own_negatives_info_nce_loss(
        a, b, bank(a), torch.stack([third(a), third(b)], dim=1), temperature=0.3
    ),
    "own_negatives, some valid": lambda a, b: own_negatives_info_nce_loss(
        a,
        b,
        bank(a),
        torch.stack([third(a), third(b)], dim=1),
        exclude=(torch.arange(7) < 3).expand(len(a), 7),
        valid=(torch.arange(2) < 1).expand(len(a), 2),
        temperature=0.3,
    ),
    "tuples": lambda a, b: tuple_info_nce_loss(a, b, hard(a, b), temperature=0.3),
    "tuples, some valid": lambda a, b: tuple_info_nce_loss(
        a, b, hard(a, b), valid=(torch.arange(2) < 1).expand(len(a), 2), temperature=0.3
    ),
    "tuples, own negatives": lambda a, b: tuple_info_nce_loss(a, b, hard(a, b), scope="own_negatives", temperature=0.3),
    "tuples, own": lambda a, b: tuple_info_nce_loss(a, b, hard(a, b), scope="own", temperature=0.3),
    "masked": lambda a, b: masked_contrast_loss(a, b, third(b), marks(a), temperature=0.3),
    "masked, zeroed": lambda a, b: masked_contrast_loss(a, b, third(b), marks(a), form="zeroed", temperature=0.3),
    "masked, as the authors": lambda a, b: masked_contrast_loss(
        a, b, third(b), marks(a), form="official_bce", temperature=0.3
    ),
    "curved": lambda a, b: curved_loss(a, b, (a[:, 0] > 0).to(a) / 2),
    "margin_contrastive": lambda a, b: margin_contrastive_loss(a, b, (a[:, 0] > 0).to(a)),
    "feature_transform": lambda a, b: feature_transform_loss(
        a, b, bank(a), draws=TransformDraws(1.5, 0.7, torch.arange(7).roll(2)), temperature=0.3
    ),
    "feature_transform, each dimension, normalised": lambda a, b: feature_transform_loss(
        a,
        b,
        bank(a),
        draws=TransformDraws(1.2 + random(1, DIM).abs().clamp_max(0.5), random(7, DIM).abs() / 4, torch.arange(7)),
        post_norm=True,
    ),
    "global_info_nce": lambda a, b: global_info_nce_loss(a[:, None], b[:, None], temperature=0.3),
    "clip": lambda a, b: clip_loss(a, b, temperature=0.3),
    "clip, smoothed": lambda a, b: clip_loss(a, b, temperature=0.3, label_smoothing=0.2),
    "clip, several texts": lambda a, b: multi_text_clip_loss(a, torch.stack([b, third(a)]), temperature=0.3),
    "clip, several texts, first": lambda a, b: multi_text_clip_loss(
        a, torch.stack([b, third(a)]), temperature=0.3, text_to_image="first"
    ),
    "clip, pairwise": lambda a, b: pairwise_clip_loss(torch.stack([a, b, third(a)]), temperature=0.3),
    "clip, weak and strong views": lambda a, b: multi_view_clip_loss(
        a, b, torch.stack([b, third(a)]), torch.stack([third(b), a]), temperature=0.3, view_temperature=0.4
    ),
    "regions": lambda a, b: region_contrastive_loss(torch.stack([a, third(b)])[:, :, None], b, temperature=0.3),
    "siglip": lambda a, b: siglip_loss(a, b, temperature=0.3, bias=-1.0),
    "info_loob": lambda a, b: info_loob_loss(a, b, temperature=0.3),
    "cloob": lambda a, b: cloob_loss(a, b, temperature=0.3, beta=4.0),
    "cloob, info_nce": lambda a, b: cloob_loss(a, b, temperature=0.3, beta=4.0, objective="info_nce"),
    "cloob, no retrieval": lambda a, b: cloob_loss(a, b, temperature=0.3, retrieval=False, scale_by_temperature=False),
    "symile, all tuples": lambda a, b: symile_loss(
        torch.stack([a, b, third(a)]), temperature=0.3, negatives="n_squared"
    ),
    "team_up": lambda a, b: team_up_loss(a, b, temperature=0.3),
    "dcl": lambda a, b: dcl_loss(a, b, temperature=0.3),
    "dclw, weights attached": lambda a, b: dclw_loss(a, b, temperature=0.3, detach_weight=False),
    "sup_con": sup_con,
    "same_label": lambda a, b: same_label_nt_xent_loss(a, b, classes(a), temperature=0.3),
    "same_label, clip": lambda a, b: same_label_clip_loss(a, b, classes(a), temperature=0.3),
    "same_index": lambda a, b: same_index_nt_xent_loss(torch.cat([a, b]), classes(a).repeat(2), temperature=0.3),
    "mlcd": lambda a, b: multilabel_cluster_loss(a, b, own_columns(a), scale=4.0, margin=0.2),
    "mlc": lambda a, b: multilabel_cluster_loss(a, b, own_columns(a), scale=4.0, margin=0.2, mode="mlc"),
    "arbitrary_pair": arbitrary_pairs,
    "arbitrary_pair, prenormalised": lambda a, b: arbitrary_pairs(a, b, similarity="prenormalised"),
    "arbitrary_pair, macro": lambda a, b: arbitrary_pairs(a, b, reduction="macro"),
    "arbitrary_pair, macro_valid": lambda a, b: arbitrary_pairs(a, b, reduction="macro_valid"),
    "arbitrary_pair, one view": lambda a, b: arbitrary_pairs(a, b, exclude_self=True),
    "hard_contrastive": lambda a, b: hard_contrastive_loss(a, b, temperature=0.7),
    "hard_contrastive, top_k": lambda a, b: hard_contrastive_loss(a, b, temperature=0.7, top_k=2),
    "hard_contrastive with a bank": lambda a, b: hard_contrastive_loss(a, b, bank(a), temperature=0.7, alpha=0.5),
    "groco": lambda a, b: groco_loss(torch.stack([a, b, third(a)]), top_k=2, stop_gradient=False),
    "groco, bitonic": lambda a, b: groco_loss(
        torch.stack([a, b, third(a)]), top_k=2, steepness=4.0, network="bitonic", stop_gradient=False
    ),
    "groco, full crops": lambda a, b: groco_loss(
        torch.stack([a, b, third(a)]), top_k=2, distribution="logistic", num_positive_views=2, stop_gradient=False
    ),
    "simple": lambda a, b: simple_contrastive_loss(a, b),
    "simple, alpha": lambda a, b: simple_contrastive_loss(a, b, alpha=0.5, negative_weight=0.3),
    "cacr": lambda a, b: cacr_loss(torch.stack([a, b, third(a)]), t_negative=2.0),
    "cacr, symmetric": lambda a, b: cacr_loss(torch.stack([a, b]), symmetric=True, alpha=0.5, beta=2.0),
    "cacr, rbf": lambda a, b: cacr_loss(torch.stack([a, b]), cost="rbf"),
    "cacr, debiased": lambda a, b: cacr_loss(torch.stack([a, b]), debias=0.1),
    "cacr, debiased as the authors": lambda a, b: cacr_loss(torch.stack([a, b]), debias=0.1, debias_sign="official"),
    "cacr, uniform": lambda a, b: cacr_loss(torch.stack([a, b, third(a)]), weighting="none"),
    "cacr, uniform positives": lambda a, b: cacr_loss(torch.stack([a, b, third(a)]), weighting="uniform_positives"),
    "cacr, uniform negatives": lambda a, b: cacr_loss(torch.stack([a, b, third(a)]), weighting="uniform_negatives"),
}

# Some factor is a constant for the gradient, by definition.
WITH_CONSTANTS: dict[str, Loss] = {
    "dclw": lambda a, b: dclw_loss(a, b, temperature=0.3),
    "groco, references detached": lambda a, b: groco_loss(torch.stack([a, b]), top_k=2),
    "distillation": lambda a, b: score_distillation_loss(a, b, teacher(a, b), temperature=0.3),
    "mnr_plus": lambda a, b: mnr_plus_loss(a, b, temperature=0.7, normalize=True),
    "cwcl": lambda a, b: cwcl_loss(a, b, temperature=0.3),
    "cwcl, both directions": lambda a, b: cwcl_loss(a, b, temperature=0.3, weighted="both", directions="mean"),
    "team_up, strengths": lambda a, b: team_up_loss(a, b, (a[:, 0] > 0).to(a), gamma=0.7, temperature=0.3),
    "weighted": lambda a, b: weighted_contrastive_loss(a, b, weight_embeddings=third(b), temperature=0.3),
    "hydra_moco": lambda a, b: hydra_moco_loss(
        torch.stack([a, b]), torch.stack([b, a]), half_open(a), None, classes(a), classes(third(a)), temperature=0.3
    ),
    "siamlip": lambda a, b: cross_modal_prediction_loss(
        torch.stack([a, b]), torch.stack([b, third(a)]), torch.stack([third(b), a]), torch.stack([b, b])
    ),
    "swalip": lambda a, b: swalip_loss(torch.stack([a, third(b)]), torch.stack([b, third(a)]), temperature=0.3),
    "dcl_queue": lambda a, b: dcl_queue_loss(a, b, bank(a), temperature=0.3),
    "dcl_neighbour": lambda a, b: dcl_neighbour_loss(a, b, temperature=0.3),
    "cacr, weights detached": lambda a, b: cacr_loss(torch.stack([a, b, third(a)]), detach_weights=True),
    "mochi": lambda a, b: own_negatives_info_nce_loss(
        a, b, bank(a), mix_hard_negatives(a, bank(a), num_hard=3, draws=mixing(len(a))).all, temperature=0.3
    ),
    "cacr_queue": lambda a, b: cacr_queue_loss(torch.stack([a, b]), torch.stack([b, a]), bank(a)),
    "cacr_queue, as the authors": lambda a, b: cacr_queue_loss(
        torch.stack([a, b]), torch.stack([b, a]), bank(a), detach_weights="queue", queue_queries="first_view"
    ),
    "cacr_queue, queue alone": lambda a, b: cacr_queue_loss(
        torch.stack([a, b]), torch.stack([b, a]), bank(a), intra_batch=False
    ),
    "cacr_momentum, rbf": lambda a, b: cacr_momentum_views_loss(torch.stack([a, b, third(a)]), torch.stack([b, a])),
    "cacr_momentum, euclidean": lambda a, b: cacr_momentum_views_loss(
        torch.stack([a, b, third(a)]), torch.stack([b, a]), cost="euclidean"
    ),
}

LOSSES = SMOOTH | WITH_CONSTANTS
