"""What detectors and repairs make of an audited encoder."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from dipole.data import ImageSet
from dipole.diagnostics.poisoning import decree, prune_channels, unlearn
from dipole.errors import InputError
from dipole.evaluation import embed_image_set
from dipole.methods.base import Method
from dipole.runs.audit.probe import Probe
from dipole.views import resize

MOST_IMAGES = 1000
THRESHOLDS = (1.0, 2.0, 3.0, 4.0, 5.0)
SUSPECTED = 0.1  # share of the pixels below which a patch that makes all images alike is suspicious

# (probe) -> accuracy on clean test images, and success of the trigger
Rates = Callable[[Probe], dict[str, float]]


def search_patch(method: Method, images: ImageSet, image_size: int, steps: int, seed: int) -> dict[str, Any]:
    """Run DECREE on an encoder, with some clean images."""
    shown = images.sample(MOST_IMAGES, seed)
    pixels = shown.fetch(torch.arange(len(shown))).float() / 255
    frozen = copy.deepcopy(method).requires_grad_(False).eval()
    found = decree(lambda x: frozen.embed(resize(x, image_size)), pixels, steps=steps, seed=seed)
    return {"share": found.share, "suspected": found.share is not None and found.share < SUSPECTED}


def prune(method: Method, labelled: ImageSet, image_size: int, rates: Rates) -> dict[str, Any]:
    """Run CLP for several thresholds, with a new probe after each."""
    rows: list[dict[str, Any]] = []
    for threshold in THRESHOLDS:
        repaired = copy.deepcopy(method)
        try:
            layers = prune_channels(repaired, threshold)
        except InputError as error:
            return {"left_out": str(error)}
        count = sum(len(layer.pruned) for layer in layers)
        rows.append({"threshold": threshold, "pruned": count, **rates(Probe(repaired, labelled, image_size))})
    return {"rows": rows}


def relearn(
    method: Method, labelled: ImageSet, image_size: int, share: float, seed: int, rates: Rates
) -> dict[str, Any]:
    """Run I-BAU on an encoder and its probe, with a share of the clean labelled images."""
    probe = Probe(copy.deepcopy(method), labelled, image_size)
    known = labelled.sample(max(32, int(share * len(labelled))), seed)
    unlearn(probe, known.fetch(torch.arange(len(known))).float() / 255, known.labels["label"])
    return {"labelled_images": len(known), **rates(probe.eval())}


def spectral_scores(
    method: Method, images: ImageSet, members: Tensor, poisoned: Tensor, image_size: int
) -> dict[str, Any]:
    """Look for changed images in the features of a class, by the largest singular vector (Tran et al., NeurIPS 2018).

    An extra that is not in the paper. Labels of the class are needed.
    """
    from sklearn.metrics import roc_auc_score

    features = torch.cat(
        [method.embed(resize(images.fetch(part), image_size)).detach().cpu() for part in members.split(512)]
    )
    centred = features - features.mean(dim=0)
    scores = (centred @ torch.linalg.svd(centred, full_matrices=False).Vh[0]).abs()
    wanted = torch.isin(members, poisoned)
    if not bool(wanted.any()) or bool(wanted.all()):
        return {"left_out": "none or all of the class's images are changed"}
    limit = scores[~wanted].quantile(0.95)
    return {
        "AUROC": float(roc_auc_score(wanted.numpy(), scores.numpy())),
        "TPR at 5 % FPR": float((scores[wanted] > limit).double().mean()),
    }


def alike(method: Method, triggered: Tensor, members: ImageSet, image_size: int) -> dict[str, float]:
    """Mean cosine of triggered images' features to the mean direction of the class, and to each other."""
    unit = torch.nn.functional.normalize
    with torch.no_grad():
        moved = unit(method.embed(resize(triggered, image_size)).cpu(), dim=1)
    centre = unit(unit(embed_image_set(method.embed, members, image_size), dim=1).mean(dim=0), dim=0)
    count = len(moved)
    among = (moved.sum(dim=0).square().sum() - count) / (count * (count - 1))
    return {"cosine to the class": float((moved @ centre).mean()), "cosine among triggered": float(among)}
