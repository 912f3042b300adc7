"""Experiments on images whose labels are rare, few, unknown, ordered, or of two populations."""

import tempfile
from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from dipole.claims.base import Arm, Claim, Data, Metrics
from dipole.claims.training import run_config
from dipole.data import ImageSet, load_image_sets, stratified_split
from dipole.data.annotated_set import AnnotatedSet
from dipole.data.image_roles import ImageRoles, with_roles
from dipole.data.tensor_image_set import TensorImageSet
from dipole.evaluation.clusters import clustering_accuracy
from dipole.evaluation.embedding import embed_image_set
from dipole.evaluation.episodes import draw_episodes, episode_accuracies
from dipole.evaluation.protocols.discovery import kmeans_clusters
from dipole.evaluation.regression import label_order, regression_errors, ridge_predictions
from dipole.losses.susana import icnn_score
from dipole.methods.base import Method
from dipole.runs import build_method, load, train

Sets = tuple[ImageSet, ImageSet]
HELD_OUT = 0.2


@dataclass(frozen=True)
class LabelledData(Data):
    """Images that a method learns from, and what is measured of the encoder.

    Args:
        name: of the data.
        image_size: height and width of the views in pixels.
    """

    name: str
    image_size: int

    def size(self, loaded: Any) -> int:
        """Number of training images."""
        return len(loaded[0])

    @abstractmethod
    def measured(self, embed: Any, sets: Sets, seed: int, *, parts: Any = None) -> Metrics:
        """Return the metrics of an encoder."""

    def tuning_sets(self, sets: Sets) -> Sets:
        """Return training images, and a fifth of them that is held out."""
        kept, held_out = stratified_split(sets[0].labels["label"], HELD_OUT)
        return sets[0].select(kept), sets[0].select(held_out)

    def once(self, claim: Claim, arm: Arm, rate: float, seed: int, loaded: Any, *, tune: bool) -> Metrics:
        """Train and measure; runs that tune see training images alone."""
        sets: Sets = self.tuning_sets(loaded) if tune else loaded
        config = run_config(arm, self.name, rate, seed, image_size=self.image_size)
        with tempfile.TemporaryDirectory() as folder:
            run = train(config, Path(folder) / "run", sets=sets, monitor=False, progress=False)
            method = load(run.path)
        return self.measured(method.embed, sets, seed, parts=getattr(method, "embed_parts", None))

    def references(self, claim: Claim, arm: Arm, loaded: Any) -> dict[str, dict[str, float]]:
        """Metrics of raw pixels and of an encoder that is not trained."""
        untrained: Method = build_method(arm.method, {**arm.options, "image_size": self.image_size}).eval()
        found = {"raw pixels": self.measured(lambda images: images.flatten(1), loaded, claim.seeds[0])}
        parts = getattr(untrained, "embed_parts", None)
        return found | {"untrained encoder": self.measured(untrained.embed, loaded, claim.seeds[0], parts=parts)}

    def embedded(self, embed: Any, sets: Sets) -> list[Tensor]:
        """Embeddings of training and test images."""
        with torch.no_grad():
            return [embed_image_set(embed, images, self.image_size) for images in sets]


