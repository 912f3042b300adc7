"""SupReMix's mixtures and loss against the authors' code and independent loops, key by key."""

import torch
from torch import Tensor

from dipole.losses.supremix import (
    mix_negatives,
    mix_positive_index,
    mix_positives,
    supremix_loss,
    supremix_terms,
)
from reference.cases import Case, parametrize

VARIANTS = {
    "supcon": {"mix_neg": False, "mix_pos": False, "weight": "none"},
    "supcon_weighted": {"mix_neg": False, "mix_pos": False},
    "mix_neg": {"mix_pos": False},
    "mix_pos": {"mix_neg": False},
    "supremix_unweighted": {"weight": "none"},
}


@parametrize("supremix", {"loss": "in.alpha_neg"})
def test_every_value(case: Case, kind: str) -> None:
    features, labels, alpha = case.leaf("in.features"), case["in.labels"].flatten(), case["in.alpha_neg"]
    views = features.transpose(0, 1)
    options = {"temperature": case.params["temperature"], "window": case.params["window"], "normalize": False}
    terms = supremix_terms(views, labels, alpha, **options)
    case.check("out.loss_per_anchor", terms.loss)
    case.check("out.num_pos", terms.positives)
    case.check("out.num_candidates", terms.candidates)
    loss = supremix_loss(views, labels, alpha, **options)
    case.check("out.loss", loss)
    case.check_gradient("grad.features", loss, features)
    for name, variant in VARIANTS.items():
        case.check(f"out.loss_{name}", supremix_loss(views, labels, alpha, **options, **variant))
    as_released = supremix_loss(views, labels, alpha, **options, stabilizer="per_block")
    case.check("out.loss_official_row_max", as_released)
    case.check_gradient("out.grad_features_official_row_max", as_released, features)
    check_mixtures(case, views.flatten(0, 1).detach(), labels.repeat(len(views)), alpha)
    case.check_all_read()


def check_mixtures(case: Case, z: Tensor, labels: Tensor, alpha: Tensor) -> None:
    count = len(z)
    mask = torch.full((count, count, count), -1, dtype=torch.int8)
    mixture, label = z.new_zeros(count, count, count, z.shape[1]), z.new_zeros(count, count, count)
    mixed, mixed_labels = mix_negatives(z, labels, alpha)
    for i, k in (labels[:, None] != labels[None]).nonzero().tolist():
        mask[i, i, k], mixture[i, i, k], label[i, i, k] = 0, mixed[i, k], mixed_labels[i, k]
    pairs = mix_positive_index(labels, case.params["window"])
    for i, j, k, row in zip(*pairs[:3], mix_positives(z, pairs), strict=True):
        mask[i, j, k], mixture[i, j, k], label[i, j, k] = 1, row, labels[i]
    case.check("out.mixture_mask", mask)
    case.check("out.mixture", mixture)
    case.check("out.mixture_label", label)
    # The released code then packs mixtures and their labels in different orders. dipole does not.
    misaligned, loss = case["out.loss_official_as_shipped_compressed"], case["out.loss"]
    assert torch.isclose(misaligned, loss) == bool((mask < 0).all())
