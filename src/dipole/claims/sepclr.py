"""SepCLR: the joint entropy of both parts keeps the salient pattern out of the common part.

All arms are one method with the same encoders, views and epochs at one learning rate; they differ in λ_J. Judged: how
well the salient digit is read from the common part, with and without the term (lower, margin 5 points), and that the
common digit is read from it as well but for 5 points. Reported: the salient part, and kernel mutual information.
"""

from typing import Any

from dipole.claims.base import Arm, Claim, Comparison
from dipole.claims.recognition import CompositeDigits
from dipole.claims.settings import GREY_VIEWS

DIGITS = CompositeDigits("composite digits", 12)
SMALL: dict[str, Any] = {
    "encoder": "mlp-128-128",
    "common_dim": 16,
    "salient_dim": 16,
    "head_hidden": 64,
    "salient_weight": 10.0,
    "information_weight": 10.0,
    "optimizer": "adam",
    "weight_decay": 0.0,
}
VIEWS: dict[str, Any] = {**GREY_VIEWS, "crop_scale": [0.7, 1.0]}


def _arm(name: str, **options: Any) -> Arm:
    """One way to treat leakage; all else is alike."""
    return Arm(name, "sepclr", DIGITS, 20, 256, (0.001,), {**SMALL, **options}, VIEWS)


JEM, NONE, KERNEL = "joint entropy", "no term against leakage", "kernel mutual information"

CLAIM = Claim(
    slug="sepclr",
    title="Separating common from salient patterns with Contrastive Representation Learning",
    statement=(
        "Where two populations share a pattern and one has another beside it, maximising the joint entropy of common "
        "and salient part lowers what the common part tells of the salient pattern."
    ),
    paper="Better separation than contrastive autoencoders on six data sets; its tables could not be read.",
    arms=(_arm(JEM), _arm(NONE, leakage="none"), _arm(KERNEL, leakage="kernel_mi")),
    comparisons=(
        Comparison(
            "salient digit from the common part, with joint entropy − without",
            JEM,
            NONE,
            "salient_from_common",
            expected="lower",
            margin=0.05,
        ),
        Comparison(
            "common digit from the common part, with joint entropy − without, at most 5 points lower",
            JEM,
            NONE,
            "common_from_common",
            expected="not lower",
            margin=0.05,
        ),
        Comparison(
            "salient digit from the salient part, with − without", JEM, NONE, "salient_from_salient", judged=False
        ),
        Comparison(
            "salient digit from the common part, kernel mutual information − none",
            KERNEL,
            NONE,
            "salient_from_common",
            expected="lower",
            judged=False,
        ),
        Comparison(
            "common digit from the salient part, with − without",
            JEM,
            NONE,
            "common_from_salient",
            expected="lower",
            judged=False,
        ),
    ),
    notes=(
        "Real digits: one on the left in all images, a second one over it on the right in the target population.",
        "Accuracies are of logistic regressions on images of the target population; chance is 10 %.",
        "The references show what parts of an encoder without training tell.",
    ),
)
