"""Few-shot episodes of classes, and Omniglot's official runs."""

from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from dipole.data.omniglot import load_one_shot_runs
from dipole.data.tensor_image_set import TensorImageSet
from dipole.errors import InputError
from dipole.evaluation.embedding import embed_image_set
from dipole.evaluation.episodes import Classifier, classify_episode, draw_episodes, episode_accuracies, histogram
from dipole.evaluation.intervals import mean_interval
from dipole.evaluation.materials import ImageMaterial
from dipole.evaluation.protocol import Measured, Picture, Protocol
from dipole.ops.checks import check_at_least, check_choice

WAYS = 5


class FewShot(Protocol):
    """Accuracy in episodes of few-shot classification, made of the test images; means with 95 % intervals.

    All encoders see the same episodes. By default prototypes are means of the shots, and the nearest one by squared
    Euclidean distance names a query. It runs unasked where the classes of the test images are new.

    Args:
        ways: classes in an episode; 5, or all if there are fewer, unless it is given.
        shots: support images of each.
        queries: query images of each.
        episodes: drawn.
        classifier: `prototype` or `logistic`.
        align: transport prototypes onto the queries (OpTA); it looks at all queries of an episode together.
        runs: Omniglot's all_runs.zip, whose official runs are scored too; a path, also below --data-root.
    """

    name: ClassVar[str] = "few-shot"
    domains = ("images",)
    measures = "embed"
    by_default = False

    def __init__(
        self,
        ways: int | None = None,
        shots: int = 1,
        queries: int = 15,
        episodes: int = 600,
        classifier: Classifier = "prototype",
        align: bool = False,
        runs: str | None = None,
    ) -> None:
        for name, value, least in (("ways", ways or 2, 2), ("shots", shots, 1), ("queries", queries, 1)):
            check_at_least(value, least, name)
        check_at_least(episodes, 2, "episodes")
        check_choice(classifier, ("prototype", "logistic"), "classifier")
        self.ways, self.shots, self.queries, self.episodes = ways, shots, queries, episodes
        self.classifier, self.align, self.runs = classifier, align, runs

    @classmethod
    def suits(cls, material: ImageMaterial) -> bool:
        """Whether the classes of the test images are new ones."""
        labels = [each.labels.get("label") for each in (material.train, material.test)]
        if labels[0] is None or labels[1] is None or material.train.num_classes < 2:
            return False
        return not bool(torch.isin(labels[1], labels[0]).any())

    def lacks(self, material: ImageMaterial) -> str | None:
        """Labels of the test images."""
        labels = material.test.labels.get("label")
        return "the test images have no labels" if labels is None or len(labels.unique()) < 2 else None

    def measure(self, material: ImageMaterial) -> Measured:
        """Return a column for the episodes, and one for the official runs."""
        labels = material.test.labels["label"]
        ways = min(WAYS, len(labels[labels >= 0].unique())) if self.ways is None else self.ways
        drawn = draw_episodes(
            labels,
            ways=ways,
            shots=self.shots,
            queries=self.queries,
            episodes=self.episodes,
            seed=material.seed,
        )
        options: dict[str, Any] = {"classifier": self.classifier, "align": self.align}
        column = f"{ways}-way {self.shots}-shot"
        found = {
            name: episode_accuracies(test, drawn, self.shots, **options)
            for name, (_, test) in material.features.items()
        }
        rows, intervals = _with_intervals(found, column)
        settings = {
            "few-shot": {**vars(self), "ways": ways, "classes": "new" if self.suits(material) else "those of training"},
            "seed": material.seed,
        }
        pictures = [_distribution(found, column)]
        if self.runs is not None:
            of_runs = self._official(material, options)
            more, bounds = _with_intervals(of_runs, "official runs")
            for name in rows:
                rows[name] |= more[name]
                intervals[name] |= bounds[name]
            settings["official runs"] = len(next(iter(of_runs.values())))
        return Measured(rows, settings, intervals, tuple(pictures))

    def _official(self, material: ImageMaterial, options: dict[str, Any]) -> dict[str, Tensor]:
        """Accuracy of each official run, by candidate."""
        places = [Path(str(self.runs)).expanduser()]
        if material.data_root is not None:
            places += [
                Path(material.data_root) / str(self.runs),
                Path(material.data_root) / "omniglot" / str(self.runs),
            ]
        runs = load_one_shot_runs(next((place for place in places if place.is_file()), places[0]))
        found: dict[str, list[float]] = {name: [] for name in material.features}
        for run in runs:
            images = TensorImageSet(run.name, torch.cat([run.support, run.queries]))
            for name, one in material.able("embed").items():
                rows = embed_image_set(one.embed, images, material.image_size, device=material.device)
                support, queries = rows.split([len(run.support), len(run.queries)])
                named = classify_episode(support[:, None], queries, **options)
                found[name].append(float((named == run.answers).float().mean()))
        return {name: torch.tensor(values) for name, values in found.items()}


def _with_intervals(
    found: dict[str, Tensor], column: str
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, tuple[float, float]]]]:
    """Means and intervals of the accuracies of each candidate."""
    if any(len(values) < 2 for values in found.values()):
        raise InputError("an interval needs two episodes or runs.")
    of = {name: mean_interval(values) for name, values in found.items()}
    rows = {name: {column: mean} for name, (mean, _) in of.items()}
    return rows, {name: {column: (mean - half, mean + half)} for name, (mean, half) in of.items()}


def _distribution(found: dict[str, Tensor], column: str) -> Picture:
    """How accuracies of episodes are distributed."""
    traces = []
    for name, values in found.items():
        middles, shares = histogram(values.tolist())
        traces.append({"x": middles, "y": shares, "name": name, "mode": "lines", "line": {"shape": "hvh"}})
    return Picture(
        f"Accuracies of episodes, {column}",
        "Each episode has classes and images of its own, the same ones for all encoders.",
        {"data": traces, "x": "accuracy in an episode", "y": "share of the episodes"},
    )
