"""BaCon: soft labels debiased by estimated sizes find novel classes of a long tail better than contrast alone.

Both arms are one method: without soft contrast its contrastive branch is GCD's training, InfoNCE of all images and
supervised contrast of labelled ones, and no gradient of the classifier reaches it. Both choose their learning rate from
one grid. Judged: accuracy of matched clusters of all test images (margin 8 points) and of novel classes (10 points).
"""

from typing import Any

from dipole.claims.base import Arm, Claim, Comparison
from dipole.claims.recognition import NovelDigits
from dipole.claims.settings import GREY_VIEWS

DIGITS, LARGER = NovelDigits("digits, long tail", 8), NovelDigits("digits, long tail", 16)
RATES = (0.03, 0.1, 0.3)
SMALL: dict[str, Any] = {
    "encoder": "mlp-128-128-64",
    "projection_dim": 64,
    "projector_hidden": 128,
    "optimizer": "sgd",
    "weight_decay": 5e-5,
}


# A digit of 8 × 8 pixels, moved by one, and in another light.
VIEWS: dict[str, Any] = {**GREY_VIEWS, "crop_scale": [0.75, 1.0]}
NETWORK: dict[str, Any] = {"encoder": "convnet4-16"}


def _arm(name: str, **options: Any) -> Arm:
    """One way of contrasting; all else is alike."""
    return Arm(name, "bacon", DIGITS, 60, 128, RATES, {**SMALL, **options}, VIEWS)


def _larger(name: str, **options: Any) -> Arm:
    """The same with convolutions and stronger crops."""
    return Arm(name, "bacon", LARGER, 60, 128, RATES, {**SMALL, **NETWORK, **options}, GREY_VIEWS)


BACON, GCD = "bacon", "contrast of views and labels (GCD)"
BACON_CONV, GCD_CONV = "bacon, convolutions", "contrast of views and labels (GCD), convolutions"
NO_SOFT = {"contrast_epochs": 10**6}

CLAIM = Claim(
    slug="bacon",
    title="Towards Distribution-Agnostic Generalized Category Discovery",
    statement=(
        "On a long tail with known and novel classes, contrast of soft labels that are debiased by estimated sizes "
        "gives clusters that agree better with all classes, and with novel ones, than contrast of views and labels."
    ),
    paper=(
        "CIFAR-100-LT: 67.2 % of all classes against 62.2 for GCD; CIFAR-10-LT 91.1 against 75.1 for the best baseline."
    ),
    arms=(_arm(BACON), _arm(GCD, **NO_SOFT), _larger(BACON_CONV), _larger(GCD_CONV, **NO_SOFT)),
    comparisons=(
        Comparison("accuracy of all classes, BaCon − GCD", BACON, GCD, "all", margin=0.08),
        Comparison("accuracy of novel classes, BaCon − GCD", BACON, GCD, "new", margin=0.1),
        Comparison("accuracy of known classes, BaCon − GCD", BACON, GCD, "old", judged=False),
        Comparison("accuracy of all classes, with convolutions", BACON_CONV, GCD_CONV, "all", judged=False),
        Comparison("accuracy of novel classes, with convolutions", BACON_CONV, GCD_CONV, "new", judged=False),
    ),
    notes=(
        "Judged with a small network on all pixels and mild views. The arms with convolutions and stronger "
        "crops were run first and are reported.",
        "Digits 0 to 4 are known, half of their training images have labels; sizes fall from 130 to 13 in both halves.",
        "The learning rate is chosen by clusters of the training images and all their labels, of both arms alike.",
    ),
)
