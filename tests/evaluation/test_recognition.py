"""Episodes, discovery, regression, long tails and two parts: numbers by hand, and protocols on small materials."""

import math
from typing import Any

import pytest
import torch

from dipole.data import load_image_sets
from dipole.data.annotated_set import AnnotatedSet
from dipole.data.image_roles import ImageRoles, with_roles
from dipole.errors import InputError
from dipole.evaluation.clusters import clustering_accuracy, frequency_groups
from dipole.evaluation.episodes import classify_episode, draw_episodes, episode_accuracies
from dipole.evaluation.long_tail import ldam_predictions, shot_groups
from dipole.evaluation.materials import ImageMaterial
from dipole.evaluation.protocol import measure_all
from dipole.evaluation.protocols import get_protocol
from dipole.evaluation.regression import label_density, label_order, regression_errors, ridge_predictions
from dipole.runs.discover import cluster_confidence, named_clusters


class Pixels:
    """Pixels as embeddings, and their halves as two parts."""

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        return images[:, 0].flatten(1)

    def embed_parts(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
        rows = self.embed(images)
        return {"common": rows[:, :32], "salient": rows[:, 32:]}


def material(roles: ImageRoles, role: Any = "classes") -> ImageMaterial:
    train, test = with_roles(load_image_sets("digits"), roles, role, unlabelled=True)
    return ImageMaterial("digits", {"trained": Pixels()}, train=train, test=test, image_size=8)


def measured(name: str, of: ImageMaterial, **options: Any) -> Any:
    cls = get_protocol("images", name)
    assert cls.suits(of)
    return measure_all({name: cls(**options)}, of)


def test_episodes_hold_different_samples() -> None:
    labels = torch.arange(60) % 6
    drawn = draw_episodes(labels, ways=4, shots=2, queries=3, episodes=30, seed=3)
    assert all(len(episode.unique()) == 20 for episode in drawn)
    assert bool((labels[drawn] == labels[drawn][:, :, :1]).all())
    assert torch.equal(drawn, draw_episodes(labels, ways=4, shots=2, queries=3, episodes=30, seed=3))
    with pytest.raises(InputError, match="7 classes with 5 samples each was asked for, and 6 of 6"):
        draw_episodes(labels, ways=7, shots=2, queries=3)
    with pytest.raises(InputError, match="and 0 of 6 classes"):
        draw_episodes(labels, ways=2, shots=12, queries=3)


def test_the_nearest_prototype_names_a_query() -> None:
    support = torch.tensor([[[0.0, 0.0, 1.0]], [[4.0, 1.0, 0.0]]])
    queries = torch.tensor([[0.5, 0.0, 1.2], [3.9, 1.0, 0.1], [0.4, 0.1, 0.9]])
    for options in ({}, {"classifier": "logistic"}, {"align": True}):
        assert classify_episode(support, queries, **options).tolist() == [0, 1, 0]  # type: ignore[arg-type]
    with pytest.raises(InputError, match="some must be left"):
        episode_accuracies(torch.zeros(4, 2), torch.zeros(1, 2, 2).long(), 2)


def test_few_shot_protocol() -> None:
    found = measured("few-shot", material(ImageRoles(held_out="last 4")), episodes=20)
    assert 0.4 < found.rows["trained"]["4-way 1-shot"] < 1
    low, high = found.intervals["trained"]["4-way 1-shot"]
    assert low < found.rows["trained"]["4-way 1-shot"] < high
    assert found.settings["few-shot"]["classes"] == "new"
    shares = found.pictures[0].figure["data"][0]["y"]
    assert sum(shares) == pytest.approx(1)


@pytest.mark.usefixtures("unchecked")
def test_matched_clusters_by_hand() -> None:
    truth = torch.tensor([0, 0, 0, 1, 1, 2, 2, 2])
    found = clustering_accuracy(truth, torch.tensor([2, 2, 0, 0, 0, 1, 1, 0]), num_known=2)
    assert found.class_to_cluster.tolist() == [2, 0, 1]
    assert (found.all, found.old, found.new) == (6 / 8, 4 / 5, 2 / 3)
    assert math.isnan(clustering_accuracy(truth, truth).new)
    assert frequency_groups(torch.tensor([10, 8, 6, 4, 2, 1])) == {"many": [0, 1], "median": [2, 3, 4], "few": [5]}
    with pytest.raises(InputError, match="expected both of every sample"):
        clustering_accuracy(truth, truth[:3])


def test_discovery_protocol() -> None:
    of = material(ImageRoles(known="first 5", imbalance=10.0))
    found = measured("discovery", of, starts=2)
    row = found.rows["trained"]
    assert row["all"] == pytest.approx((row["old"] * 227 + row["new"] * 223) / 450, abs=0.01)
    matrix = torch.tensor(found.pictures[0].figure["data"][0]["z"])
    assert float(matrix.diagonal().sum() / matrix.sum()) == pytest.approx(row["all"])
    with pytest.raises(InputError, match="9000 clusters were asked for of 450 samples"):
        measured("discovery", of, clusters=9000)


def test_clusters_get_names() -> None:
    clusters = torch.tensor([0, 0, 1, 1, 1, 2])
    labels = torch.tensor([1, -1, 0, -1, -1, -1])
    assert named_clusters(clusters, labels, ("cat", "dog"), 3) == ("dog", "cat", "new 1")
    with pytest.raises(InputError, match="class 'dog' is known and has no labelled sample"):
        named_clusters(clusters, labels.clamp_max(0), ("cat", "dog"), 3)
    with pytest.raises(InputError, match="ask for more"):
        named_clusters(clusters, labels, ("cat", "dog", "owl", "fox"), 3)
    confidence = cluster_confidence(torch.eye(3)[clusters], clusters, 3)
    assert float(confidence.min()) > 0.99


def test_errors_by_hand() -> None:
    own = torch.cat([torch.zeros(150), torch.ones(50), torch.full((3,), 2.0)])
    found = regression_errors(torch.tensor([1.0, 1.0, 4.0]), torch.tensor([0.0, 1.0, 2.0]), own)
    assert found.mae == pytest.approx(1)
    assert found.rmse == pytest.approx((5 / 3) ** 0.5)
    assert found.by_shots == {"many": 1.0, "medium": 0.0, "few": 2.0}
    assert label_density(torch.tensor([0.5, 9.0]), own).tolist() == [150, 0]
    with pytest.raises(InputError, match="all 4 targets are 2"):
        ridge_predictions(torch.randn(4, 2), torch.full((4,), 2.0), torch.randn(1, 2))
    with pytest.raises(InputError, match="NaN"):
        ridge_predictions(torch.randn(2, 2), torch.tensor([1.0, math.nan]), torch.randn(1, 2))
    with pytest.raises(InputError, match="no order"):
        label_order(torch.ones(5, 2), torch.arange(5.0))


def test_regression_protocol() -> None:
    found = measured("regression", material(ImageRoles(), "numbers"))
    assert found.rows["trained"]["MAE"] < found.rows["median target"]["MAE"]
    assert "order" not in found.rows["median target"]
    lack = get_protocol("images", "regression")().lacks(material(ImageRoles()))
    assert lack is not None
    assert "no targets" in lack


def test_long_tail_protocol() -> None:
    found = measured("long-tail", material(ImageRoles(imbalance=20.0)), epochs=20)
    row = found.rows["trained"]
    assert {"LDAM", "balanced", "many", "medium", "few"} == set(row)
    assert row["many"] > row["few"]
    assert not get_protocol("images", "long-tail").suits(material(ImageRoles()))
    assert {name: g.tolist() for name, g in shot_groups(torch.tensor([101, 100, 20, 19])).items()} == {
        "many": [0],
        "medium": [1, 2],
        "few": [3],
    }
    with pytest.raises(InputError, match="expected two"):
        ldam_predictions(torch.randn(3, 2), torch.zeros(3).long(), torch.randn(1, 2))


def test_separation_protocol() -> None:
    found = measured("separation", material(ImageRoles(background="label=3")))
    row = found.rows["trained"]
    assert set(row) == {f"{kind} from {part}" for kind in ("label", "population") for part in ("common", "salient")}
    assert row["population from common"] > 0.5
    assert {trace["name"] for trace in found.pictures[0].figure["data"]} == {
        f"{part}, {population}" for part in ("common", "salient") for population in ("background", "target")
    }


def test_classes_that_are_not_known_are_not_measured_by_neighbours() -> None:
    base = load_image_sets("digits")[0].select(torch.arange(20))
    labels = base.labels["label"].clone()
    labels[0] = -1
    half = AnnotatedSet(base, {"label": labels}, base.class_names)
    assert ImageMaterial("digits", {}, train=half, test=half, image_size=8).labelled is None
