"""Accuracy by the number of labels, in every field whose data have classes."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from dipole.cli import main
from dipole.data.graph import make_graph
from dipole.errors import InputError
from dipole.evaluation.few_labels import divided_at_random, draw_of_each
from dipole.evaluation.linear_probe import linear_probe
from dipole.evaluation.materials import GraphMaterial, ModalityMaterial, TextMaterial
from dipole.evaluation.modal import Items
from dipole.evaluation.protocols import get_protocol, protocols

FIELDS = ("images", "graph", "heterograph", "timeseries", "multimodal", "text")
LABELS = torch.arange(3).repeat(40)
NOISE = torch.randn(120, 4, generator=torch.Generator().manual_seed(0))
GOOD = torch.nn.functional.one_hot(LABELS, 4).float() + 0.3 * NOISE


def nodes(rows: Tensor) -> Any:
    return SimpleNamespace(nodes=lambda: rows)


def graph_material(labels: Tensor = LABELS) -> GraphMaterial:
    edges = torch.stack([torch.arange(119), torch.arange(1, 120)])
    graph = make_graph("line", edges, num_nodes=120, y=labels)
    candidates = {"trained": nodes(GOOD), "untrained": nodes(NOISE)}
    return GraphMaterial("line", candidates, seed=2, graph=graph, edges=edges, held_out=edges[:, :0])


@pytest.mark.parametrize("field", FIELDS)
def test_every_field_with_classes_has_it(field: str) -> None:
    assert "few-labels" in protocols(field)


def test_more_labels_are_worth_more_and_good_features_need_fewer() -> None:
    found = get_protocol("graph", "few-labels")(shots="1,5,10,50").measure(graph_material())
    assert list(found.rows["trained"]) == ["1 label", "5 labels", "10 labels"]
    assert found.settings["shots left out"] == "50: a class has 20 samples to draw from"
    trained, untrained = found.rows["trained"], found.rows["untrained"]
    assert trained["1 label"] < trained["10 labels"]
    assert trained["1 label"] > untrained["10 labels"] + 0.2
    low, high = found.intervals["trained"]["1 label"]
    assert low < trained["1 label"] < high
    [picture] = found.pictures
    assert [trace["name"] for trace in picture.figure["data"]] == ["trained", "untrained"]
    assert picture.figure["data"][0]["x"] == [1, 5, 10]
    assert picture.figure["data"][0]["error_y"]["array"][0] == pytest.approx(high - trained["1 label"])


def test_a_value_is_the_mean_of_probes_on_the_same_draws() -> None:
    material = graph_material()
    found = get_protocol("graph", "few-labels")(shots="5", draws=3).measure(material)
    part = divided_at_random(material.features, LABELS, seed=2)
    train, test = part.features["trained"]
    each = []
    for number in range(3):
        own = draw_of_each(part.train, 5, seed=2 + number)
        assert part.train[own].bincount().tolist() == [5, 5, 5]
        each.append(linear_probe(train[own], part.train[own], test, part.test, seed=2).accuracy)
    assert found.rows["trained"]["5 labels"] == pytest.approx(sum(each) / 3)


def test_halves_share_no_sample_and_leave_out_what_has_no_class() -> None:
    labels = torch.where(torch.arange(120) % 7 == 0, -1, LABELS)
    index = torch.arange(120.0)[:, None]
    part = divided_at_random({"index": index}, labels, seed=0)
    own, others = (set(rows[:, 0].tolist()) for rows in part.features["index"])
    assert not own & others
    assert own | others == set(torch.nonzero(labels >= 0).flatten().tolist())
    assert get_protocol("graph", "few-labels")(shots="1").measure(graph_material(labels)).rows["trained"]
    with pytest.raises(InputError, match="one sample"):
        divided_at_random({"index": index[:3]}, torch.tensor([0, 0, 1]), seed=0)


def test_modalities_are_measured_each_for_itself() -> None:
    def items(rows: Tensor, missing: int = 0) -> Items:
        places = [[] if row < missing else [row] for row in range(120)]
        return Items(rows, places, [""] * 120, [lambda: None] * 120)

    one = SimpleNamespace(items={"image": items(GOOD, missing=30), "sound": items(NOISE)}, text=None)
    labels = [None if row == 5 else "abc"[int(LABELS[row])] for row in range(120)]
    material = ModalityMaterial("rows", {"trained": one}, rows=120, labels=labels)
    found = get_protocol("multimodal", "few-labels")(shots="1,10").measure(material)
    assert list(found.rows["trained"]) == ["image 1 label", "image 10 labels", "sound 1 label", "sound 10 labels"]
    assert found.rows["trained"]["image 10 labels"] > found.rows["trained"]["sound 10 labels"] + 0.2
    assert len(found.pictures) == 2


def test_texts_of_a_table(tmp_path: Path) -> None:
    rows = [f"{number},{'abc'[int(LABELS[number])]}" for number in range(120)]
    (tmp_path / "texts.csv").write_text("\n".join(["text,label", *rows, "7,"]) + "\n")
    encoder = SimpleNamespace(encode=lambda texts: GOOD[[int(text) for text in texts]])
    material = TextMaterial("run", {"trained": encoder}, data=str(tmp_path / "texts.csv"))
    protocol = get_protocol("text", "few-labels")(shots="5")
    assert protocol.measure(material).rows["trained"]["5 labels"] > 0.8
    with pytest.raises(InputError, match="columns text and label"):
        protocol.measure(TextMaterial("run", {"trained": encoder}))
    (tmp_path / "one.csv").write_text("text,label\n1,a\n2,a\n")
    with pytest.raises(InputError, match="texts of 1 classes"):
        protocol.measure(TextMaterial("run", {"trained": encoder}, data=str(tmp_path / "one.csv")))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"shots": "0"}, "shots"), ({"shots": "one"}, "whole numbers"), ({"draws": 1}, "draws")],
)
def test_mistakes(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        get_protocol("graph", "few-labels")(**options)


def test_too_few_samples_are_refused() -> None:
    with pytest.raises(InputError, match="30 labelled samples of each class were asked for, and a class has 20"):
        get_protocol("graph", "few-labels")(shots="30").measure(graph_material())


def test_the_command_line(tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    assert main(["train", "grace", "--epochs", "1", "--method.hidden", "8", "--out", out]) == 0
    assert main(["evaluate", out, "--protocol", "clustering"]) == 0
    assert main(["evaluate", out, "--protocol", "few-labels", "--shots", "1,2", "--draws", "3"]) == 0
    found = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert found["protocols"] == ["1 label", "2 labels"]
    assert main(["report", out]) == 0
    page = (tmp_path / "run" / "report.html").read_text()
    assert "Accuracy with few labels" in page
    assert page.index(">NMI</th>") < page.index(">1 label</th>")
