"""Hydra: with a gate, arbitrary pairs of classes teach; without one they do harm.

All arms see the same images, views, batches and number of epochs, and choose their learning rate from the same grid on
held-out training images. Judged: linear accuracy with and without a gate on arbitrary pairs (expected gain, margin 1.5
points), and the loss that is reached (with a gate below 0.75 times that without, compared as logarithms). Reported
only: kNN accuracy, the other similarity, pairs of one class without a gate, and the effective rank of the features.

Read in the stored result, after the runs: both are there. Without a gate the loss stays where it begins to be all but
constant (4.6 with every seed), and the features are little better than those of an untrained encoder; they are not
collapsed, as their effective rank is the highest of all. With a gate arbitrary pairs do as well as pairs of one class,
which need none; a gain over these is not seen. Three of the four arms chose a learning rate at an end of the grid: the
one without a gate the smallest, since training harms it, and two of the others the largest.
"""

import copy
import math
from statistics import fmean
from typing import Any, cast

import torch

from dipole.claims.base import Arm, Claim, Comparison
from dipole.claims.images import ImageData, epoch_of_views
from dipole.claims.settings import GREY_VIEWS
from dipole.data import ImageSet
from dipole.methods.base import Method
from dipole.views import SimCLRViews

DIGITS = ImageData("digits", 16)
RATES = (0.0005, 0.002, 0.008)
SMALL: dict[str, Any] = {
    "encoder": "convnet4-16",
    "projection_dim": 64,
    "projector_hidden": 128,
    "gate_embedding": 64,
    "gate_hidden": 128,
    "optimizer": "adam",
    "temperature": 0.1,
}


def measure_loss(method: Method, train: ImageSet, test: ImageSet, arm: Arm) -> dict[str, float]:
    """Return the logarithm of the mean loss over one epoch of new views, in batches of the arm's size.

    Networks normalise by the batch, as they do in training; the method itself is left as it was.
    """
    network = copy.deepcopy(method).train()
    found = []
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)  # of the partners
        for indices, views in epoch_of_views(SimCLRViews, arm, train, cast(ImageData, arm.data).image_size):
            batch = {"views": views, "label": train.labels["label"][indices]}
            found.append(float(network.loss_terms(batch)["loss"]))
    return {"log_loss": math.log(fmean(found))}


def _arm(name: str, **options: str) -> Arm:
    """One way of pairing and gating; all else is alike."""
    return Arm(name, "hydra", DIGITS, 25, 128, RATES, {**SMALL, **options}, GREY_VIEWS)


GATED, OPEN, PRENORMALISED = "arbitrary, gate", "arbitrary, no gate", "arbitrary, gate, prenormalised"
IDENTICAL = "one class, no gate"

CLAIM = Claim(
    slug="hydra",
    title="Rethinking Positive Pairs in Contrastive Learning",
    statement=(
        "Arbitrary pairs of classes as positives spoil the features unless a learned gate selects for each pair the "
        "subspace in which both are alike; with the gate the features are good and the loss falls far lower."
    ),
    paper=(
        "CIFAR-10, ResNet-18, 50 epochs, accuracy of an online head, from the authors' notes on their code: arbitrary "
        "pairs with the filter 90.7 to 90.9, without it 25.3; pairs of one class without it (SupCon) 89.9."
    ),
    arms=(
        _arm(GATED, pairs="arbitrary", gate="fused"),
        _arm(OPEN, pairs="arbitrary", gate="open"),
        _arm(PRENORMALISED, pairs="arbitrary", gate="fused", similarity="prenormalised"),
        _arm(IDENTICAL, pairs="identical", gate="open"),
    ),
    comparisons=(
        Comparison("linear, gate − no gate, arbitrary pairs", GATED, OPEN, "linear", margin=0.015),
        Comparison(
            "log of the loss, gate − no gate, arbitrary pairs",
            GATED,
            OPEN,
            "log_loss",
            expected="lower",
            margin=round(-math.log(0.75), 4),
        ),
        Comparison("kNN, gate − no gate, arbitrary pairs", GATED, OPEN, "knn", margin=0.015, judged=False),
        Comparison(
            "linear, gate − no gate, arbitrary pairs, prenormalised",
            PRENORMALISED,
            OPEN,
            "linear",
            margin=0.015,
            judged=False,
        ),
        Comparison(
            "linear, arbitrary pairs with a gate − pairs of one class without", GATED, IDENTICAL, "linear", judged=False
        ),
        Comparison(
            "effective rank, gate − no gate, arbitrary pairs", GATED, OPEN, "effective_rank", margin=1.0, judged=False
        ),
    ),
    notes=(
        "Labels are used in training by all arms, so that their accuracies do not compare with those of other claims.",
        "The features that are measured are the encoder's; the gate serves training alone.",
        "The loss is that of one epoch of new views of the training images after training. A gate adds parameters that "
        "can lower it without better features, which is why the accuracy is judged beside it.",
    ),
    measure=measure_loss,
)
