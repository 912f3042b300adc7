"""GroCo: learning by sorting against NT-Xent, by the neighbours that the features have.

Both losses see the same images, views, encoder, projector and epochs. NT-Xent comes at the temperature of the authors'
baseline (0.1) and at the one of the recipe for digits (0.5), so that it does not lose by its temperature; each arm
chooses its learning rate from one grid, a factor of 100 wide, because GroCo's flat loss needs a larger one. Judged,
with an expected gain and a margin of half a point: kNN accuracy with 20 neighbours, as in the paper, against both.
Linear accuracy, which the paper finds little changed at equal training, is reported only.

Read in the stored result, after the runs: GroCo has the better neighbours in both comparisons. Two arms chose at the
ends of the grid, GroCo the largest rate (3, which is the authors' 24 scaled linearly to batches of 128), NT-Xent at
τ = 0.1 the smallest: either may gain beyond it. NT-Xent at τ = 0.5 chose within the grid; there the gain is smaller.
No arm has better neighbours than raw pixels (0.978); all have better ones than an untrained encoder (0.947).
"""

from typing import Any

from dipole.claims.base import Arm, Claim, Comparison
from dipole.claims.images import ImageData
from dipole.claims.settings import GREY_VIEWS, SMALL

DIGITS = ImageData("digits", 16)
EPOCHS = 30
RATES = (0.03, 0.1, 0.3, 1.0, 3.0)
PROJECTOR: dict[str, Any] = {"projector_layers": 3, "projector_final_norm": True}


def _nt_xent(temperature: float) -> Arm:
    """The baseline at one temperature, with GroCo's projector."""
    options = {**SMALL, **PROJECTOR, "temperature": temperature}
    return Arm(f"NT-Xent, τ = {temperature}", "simclr", DIGITS, EPOCHS, 128, RATES, options, GREY_VIEWS)


def _against(temperature: float, metric: str, judged: bool) -> Comparison:
    """GroCo beside the baseline at one temperature."""
    baseline = f"NT-Xent, τ = {temperature}"
    return Comparison(f"{metric}, GroCo − {baseline}", "GroCo", baseline, metric, margin=0.005, judged=judged)


CLAIM = Claim(
    slug="groco",
    title="Learning by Sorting: Self-supervised Learning with Group Ordering Constraints",
    statement=(
        "Asking only that positives rank above the hardest negatives gives features with better neighbours, by kNN "
        "accuracy, than NT-Xent."
    ),
    paper=(
        "ImageNet, ResNet-50, two views, 100 / 200 / 400 / 800 epochs: kNN (k = 20) 60.5 / 62.9 / 63.6 / 65.3, linear "
        "69.2 / 70.4 / 71.1 / 71.2 (authors' README). The paper puts SimCLR with the same recipe below in kNN."
    ),
    arms=(
        Arm(
            "GroCo",
            "groco",
            DIGITS,
            EPOCHS,
            128,
            RATES,
            {**SMALL, **PROJECTOR},
            {**GREY_VIEWS, "blur": [0.0, 0.0], "solarize": [0.0, 0.0]},
        ),
        _nt_xent(0.1),
        _nt_xent(0.5),
    ),
    comparisons=(
        _against(0.1, "knn", judged=True),
        _against(0.5, "knn", judged=True),
        _against(0.1, "linear", judged=False),
        _against(0.5, "linear", judged=False),
    ),
    neighbours=20,
    notes=(
        "All arms have the authors' projector: three layers, normalised at the end.",
        "NT-Xent normalises both views in one batch, as its authors do; GroCo each view alone, as its authors do.",
        "Both kinds of views are drawn alike, without blur or solarization: the views of all arms have one "
        "distribution.",
        "Ten hardest negatives, steepness 1, odd-even network: the authors' settings, not chosen here.",
    ),
)