@dataclass(frozen=True)
class RotatedEpisodes(LabelledData):
    """Digits in four rotations, each a class: 24 of the digits 0 to 5 for training, 16 of 6 to 9 for episodes."""

    episodes: int = 400
    tuning_metric = "one_shot"
    tuning = "learning rate by 5-way 1-shot episodes of a fifth of the training images, held out"

    def load(self, data_root: str | Path | None = None) -> Sets:
        """Return training images of some digits and test images of the others, from both parts of the data."""
        parts = load_image_sets("digits")
        images = torch.cat([part.fetch(torch.arange(len(part)))[:, :1] for part in parts])
        digits = torch.cat([part.labels["label"] for part in parts])
        turned = torch.cat([images.rot90(turns, dims=(2, 3)) for turns in range(4)])
        labels = torch.cat([digits * 4 + turns for turns in range(4)])
        names = [f"{digit} turned {turns * 90}" for digit in range(10) for turns in range(4)]
        whole = TensorImageSet(self.name, turned, {"label": labels}, {"label": names})
        return whole.select((labels < 24).nonzero().flatten()), whole.select((labels >= 24).nonzero().flatten())

    def measured(self, embed: Any, sets: Sets, seed: int, *, parts: Any = None) -> Metrics:
        """Accuracies in episodes, and ICNN's score of all test images of a draw."""
        rows, labels = self.embedded(embed, (sets[1], sets[1]))[0], sets[1].labels["label"]
        found: Metrics = {}
        for name, shots in (("one_shot", 1), ("five_shot", 5)):
            drawn = draw_episodes(labels, ways=5, shots=shots, queries=15, episodes=self.episodes, seed=seed)
            found[name] = float(episode_accuracies(rows, drawn, shots).mean())
        scores = []
        for episode in draw_episodes(labels, ways=5, shots=1, queries=15, episodes=50, seed=seed):
            own = torch.arange(5).repeat_interleave(16)
            scores.append(icnn_score(rows[episode].flatten(0, 1), own, items_per_class=16).score)
        return found | {"icnn": float(torch.stack(scores).mean())}


@dataclass(frozen=True)
class NovelDigits(LabelledData):
    """Digits, 0 to 4 known and 5 to 9 novel, with a long tail in both; half of the known images have labels."""

    imbalance: float = 10.0
    tuning_metric = "all"
    tuning = "learning rate by the clustering accuracy of the training images, with a seed of its own"

    def load(self, data_root: str | Path | None = None) -> Sets:
        """Return the images with their roles."""
        roles = ImageRoles(known="first 5", imbalance=self.imbalance)
        return with_roles(load_image_sets("digits"), roles, unlabelled=True)

    def tuning_sets(self, sets: Sets) -> Sets:
        """The training images, whose clusters are measured, too."""
        return sets[0], sets[0]

    def measured(self, embed: Any, sets: Sets, seed: int, *, parts: Any = None) -> Metrics:
        """Accuracies of matched clusters of the test images."""
        rows, labels = self.embedded(embed, (sets[1], sets[1]))[0], sets[1].labels["label"]
        found = clustering_accuracy(labels, kmeans_clusters(rows, 10, seed=seed), num_known=5)
        return {"all": found.all, "old": found.old, "new": found.new}


@dataclass(frozen=True)
class RotatedDigits(LabelledData):
    """Digits 2, 3, 4 and 7 turned by whole degrees from 0 to 60, which are the target."""

    most: float = 60.0
    tuning_metric = "minus_mae"
    tuning = "learning rate by the error of a fifth of the training images, held out"

    def load(self, data_root: str | Path | None = None) -> Sets:
        """Return images and targets, drawn once."""
        parts = load_image_sets("digits")
        images = torch.cat([part.fetch(torch.arange(len(part)))[:, :1] for part in parts])
        digits = torch.cat([part.labels["label"] for part in parts])
        kept = torch.isin(digits, torch.tensor([2, 3, 4, 7])).nonzero().flatten()
        generator = torch.Generator().manual_seed(0)
        angles = torch.randint(0, int(self.most) + 1, (len(kept),), generator=generator).double()
        turned = turn(images[kept], angles, self.image_size)
        base = TensorImageSet(self.name, turned, {"label": digits[kept]})
        whole = AnnotatedSet(base, base.labels, base.class_names, {"target": angles})
        train_part, test_part = stratified_split(digits[kept], 0.4)
        return whole.select(train_part), whole.select(test_part)

    def measured(self, embed: Any, sets: Sets, seed: int, *, parts: Any = None) -> Metrics:
        """Error of a ridge probe, and the order of embeddings."""
        first, second = self.embedded(embed, sets)
        own, others = (images.numbers["target"] for images in sets)  # type: ignore[attr-defined]
        found = regression_errors(ridge_predictions(first, own, second), others, own)
        return {"mae": found.mae, "minus_mae": -found.mae, "order": label_order(second, others, seed=seed)}


