"""Behaviour of contrastive loss: what the temperature and hard negatives do to uniformity and tolerance.

One loss (InfoNCE within the batch), three temperatures, and its hard form, which keeps the 32 nearest of 127 negatives.
Everything else is the same, the learning rate included: the geometry at equal training is compared, not the best
accuracy. Judged: from τ = 0.2 to 0.5 to 1.0, −L_unif falls (margin 0.05) and tolerance rises (margin 0.01); at τ = 1
the hard loss has a higher −L_unif than the plain one (margin 0.05). Accuracies are reported only. Nothing is said of
τ = 0.07, which converges too slowly for runs of this length.
"""

from typing import Any, cast

from dipole.claims.base import Arm, Claim, Comparison
from dipole.claims.images import ImageData
from dipole.claims.settings import GREY_VIEWS, SMALL
from dipole.data import ImageSet
from dipole.diagnostics import tolerance, uniformity
from dipole.evaluation import embed_image_set
from dipole.methods.base import Method
from dipole.methods.joint_embedding import JointEmbedding

DIGITS = ImageData("digits", 16)
EPOCHS = 40


def measure_geometry(method: Method, train: ImageSet, test: ImageSet, arm: Arm) -> dict[str, float]:
    """Return −L_unif and tolerance of the projected test images."""
    network = cast(JointEmbedding, method).network
    z = embed_image_set(network, test, cast(ImageData, arm.data).image_size)
    tolerated = tolerance(z, test.labels["label"])
    assert tolerated is not None, "digits has several images of every class"
    return {"minus_uniformity": -float(uniformity(z)), "tolerance": float(tolerated)}


def _arm(name: str, temperature: float, **kept: Any) -> Arm:
    """The loss at one temperature."""
    options = {**SMALL, "optimizer": "adam", "temperature": temperature, **kept}
    return Arm(name, "hard-contrastive", DIGITS, EPOCHS, 128, (3e-3,), options, GREY_VIEWS)


CLAIM = Claim(
    slug="behaviour",
    title="Understanding the Behaviour of Contrastive Loss",
    statement=(
        "A higher temperature makes embeddings less uniform and more tolerant of similar samples; keeping only the "
        "hardest negatives makes them uniform at a high temperature too."
    ),
    paper=(
        "CIFAR-10, (−L_unif, tolerance) at τ = 0.07 / 0.3 / 0.7 / 1.0: (3.86, 0.04) / (3.60, 0.178) / (3.17, 0.333) / "
        "(2.96, 0.372). Hard loss, linear accuracy at the same τ: 79.2 / 83.63 / 84.19 / 84.19, against 79.75 / 83.27 "
        "/ 82.69 / 82.21 of the plain loss (table 1)."
    ),
    arms=(_arm("τ = 0.2", 0.2), _arm("τ = 0.5", 0.5), _arm("τ = 1", 1.0), _arm("τ = 1, hard", 1.0, top_k=32)),
    comparisons=(
        Comparison("−L_unif, τ 0.5 − 0.2", "τ = 0.5", "τ = 0.2", "minus_uniformity", "lower", margin=0.05),
        Comparison("−L_unif, τ 1 − 0.5", "τ = 1", "τ = 0.5", "minus_uniformity", "lower", margin=0.05),
        Comparison("tolerance, τ 0.5 − 0.2", "τ = 0.5", "τ = 0.2", "tolerance", margin=0.01),
        Comparison("tolerance, τ 1 − 0.5", "τ = 1", "τ = 0.5", "tolerance", margin=0.01),
        Comparison("−L_unif at τ 1, hard − plain", "τ = 1, hard", "τ = 1", "minus_uniformity", margin=0.05),
        Comparison("linear at τ 1, hard − plain", "τ = 1, hard", "τ = 1", "linear", margin=0.005, judged=False),
    ),
    notes=(
        "Embeddings are the projector's, of held-out images without augmentation.",
        "One learning rate for all arms: a rate of its own for each would change the geometry too.",
        "The negatives are those of the batch; the paper uses a memory bank of the whole data set.",
    ),
    measure=measure_geometry,
)
