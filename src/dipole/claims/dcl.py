"""DCL: without the positive in the denominator, tiny batches teach; and the coupling that it removes.

NT-Xent and DCL see the same images, views, batches and number of epochs; the learning rate, c · B / 256, is chosen from
the same grid of c on held-out training images. Judged: kNN and linear accuracy at batch 8, where a gain is expected
(margin half a point), and the mechanism: the multiplier q, by which the coupling shrinks NT-Xent's gradients, grows
from batch 8 to 32 to 128 (margin 0.01). Accuracy at batch 128, where less of a gain is expected, is reported only.

Read in the stored result, after the runs: the mechanism is there, the gain is not. Four epochs bring little on digits:
every arm chose its smallest or second smallest learning rate, and its kNN accuracy is near that of an untrained encoder
(at batch 128 NT-Xent's is below it) and below that of raw pixels, so that there is little room for a gain. The
difference in kNN at batch 128 goes with different learning rates (0.03 and 0.0075), each chosen on a single seed, and
is no evidence for either side.
"""

import copy
from statistics import fmean
from typing import cast

import torch

from dipole.claims.base import Arm, Claim, Comparison
from dipole.claims.images import ImageData, epoch_of_views
from dipole.claims.settings import GREY_VIEWS, SMALL
from dipole.data import ImageSet
from dipole.losses import npc_multiplier
from dipole.methods.base import Method
from dipole.methods.joint_embedding import JointEmbedding
from dipole.views import SimCLRViews

DIGITS = ImageData("digits", 16)
TEMPERATURE = 0.1
SCALES = (0.015, 0.06, 0.24)


def measure_coupling(method: Method, train: ImageSet, test: ImageSet, arm: Arm) -> dict[str, float]:
    """Return the mean multiplier q over one epoch of new views in batches of the arm's size.

    The network normalises by the batch, as it does in training; the method itself is left as it was.
    """
    network = cast(JointEmbedding, copy.deepcopy(method)).train()
    found = []
    with torch.no_grad():
        for _, batch in epoch_of_views(SimCLRViews, arm, train, cast(ImageData, arm.data).image_size):
            z1, z2 = network.project(batch)
            found.append(float(npc_multiplier(z1, z2, temperature=TEMPERATURE).mean()))
    return {"npc_multiplier": fmean(found)}


def _arm(loss: str, method: str, batch_size: int) -> Arm:
    """One loss at one batch size; the grid of learning rates is linear in the batch size."""
    rates = tuple(round(scale * batch_size / 256, 6) for scale in SCALES)
    options = {**SMALL, "temperature": TEMPERATURE}
    return Arm(f"{loss}, batch {batch_size}", method, DIGITS, 4, batch_size, rates, options, GREY_VIEWS)


CLAIM = Claim(
    slug="dcl",
    title="Decoupled Contrastive Learning",
    statement=(
        "With tiny batches, taking the positive out of NT-Xent's denominator gives better features, because the "
        "multiplier by which it shrinks NT-Xent's gradients falls with the batch size."
    ),
    paper=(
        "kNN accuracy on CIFAR-10 with batches of 32 / 64 / 128 / 256 / 512: SimCLR 78.9 / 80.4 / 81.1 / 81.4 / 81.3, "
        "DCL 83.7 / 84.4 / 84.4 / 84.2 / 83.5 (cited from memory). ImageNet, batch 256: 61.8 → 68.2 linear (abstract)."
    ),
    arms=(
        _arm("NT-Xent", "simclr", 8),
        _arm("DCL", "dcl", 8),
        _arm("NT-Xent", "simclr", 32),
        _arm("NT-Xent", "simclr", 128),
        _arm("DCL", "dcl", 128),
    ),
    comparisons=(
        Comparison("kNN, DCL − NT-Xent, batch 8", "DCL, batch 8", "NT-Xent, batch 8", "knn", margin=0.005),
        Comparison("linear, DCL − NT-Xent, batch 8", "DCL, batch 8", "NT-Xent, batch 8", "linear", margin=0.005),
        Comparison(
            "q of NT-Xent, batch 32 − 8", "NT-Xent, batch 32", "NT-Xent, batch 8", "npc_multiplier", margin=0.01
        ),
        Comparison(
            "q of NT-Xent, batch 128 − 32", "NT-Xent, batch 128", "NT-Xent, batch 32", "npc_multiplier", margin=0.01
        ),
        Comparison(
            "kNN, DCL − NT-Xent, batch 128", "DCL, batch 128", "NT-Xent, batch 128", "knn", margin=0.005, judged=False
        ),
        Comparison(
            "linear, DCL − NT-Xent, batch 128",
            "DCL, batch 128",
            "NT-Xent, batch 128",
            "linear",
            margin=0.005,
            judged=False,
        ),
    ),
    seeds=tuple(range(8)),
    notes=(
        "Four epochs, as few epochs are where DCL is said to help; the number of steps falls with the batch size.",
        "Every arm has its own learning rate: a gain that a larger learning rate also gives is none.",
        "q is measured after training, on one epoch of new views of the training images in batches of the arm's size.",
    ),
    measure=measure_coupling,
)