def turn(images: Tensor, angles: Tensor, size: int) -> Tensor:
    """Return grey images (N, 1, size, size), enlarged and turned by angles (N,) in degrees.

    Example:
        >>> turn(torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.tensor([0.0, 30.0]), 12).shape
        torch.Size([2, 1, 12, 12])
    """
    radians = angles.float() * torch.pi / 180
    cos, sin, zero = radians.cos(), radians.sin(), torch.zeros_like(radians)
    # The canvas is wider than the image, so that no corner is cut.
    maps = 1.35 * torch.stack([torch.stack([cos, -sin, zero], dim=1), torch.stack([sin, cos, zero], dim=1)], dim=1)
    grid = F.affine_grid(maps, [len(images), 1, size, size], align_corners=False)
    return F.grid_sample(images.float(), grid, align_corners=False).round().clamp(0, 255).byte()


@dataclass(frozen=True)
class CompositeDigits(LabelledData):
    """A digit in all images, on the left, and in the target population a second one, on the right, over it."""

    train_images: int = 3000
    test_images: int = 1000
    tuning_metric = "common_from_common"
    tuning = "one learning rate, that of the page of the method"

    def load(self, data_root: str | Path | None = None) -> Sets:
        """Return composites of training digits, and of test digits."""
        made = [
            self._made(part, count, seed)
            for part, count, seed in zip(
                load_image_sets("digits"), (self.train_images, self.test_images), (0, 1), strict=True
            )
        ]
        return made[0], made[1]

    def _made(self, digits: ImageSet, count: int, seed: int) -> ImageSet:
        """Composites, every second of the target population."""
        generator = torch.Generator().manual_seed(seed)
        pixels = digits.fetch(torch.arange(len(digits)))[:, :1].float()
        picks = torch.randint(0, len(digits), (2, count), generator=generator)
        population = torch.arange(count) % 2
        canvas = torch.zeros(count, 1, 12, 12)
        canvas[:, :, 2:10, :8] += 0.6 * pixels[picks[0]]
        canvas[:, :, 2:10, 4:] += 0.6 * pixels[picks[1]] * population[:, None, None, None]
        labels = {kind: digits.labels["label"][rows] for kind, rows in zip(("label", "salient"), picks, strict=True)}
        return TensorImageSet(
            self.name,
            canvas.clamp(0, 255).round().byte(),
            labels | {"population": population},
            {"population": ("background", "target")},
        )

    def measured(self, embed: Any, sets: Sets, seed: int, *, parts: Any = None) -> Metrics:
        """Accuracies of both digits from both parts, of images of the target population."""
        kinds = {"common": parts, "salient": parts} if parts else {"common": None}
        found: Metrics = {}
        targets = [images.labels["population"] == 1 for images in sets]
        for part in kinds:
            take = (lambda images, part=part: parts(images)[part]) if parts else embed
            first, second = self.embedded(take, sets)
            for kind, name in (("label", "common"), ("salient", "salient")):
                labels = [images.labels[kind] for images in sets]
                found[f"{name}_from_{part}"] = _linear(
                    first[targets[0]], labels[0][targets[0]], second[targets[1]], labels[1][targets[1]]
                )
        return found


def _linear(first: Tensor, labels: Tensor, second: Tensor, truth: Tensor) -> float:
    """Accuracy of a logistic regression on standardised features."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    scaler = StandardScaler().fit(first.double().numpy())
    probe = LogisticRegression(max_iter=1000).fit(scaler.transform(first.double().numpy()), labels.numpy())
    return float(probe.score(scaler.transform(second.double().numpy()), truth.numpy()))
