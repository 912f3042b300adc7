"""Discovery of categories."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from dipole.errors import InputError
from dipole.evaluation.clusters import ClusteringAccuracy, clustering_accuracy
from dipole.evaluation.materials import ImageMaterial
from dipole.evaluation.protocol import Measured, Picture, Protocol
from dipole.ops.checks import check_at_least
from dipole.ops.clusters import exact_kmeans
from dipole.ops.cosine_clusters import check_clusters


class Discovery(Protocol):
    """Accuracy of k-means clusters of the test images, matched one to one with classes: all, known, novel ones.

    Features are scaled to length 1. One matching serves all classes. Groups go by the training images of a class.

    Args:
        known: how many of the first classes training knew; as the run was trained if none.
        clusters: of k-means; as many as there are classes if none.
        starts: of k-means, of which the best is kept.
    """

    name: ClassVar[str] = "discovery"
    domains = ("images",)
    measures = "embed"
    by_default = False

    def __init__(self, known: int | None = None, clusters: int | None = None, starts: int = 10) -> None:
        for name, value in (("known", known), ("clusters", clusters), ("starts", starts)):
            if value is not None:
                check_at_least(value, 1, name)
        self.known, self.clusters, self.starts = known, clusters, starts

    @classmethod
    def suits(cls, material: ImageMaterial) -> bool:
        """Whether training knew only some classes."""
        return getattr(material.train, "known", None) is not None

    def lacks(self, material: ImageMaterial) -> str | None:
        """Labels of the test images."""
        labels = material.test.labels.get("label")
        if labels is None or material.test.num_classes < 2 or int(labels.min()) < 0:
            return "the test images have no labels to compare clusters with"
        return None

    def measure(self, material: ImageMaterial) -> Measured:
        """Return the columns `all`, `old` and `new`, and a matrix of clusters and classes."""
        labels, names = material.test.labels["label"], material.test.class_names["label"]
        known = self.known or getattr(material.train, "known", None) or len(names)
        if known > len(names):
            raise InputError(f"{known} known classes were asked for, and there are {len(names)}.")
        number = self.clusters or len(names)
        check_clusters(len(labels), number)
        own = material.train.labels["label"]
        counts = torch.bincount(own[own >= 0], minlength=len(names))
        rows: dict[str, dict[str, float]] = {}
        found: dict[str, ClusteringAccuracy] = {}
        clusters: dict[str, Tensor] = {}
        for name, (_, test) in material.features.items():
            clusters[name] = kmeans_clusters(test, number, seed=material.seed, starts=self.starts)
            found[name] = clustering_accuracy(labels, clusters[name], num_known=known, train_counts=counts)
            rows[name] = {"all": found[name].all, "old": found[name].old}
            if known < len(names):
                rows[name]["new"] = found[name].new
        first = next(iter(found))
        settings = {
            "discovery": {"clusters": number, "known": known, "starts": self.starts},
            "groups": {name: {k: v for k, v in each.groups.items() if v == v} for name, each in found.items()},
        }
        pictures = (
            confusion_picture(labels, clusters[first], found[first].class_to_cluster, names, first),
            size_picture(labels, clusters[first], found[first].class_to_cluster, counts, names, first),
        )
        return Measured(rows, settings, pictures=pictures)


def kmeans_clusters(features: Tensor, clusters: int, *, seed: int = 0, starts: int = 10) -> Tensor:
    """Return the cluster (N,) of each row, scaled to length 1, by scikit-learn's k-means.

    Args:
        features: (N, D).
        clusters: K.
        seed: of the starts.
        starts: of which the best is kept.

    Raises:
        InputError: more clusters than rows.

    Example:
        >>> kmeans_clusters(torch.eye(2).repeat(3, 1), 2).unique().tolist()
        [0, 1]
    """
    check_clusters(len(features), clusters)
    return exact_kmeans(F.normalize(features.double(), dim=1), clusters, seed=seed, starts=starts)[0]


def confusion_picture(
    labels: Tensor, clusters: Tensor, class_to_cluster: Tensor, names: tuple[str, ...], of: str
) -> Picture:
    """Return the counts of classes against the classes that their clusters are matched with."""
    order = class_to_cluster[: len(names)]
    counts = torch.zeros(len(names), int(max(class_to_cluster.max(), clusters.max())) + 1, dtype=torch.int64)
    counts.index_put_((labels, clusters), torch.ones_like(labels), accumulate=True)
    figure = {
        "data": [
            {
                "type": "heatmap",
                "z": counts[:, order].tolist(),
                "x": list(names),
                "y": list(names),
                "showscale": True,
            }
        ],
        "x": "class that the cluster is matched with",
        "y": "class",
        "xaxis": {"type": "category"},
        "yaxis": {"type": "category", "autorange": "reversed"},
    }
    return Picture("Clusters and classes", f"Test images of {of}, after matching; the diagonal is right.", figure)


def size_picture(
    labels: Tensor, clusters: Tensor, class_to_cluster: Tensor, counts: Tensor, names: tuple[str, ...], of: str
) -> Picture:
    """Return the accuracy of each class against its training images."""
    right = class_to_cluster[labels] == clusters
    shares = [
        float(right[labels == c].float().mean()) if bool((labels == c).any()) else None for c in range(len(names))
    ]
    trace = {"x": counts.tolist(), "y": shares, "text": list(names), "mode": "markers+text", "name": of}
    figure = {"data": [{**trace, "textposition": "top center"}], "x": "training images of the class", "y": "accuracy"}
    return Picture("Accuracy against class size", f"Each point is a class; features of {of}.", figure)
