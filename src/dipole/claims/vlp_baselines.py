"""CLIP-rocket: a well-regularised CLIP gains more than non-contrastive losses do.

The left half of a handwritten digit stands for the image, the right half for the text. Trained on 300 pairs: plain
CLIP, with SiamLIP and with BarLIP; and the recipe (weak and strong views, a second pair of projectors, smoothed
labels), with the same losses. Every arm sees the same pairs for as many epochs, with the learning rate of its own
that matches halves of held-out training digits best. Judged: the accuracy of left
halves of test digits, named by the class whose mean right half is the most similar; the recipe against plain CLIP, and
whether the recipe without a further loss falls behind the recipe with one (margins two points).

Read in the stored result, after the runs: all of it points where the paper does, and four seeds do not settle it. The
recipe gains 2.7 points, the further losses about one on top of it and nothing without it.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from dipole.claims.base import Arm, Claim, Comparison
from dipole.claims.modalities import DigitHalves, Sets
from dipole.data import stratified_split

RATES = (1e-3, 3e-3)


@dataclass(frozen=True)
class FewHalves(DigitHalves):
    """Halves of some of the training digits.

    Args:
        name: of the digits.
        pairs: to train on, in equal shares of the classes.
    """

    pairs: int = 300

    def load(self, data_root: str | Path | None = None) -> Sets:
        """Return halves to train on and to test on."""
        rows, test = super().load(data_root)
        labels = torch.tensor([int(label or 0) for label in rows.labels or ()])
        _, kept = stratified_split(labels, self.pairs / len(rows))
        return rows.select(kept), test


def _arm(name: str, objective: str, recipe: bool) -> Arm:
    """One objective, with the recipe or without."""
    options: dict[str, Any] = {
        "encoders": {"left": "mlp-64", "right": "mlp-64"},
        "embedding_dim": 32,
        "objective": objective,
        "projector_hidden": 256,
        "separate_projector": recipe,
    }
    if objective != "clip":
        options |= {"auxiliary_hidden": 256, "auxiliary_dim": 128}
    # In units of a pixel's deviation.
    views = {"strong": 2 if recipe else 0, "noise": [0.15, 0.6], "drop": 0.2}
    return Arm(name, "vlp-baselines", FewHalves(), 60, 100, RATES, options, views)


CLAIM = Claim(
    slug="vlp-baselines",
    title="Improved baselines for vision-language pre-training",
    statement=(
        "Weak and strong views, a second pair of projectors and smoothed labels give CLIP a better zero-shot accuracy; "
        "non-contrastive losses add little to that."
    ),
    paper=(
        "Up to 25 % of relative gain over plain CLIP on zero-shot tasks, up to 4 % over prior work on 29 million pairs "
        "(abstract)."
    ),
    arms=(
        _arm("CLIP", "clip", recipe=False),
        _arm("SiamLIP", "siamlip", recipe=False),
        _arm("BarLIP", "barlip", recipe=False),
        _arm("recipe", "clip", recipe=True),
        _arm("recipe, SiamLIP", "siamlip", recipe=True),
        _arm("recipe, BarLIP", "barlip", recipe=True),
    ),
    comparisons=(
        Comparison("recipe − CLIP", "recipe", "CLIP", "accuracy", margin=0.02),
        Comparison(
            "recipe − recipe with SiamLIP", "recipe", "recipe, SiamLIP", "accuracy", expected="not lower", margin=0.02
        ),
        Comparison(
            "recipe − recipe with BarLIP", "recipe", "recipe, BarLIP", "accuracy", expected="not lower", margin=0.02
        ),
        Comparison("SiamLIP − CLIP", "SiamLIP", "CLIP", "accuracy", judged=False),
        Comparison("BarLIP − CLIP", "BarLIP", "CLIP", "accuracy", judged=False),
    ),
    seeds=(0, 1, 2, 3),
    notes=(
        "Strong views of vectors are noise and dropped pixels; nothing is shifted or cropped.",
        "Weak views have noise, too, in all arms. A step of the recipe encodes three views, one of plain CLIP one.",
        "Projectors of the further losses have 256 hidden and 128 output features, not thousands.",
    ),
)
