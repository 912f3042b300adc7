"""CWCL: positives in proportion to what a frozen tower finds similar.

The frozen tower is a perceptron of right halves of digits, trained with their labels by SupCon; its features are what
the other tower, of left halves, aligns with, without labels. Plain contrast with the frozen tower and CWCL see the same
pairs, batches and epochs; the learning rate of each is chosen from the same grid by the zero-shot accuracy of held-out
digits. Judged: the zero-shot accuracy of test digits after a short training on all pairs and after a long one on few
(margin one point each).

Read in the stored result, after the runs: CWCL is better with many pairs and worse with few. Plain contrast chose
the smallest learning rate of the grid both times, so that a smaller one might have served it better.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from dipole.claims.base import Arm, Claim, Comparison, Data, Metrics
from dipole.claims.modalities import class_accuracy, digit_halves, embed_vectors, train_modalities
from dipole.data import TensorImageSet, load_image_sets, stratified_split
from dipole.data.multimodal import ModalitySet
from dipole.data.multimodal.columns import Vectors
from dipole.losses import sup_con_loss

RATES = (3e-4, 1e-3, 3e-3)
WIDTH = 64


@dataclass
class Aligned:
    """Halves of digits, the right ones seen through the frozen tower.

    Args:
        labelled: on which the tower was trained; their class means are the zero-shot classifier.
        pairs: to train the other tower on.
        held_out: chooses learning rates.
        test: judges.
    """

    labelled: ModalitySet
    pairs: ModalitySet
    held_out: ModalitySet
    test: ModalitySet


@dataclass(frozen=True)
class FrozenHalves(Data):
    """Digits whose right halves are features of a frozen tower; of the training digits, half train that tower.

    Args:
        pairs: that the other tower is trained on.
        name: of the digits.
    """

    pairs: int
    name: str = "digits"

    tuning_metric = "accuracy"
    tuning = "learning rate by zero-shot accuracy on a fifth of the training digits, held out"

    @property
    def label(self) -> str:
        """The digits and how many pairs."""
        return f"{self.name}, {self.pairs} pairs"

    def load(self, data_root: str | Path | None = None) -> Aligned:
        """Train the frozen tower and return what it makes of all digits."""
        first, test = (
            digit_halves(images.images, images.labels["label"])
            for images in (cast(TensorImageSet, part) for part in load_image_sets(self.name))
        )
        classes = torch.tensor([int(label or 0) for label in first.labels or ()])
        rest, labelled = stratified_split(classes, 0.45)
        kept, held_out = stratified_split(classes[rest], 0.35)
        parts = [labelled, rest[kept], rest[held_out]]
        tower = supervised_tower(cast(Vectors, first.columns["right"]).values[labelled], classes[labelled])
        own, pairs, other = (seen_through(tower, first.select(rows)) for rows in parts)
        return Aligned(own, pairs.sample(self.pairs), other, seen_through(tower, test))

    def size(self, loaded: Aligned) -> int:
        """Number of pairs."""
        return len(loaded.pairs)

    def once(self, claim: Claim, arm: Arm, rate: float, seed: int, loaded: Aligned, *, tune: bool) -> Metrics:
        """Align left halves with the frozen features."""
        method = train_modalities(arm, self.name, rate, seed, loaded.pairs)
        rows = loaded.held_out if tune else loaded.test
        keys = embed_vectors(method, loaded.labelled, "right")
        return {"accuracy": class_accuracy(embed_vectors(method, rows, "left"), rows, keys, loaded.labelled)}

    def references(self, claim: Claim, arm: Arm, loaded: Aligned) -> dict[str, dict[str, float]]:
        """The frozen tower on its own right halves."""
        keys, queries = (_features(part) for part in (loaded.labelled, loaded.test))
        return {"frozen tower, right halves": {"accuracy": class_accuracy(queries, loaded.test, keys, loaded.labelled)}}


def supervised_tower(vectors: Tensor, classes: Tensor, *, epochs: int = 60, seed: int = 0) -> nn.Module:
    """Train a perceptron by SupCon, two noisy copies of each vector, and freeze it.

    Args:
        vectors: (N, F).
        classes: (N,).
        epochs: passes over the vectors.
        seed: of weights, order and noise.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tower = nn.Sequential(nn.Linear(vectors.shape[1], 128), nn.ReLU(), nn.Linear(128, WIDTH))
        optimizer = torch.optim.AdamW(tower.parameters(), lr=1e-3)
        for _ in range(epochs):
            for rows in torch.randperm(len(vectors)).split(128)[:-1]:
                views = vectors[rows] + 0.1 * torch.randn(2, len(rows), vectors.shape[1])
                loss = sup_con_loss(tower(views.flatten(0, 1)), classes[rows].repeat(2), temperature=0.1)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
    return tower.eval().requires_grad_(False)


def seen_through(tower: nn.Module, rows: ModalitySet) -> ModalitySet:
    """Return rows with features of the right halves in place of the halves."""
    cells = rows.fetch(torch.arange(len(rows)))
    features = tower(torch.stack([row["right"] for row in cells]))
    left = torch.stack([row["left"] for row in cells])
    return ModalitySet(rows.name, {"left": Vectors(left), "right": Vectors(features)}, labels=rows.labels)


def _features(rows: ModalitySet) -> Tensor:
    """The features of the right halves."""
    return torch.stack([row["right"] for row in rows.fetch(torch.arange(len(rows)))])


def _arm(name: str, method: str, pairs: int, epochs: int) -> Arm:
    """One loss on some pairs."""
    options: dict[str, Any] = {
        "encoders": {"left": "mlp-128", "right": "identity"},
        "locked": "right",
        "locked_projection": False,
        "embedding_dim": WIDTH,
        "weight_decay": 0.01,
    }
    batch_size = 100 if pairs < 400 else 200
    return Arm(f"{name}, {pairs} pairs", method, FrozenHalves(pairs), epochs, batch_size, RATES, options)


CLAIM = Claim(
    slug="cwcl",
    title="CWCL: Cross-Modal Transfer with Continuously Weighted Contrastive Loss",
    statement=(
        "A tower that aligns with a frozen one gets a better zero-shot accuracy if positives are weighted by what the "
        "frozen tower finds similar."
    ),
    paper=(
        "5 to 8 points of zero-shot image classification, 20 to 30 of speech to intent and key words, over plain "
        "contrast (abstract)."
    ),
    arms=(
        _arm("plain", "clip", 400, 60),
        _arm("CWCL", "cwcl", 400, 60),
        _arm("plain", "clip", 100, 200),
        _arm("CWCL", "cwcl", 100, 200),
    ),
    comparisons=(
        Comparison("accuracy, CWCL − plain, 400 pairs", "CWCL, 400 pairs", "plain, 400 pairs", "accuracy", margin=0.01),
        Comparison("accuracy, CWCL − plain, 100 pairs", "CWCL, 100 pairs", "plain, 100 pairs", "accuracy", margin=0.01),
    ),
    notes=(
        "The scale is learned, from 1 / 0.07 on.",
        "400 pairs for 60 epochs in batches of 200; 100 pairs for 200 epochs in batches of 100.",
        "Seeds vary the trained tower and the order; the frozen tower is the same for all.",
    ),
)
