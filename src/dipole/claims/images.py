"""Experiments on images: kNN and linear accuracy of frozen features."""

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from dipole.claims.base import Arm, Claim, Data, Metrics
from dipole.claims.training import run_config
from dipole.data import ImageSet, imbalanced_indices, load_image_sets, stratified_split
from dipole.diagnostics import effective_rank
from dipole.evaluation import embed_image_set, knn_accuracy, linear_probe, raw_pixels
from dipole.runs import build_method, load, train
from dipole.views import ImageViews

HELD_OUT = 0.2  # share of the labelled training images on which learning rates are chosen
Sets = tuple[ImageSet, ImageSet]


@dataclass(frozen=True)
class ImageData(Data):
    """Images of an experiment.

    Args:
        name: of a data set, as `load_image_sets` knows it.
        image_size: height and width of the views in pixels.
        most_train: training images used at most, drawn once.
        most_test: test images used at most, drawn once.
        imbalance: `"linear"` or `"exponential"`: pretrain on such a subset of the training images. The labelled images
            of the evaluation are all training images.
        least: images that every class keeps in an imbalanced subset.

    Example:
        >>> train, test = ImageData("digits", 16, most_train=100).load()
        >>> len(train), len(test)
        (100, 450)
    """

    name: str
    image_size: int
    most_train: int | None = None
    most_test: int | None = None
    imbalance: str | None = None
    least: int = 4

    tuning_metric = "knn"
    tuning = f"learning rate by kNN on {HELD_OUT:.0%} of the training images, held out"

    @property
    def label(self) -> str:
        """Name of the images, with their imbalance."""
        return self.name if self.imbalance is None else f"{self.name}, {self.imbalance} imbalance"

    def load(self, data_root: str | Path | None = None) -> Sets:
        """Return the labelled training images and the test images."""
        train_set, test_set = load_image_sets(self.name, data_root, self.image_size)
        return (
            train_set.sample(self.most_train or len(train_set)),
            test_set.sample(self.most_test or len(test_set)),
        )

    def size(self, loaded: Any) -> int:
        """Number of pretraining images."""
        return len(self.pretraining(loaded[0]))

    def pretraining(self, train_set: ImageSet) -> ImageSet:
        """Return the images of the training set that an encoder is trained on."""
        if self.imbalance is None:
            return train_set
        labels = train_set.labels["label"]
        kept = torch.zeros(len(train_set), dtype=torch.bool)
        kept[imbalanced_indices(labels, self.imbalance)] = True
        for value in labels.unique():
            members = (labels == value).nonzero().flatten()
            missing = self.least - int(kept[members].sum())
            kept[members[~kept[members]][: max(0, missing)]] = True
        return train_set.select(kept.nonzero().flatten())

    def once(self, claim: Claim, arm: Arm, rate: float, seed: int, loaded: Any, *, tune: bool) -> Metrics:
        """Train an encoder and measure it; runs that tune hold training images out and need kNN only."""
        sets: Sets = loaded
        if tune:
            kept, held_out = stratified_split(loaded[0].labels["label"], HELD_OUT)
            sets = loaded[0].select(kept), loaded[0].select(held_out)
        config = run_config(arm, self.name, rate, seed, image_size=self.image_size)
        seen = self.pretraining(sets[0])
        with tempfile.TemporaryDirectory() as folder:
            run = train(config, Path(folder) / "run", sets=(seen, sets[1]), monitor=False, progress=False)
            method = load(run.path)
        embedded = [embed_image_set(method.embed, images, self.image_size) for images in sets]
        labels = [images.labels["label"] for images in sets]
        pair = embedded[0], labels[0], embedded[1], labels[1]
        found: Metrics = {"knn": knn_accuracy(*pair, k=claim.neighbours)}
        if not tune:
            found["linear"] = linear_probe(*pair, seed=seed).accuracy
            found["effective_rank"] = float(effective_rank(embedded[1]))  # near 1: the features have collapsed
            if claim.measure is not None:
                found |= claim.measure(method, seen, sets[1], arm)
        return found

    def references(self, claim: Claim, arm: Arm, loaded: Any) -> dict[str, dict[str, float]]:
        """Accuracies of raw pixels and of an encoder that is not trained."""
        sets: Sets = loaded
        untrained = build_method(arm.method, {**arm.options, "image_size": self.image_size}).eval()
        embedded = {
            "raw pixels": [raw_pixels(images, self.image_size) for images in sets],
            "untrained encoder": [embed_image_set(untrained.embed, images, self.image_size) for images in sets],
        }
        train_labels, test_labels = (images.labels["label"] for images in sets)
        return {
            name: {
                "knn": knn_accuracy(first, train_labels, second, test_labels, k=claim.neighbours),
                "linear": linear_probe(first, train_labels, second, test_labels).accuracy,
            }
            for name, (first, second) in embedded.items()
        }


def epoch_of_views(
    views_class: type[ImageViews], arm: Arm, images: ImageSet, size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the indices and new views of the batches of an epoch, of the arm's size; the same ones at every call."""
    options: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in arm.views.items()
    }
    views: Any = views_class(size, **options)
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(images), generator=generator)
    for indices in order[: len(order) // arm.batch_size * arm.batch_size].split(arm.batch_size):
        yield indices, views(images.fetch(indices), generator=generator)
