"""AdaInf: with more data, augmentation may be weaker.

The paper's toy: two Gaussians at (±1, 0) with variance 0.7, augmentation by uniform noise in a disc of radius r.
Nothing is trained. From 40 to 600 samples the graph of overlapping views should hold together better at the same radius
(λ₃, its third eigenvalue, larger at r = 0.5 and 0.9), while the labelling error α, which depends on the augmentation
alone, should stay; so that the radius at which α / λ₃ is smallest should not grow. Judged: λ₃ at both radii, and the
best radius (margin 0.1, the step of the grid). Reported: α.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dipole.claims.base import Arm, Claim, Comparison, Data, Metrics
from dipole.diagnostics.overlap_graph import labelling_error, laplacian_spectrum, overlap_graph

CLASSES, VARIANCE = 2, 0.7
SHOWN = (0.5, 0.9)
RADII = tuple(round(0.1 * step, 1) for step in range(3, 25))


def two_gaussians(count: int, seed: int) -> Tensor:
    """Draw samples (N, 2), half of them around (−1, 0) and half around (1, 0).

    Example:
        >>> two_gaussians(4, 0).shape
        torch.Size([4, 2])
    """
    generator = torch.Generator().manual_seed(seed)
    centres = torch.tensor([[-1.0, 0.0], [1.0, 0.0]], dtype=torch.float64).repeat(count // 2, 1)
    return centres + VARIANCE**0.5 * torch.randn(len(centres), 2, generator=generator, dtype=torch.float64)


@dataclass(frozen=True)
class TwoGaussians(Data):
    """Samples of the toy.

    Args:
        count: of the samples.
    """

    name: str = "two Gaussians"
    count: int = 40

    tuning_metric = "λ₃"
    tuning = "nothing is trained"

    @property
    def label(self) -> str:
        """Name and number of samples."""
        return f"{self.name}, {self.count}"

    def load(self, data_root: str | Path | None = None) -> None:
        """Nothing: samples are drawn in every run."""

    def size(self, loaded: Any) -> int:
        """Number of samples."""
        return self.count

    def once(self, claim: Claim, arm: Arm, rate: float, seed: int, loaded: Any, *, tune: bool) -> Metrics:
        """Draw samples, and measure graph and labels at every radius."""
        x = two_gaussians(self.count, seed)
        connectivity = {radius: float(laplacian_spectrum(overlap_graph(x, radius))[CLASSES]) for radius in RADII}
        error = {radius: float(labelling_error(x, radius)[0].mean()) for radius in RADII}
        connected = [radius for radius in RADII if connectivity[radius] > 1e-9]
        found: Metrics = {f"λ₃ at {radius}": connectivity[radius] for radius in SHOWN}
        best = min(connected, key=lambda radius: error[radius] / connectivity[radius])
        return {**found, f"α at {SHOWN[-1]}": error[SHOWN[-1]], "best radius": best}


def _arm(count: int) -> Arm:
    """Samples of one number."""
    return Arm(f"{count} samples", "adainf", TwoGaussians(count=count), 0, 2, (0.0,))


def _more(metric: str, expected: str = "higher", margin: float = 0.0, judged: bool = True) -> Comparison:
    """600 samples beside 40."""
    name = f"{metric}, 600 samples − 40"
    return Comparison(name, "600 samples", "40 samples", metric, expected, margin, judged)


CLAIM = Claim(
    slug="adainf",
    title="Do Generated Data Always Help Contrastive Learning?",
    statement=(
        "More data make the graph of overlapping views hold together better under the same augmentation and leave the "
        "labelling error as it is, so that the best augmentation is weaker."
    ),
    paper=(
        "CIFAR-10, ResNet-18, 100,000 steps, linear accuracy of SimCLR: 91.56 without generated images, 91.38 with a "
        "million added, 93.42 with AdaInf's two rules (authors' README)."
    ),
    arms=(_arm(40), _arm(150), _arm(600)),
    comparisons=(
        _more("λ₃ at 0.5"),
        _more("λ₃ at 0.9"),
        _more("best radius", "lower", 0.1),
        _more("α at 0.9", judged=False),
    ),
    seeds=tuple(range(10)),
    notes=(
        "The theory's toy alone. Its graph of samples stands for the paper's graph of views.",
        "The gain in accuracy needs a generator of images and 100,000 steps: the recipe adainf-cifar10 has the paper's "
        "settings and was not run.",
    ),
)
