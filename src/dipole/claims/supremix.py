"""SupReMix: mixtures and distances of labels put embeddings in order.

All arms see the same images, views and epochs, and choose their learning rate from one grid by the error on held-out
training images. Judged: Spearman's correlation of distances between embeddings and between labels (SupReMix above
SupCon, margin 0.1), and the error of a ridge probe (lower, margin 0.1 degrees). Reported: SupCon with weights, and
plain regression by its L1 loss.
"""

from typing import Any

from dipole.claims.base import Arm, Claim, Comparison
from dipole.claims.recognition import RotatedDigits
from dipole.claims.settings import GREY_VIEWS

DIGITS = RotatedDigits("turned digits", 12)
RATES = (0.0005, 0.002)
SMALL: dict[str, Any] = {"encoder": "mlp-256-128", "projection_dim": 64, "optimizer": "adam", "weight_decay": 0.0}
# A crop or a turn would change the target; the views differ in shade and in the least crop.
VIEWS: dict[str, Any] = {**GREY_VIEWS, "crop_scale": [0.9, 1.0], "crop_ratio": [1.0, 1.0]}


def _arm(name: str, method: str = "supremix", **options: Any) -> Arm:
    """One loss; all else is alike."""
    own = {"temperature": 0.3, "window": 5.0} if method == "supremix" else {}
    return Arm(name, method, DIGITS, 40, 64, RATES, {**SMALL, **own, **options}, VIEWS)


SUPREMIX, SUPCON = "supremix", "supcon"
WEIGHTED, PLAIN = "supcon, weighted by distance", "plain regression (L1)"

CLAIM = Claim(
    slug="supremix",
    title="Mixup Your Own Pairs",
    statement=(
        "Mixed negatives and positives with weights by label distance give embeddings that are in the order of their "
        "labels, and a lower error of a linear probe, than supervised contrast of equal labels."
    ),
    paper="AgeDB: mean absolute error 7.12 with a linear probe; gains on six data sets.",
    arms=(
        _arm(SUPREMIX),
        _arm(SUPCON, mix_neg=False, mix_pos=False, weight="none"),
        _arm(WEIGHTED, mix_neg=False, mix_pos=False),
        _arm(PLAIN, "regression"),
    ),
    comparisons=(
        Comparison("order of embeddings, SupReMix − SupCon", SUPREMIX, SUPCON, "order", margin=0.1),
        Comparison(
            "mean absolute error in degrees, SupReMix − SupCon", SUPREMIX, SUPCON, "mae", expected="lower", margin=0.1
        ),
        Comparison("order, SupReMix − SupCon with weights", SUPREMIX, WEIGHTED, "order", judged=False),
        Comparison(
            "mean absolute error, SupReMix − plain regression", SUPREMIX, PLAIN, "mae", expected="lower", judged=False
        ),
        Comparison("order, SupReMix − plain regression", SUPREMIX, PLAIN, "order", judged=False),
    ),
    seeds=(0, 1, 2),
    notes=(
        "Real digits 2, 3, 4 and 7, turned by a whole number of degrees from 0 to 60, drawn once: the target is made.",
        "Errors are those of a ridge regression on frozen features, of plain regression too.",
    ),
)
