"""Methods of graphs through all verbs: built-in and own graphs, resumed runs, graphs that are hardly any."""

import json
import pickle
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from scipy.sparse import csr_matrix

import dipole.runs.domains.graph
import dipole.runs.saving
from dipole.cli import main
from dipole.data.graph import GraphSet, load_graph, make_graph
from dipole.diagnostics import GraphGeometryMonitor
from dipole.errors import InputError
from dipole.nn.graph import GraphEncoder
from dipole.runs import Run, RunConfig, load, train
from dipole.runs.embed import embed_to_parquet
from dipole.runs.evaluate import evaluate
from dipole.runs.look import analyse_temperatures, report

SMALL = {"hidden": 8, "projector_hidden": 8}
METHODS = ("grace", "gca", "csgcl")
WHOLE_RUN = ("model/model.safetensors", "model/dipole.json", "metrics.csv", "diagnostics.json")


def settings(name: str = "csgcl", **changes: Any) -> RunConfig:
    method = {**SMALL, **changes.pop("method", {})}
    return RunConfig(name, epochs=changes.pop("epochs", 3), precision="32-true", method=method, **changes)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = settings(epochs=12, loading={"held_out": 0.2}, method={"team_up_start": 4, "team_up_ramp": 4})
    return train(config, tmp_path_factory.mktemp("runs") / "run", progress=False)


def test_a_run_says_what_it_depends_on(run: Run) -> None:
    config = run.settings()
    assert config.data == "karate-club"
    assert config.method["num_features"] == 34
    assert config.views["communities"] == "leiden"
    own = {"nodes": None, "normalize": True, "held_out": 0.2, "neighbours": None, "encoding": "utf-8"}
    assert config.loading == {**own, "attributed": True}
    rows = run.metrics.read_text().splitlines()
    names = rows[0].split(",")
    assert {"loss", "gamma", "alignment", "tolerance"} <= set(names)
    gamma = names.index("gamma")
    assert [float(row.split(",")[gamma]) for row in (rows[4], rows[6], rows[12])] == pytest.approx([0, 0.5, 1])
    entries = json.loads(run.diagnostics.read_text())["epochs"]
    assert len(entries) == 12
    assert entries[-1]["positive"]["mean"] > entries[-1]["negative"]["mean"]


def test_a_long_run_is_measured_now_and_then(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dipole.runs.domains.graph, "GraphGeometryMonitor", partial(GraphGeometryMonitor, times=3))
    done = train(settings("grace", epochs=7), tmp_path / "run", progress=False)
    entries = [entry["epoch"] for entry in json.loads(done.diagnostics.read_text())["epochs"]]
    assert entries == [0, 3, 6]


def test_evaluate(run: Run) -> None:
    quick = evaluate(run.path, protocols=["linear"], options={"splits": 1, "steps": 100})
    assert quick.settings["splits"] == 1
    result = evaluate(run.path)
    assert result.protocols == ("linear", "NMI", "ARI", "link AUC", "link AP")
    assert [row["encoder"] for row in result.rows] == ["trained", "untrained", "SGC", "attributes"]
    assert all(-0.5 <= row[name] <= 1 for row in result.rows for name in result.protocols)
    assert result.rows[3]["link AUC"] == 0.5, "one column a node says nothing about links"
    assert json.loads(run.evaluation.read_text())["data"] == "karate-club"
    assert evaluate(run.path, protocols=["clustering"]).protocols == ("NMI", "ARI")


def test_embed(run: Run, tmp_path: Path) -> None:
    result = embed_to_parquet(run.path, "karate-club", tmp_path / "e.parquet")
    table = pq.read_table(result.path)
    assert table.column("id").to_pylist() == [str(node) for node in range(34)]
    assert set(table.column("label").to_pylist()) == {"0", "1", "2", "3"}
    graph = load_graph("karate-club").normalized().graph
    expected = load(run.model).embed({"x": graph.x, "edge_index": graph.edge_index})
    torch.testing.assert_close(torch.tensor(table.column("vector").to_pylist()), expected.detach())


def test_report(run: Run) -> None:
    page = report(run.path).read_text()
    assert '"name":"community"' in page
    assert '"name":"class"' in page
    assert "16 neighbours" in page
    assert page.index('"name":"class"') < page.index('"name":"community"'), "classes colour the map first"


def test_temperatures_are_analysed_of_images_only(run: Run) -> None:
    with pytest.raises(InputError, match="not compare views of images"):
        analyse_temperatures(run.path, [0.1])


@pytest.mark.usefixtures("unchecked")
def test_an_encoder_of_ones_own(tmp_path: Path) -> None:
    done = train(settings("grace"), tmp_path / "run", encoder=GraphEncoder(34, 4, layer="gin"), progress=False)
    loaded = load(done.path, encoder=GraphEncoder(34, 4, layer="gin"))
    assert loaded.embed({"x": torch.eye(34), "edge_index": torch.tensor([[0], [1]])}).shape == (34, 4)
    with pytest.raises(InputError, match="encoder is None"):
        load(done.path)


@pytest.mark.parametrize("name", METHODS)
def test_a_resumed_run_is_one_that_was_not_interrupted(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    method = {"anchors": 20, **({"team_up_start": 1, "team_up_ramp": 2} if name == "csgcl" else {})}
    config = settings(name, epochs=4, method=method)
    whole = train(config, tmp_path / "whole", progress=False)
    save = dipole.runs.saving.LastCheckpoint.on_train_epoch_end

    def stop(self: Any, trainer: Any, *arguments: Any) -> None:
        save(self, trainer, *arguments)
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(dipole.runs.saving.LastCheckpoint, "on_train_epoch_end", stop)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "stopped", progress=False)
    train(config, tmp_path / "stopped", resume=True, progress=False)
    for file in WHOLE_RUN:
        assert (tmp_path / "stopped" / file).read_bytes() == (whole.path / file).read_bytes(), file


EDGE = torch.tensor([[0], [1]])
HARDLY_GRAPHS: dict[str, GraphSet] = {
    "isolated nodes": make_graph("g", EDGE, num_nodes=5, x=torch.rand(5, 3)),
    "self-loops": make_graph("g", torch.tensor([[0, 1, 2], [0, 1, 2]]), num_nodes=4, x=torch.rand(4, 3)),
    "duplicate edges": make_graph("g", torch.cat([EDGE, EDGE.flip(0)], dim=1).repeat(1, 9), num_nodes=3),
    "one community": make_graph("g", torch.combinations(torch.arange(4)).T, num_nodes=4, x=torch.rand(4, 3)),
    "no attributes": make_graph("g", torch.tensor([[0, 1, 2], [1, 2, 3]]), num_nodes=4),
    "attributes of nobody": make_graph("g", EDGE, num_nodes=3, x=torch.zeros(3, 4)),
    "one node": make_graph("g", torch.tensor([[0], [0]]), num_nodes=1, x=torch.ones(1, 2)),
    "no edges": make_graph("g", EDGE[:, :0], num_nodes=4, x=torch.rand(4, 3)),
}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("kind", HARDLY_GRAPHS)
def test_graphs_that_are_hardly_any(kind: str, name: str, tmp_path: Path) -> None:
    graph = HARDLY_GRAPHS[kind]
    if kind == "no edges" and name == "csgcl":
        with pytest.raises(InputError, match="a graph without edges has no communities"):
            train(settings(name), tmp_path / "run", sets=graph, progress=False)
        assert not (tmp_path / "run").exists()
        return
    method = {"team_up_start": 0, "team_up_ramp": 1} if name == "csgcl" else {}
    done = train(settings(name, epochs=2, method=method), tmp_path / "run", sets=graph, progress=False)
    weights = load(done.path).state_dict()
    assert all(bool(weight.isfinite().all()) for weight in weights.values())
    assert "nan" not in done.metrics.read_text()


def test_a_graph_of_ones_own_without_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "mine.npz", edge_index=np.array([[0, 1, 2, 3, 4], [1, 2, 0, 4, 5]]))
    flags = ["--data", str(tmp_path / "mine.npz"), "--epochs", "2", "--out", str(tmp_path / "run")]
    assert main(["train", "csgcl", *flags]) == 0
    run = str(tmp_path / "run")
    assert main(["embed", run, str(tmp_path / "mine.npz"), "--out", str(tmp_path / "e.parquet")]) == 0
    assert pq.read_table(tmp_path / "e.parquet").column_names == ["id", "vector", "compactness"]
    assert main(["report", run]) == 0
    capsys.readouterr()
    assert main(["evaluate", run]) == 2
    told = capsys.readouterr().err
    assert "there is nothing to evaluate by (linear: there are no two classes" in told
    assert "--loading.held_out" in told


def test_other_graphs_than_that_of_the_run(run: Run, tmp_path: Path) -> None:
    np.savez(tmp_path / "g.npz", edge_index=np.array([[0], [1]]), x=np.ones((2, 3)))
    with pytest.raises(InputError, match="g has 3 attributes for a node, and the encoder was trained on 34"):
        evaluate(run.path, data=str(tmp_path / "g.npz"))
    with pytest.raises(InputError, match="g has 3 attributes"):
        embed_to_parquet(run.path, str(tmp_path / "g.npz"), tmp_path / "e.parquet")
    assert not (tmp_path / "e.parquet").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "karate"}, "Did you mean 'karate-club'"),
        ({"data": "cora"}, "give --data-root"),
        ({"loading": {"column": "x"}}, "loading has no argument 'column': choose from nodes, normalize, held_out"),
        ({"views": {"nonsense": 1}}, "views have no argument 'nonsense'"),
        ({"views": {"edge_threshold": 2.0}}, r"threshold is 2\.0"),
        ({"method": {"temperature": 0.0}}, "temperature"),
    ],
)
def test_mistakes_are_told_and_leave_nothing(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        train(settings(**changes), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_data_says_what_is_in_a_graph(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "karate-club"]) == 0
    shown = capsys.readouterr().out
    assert all(text in shown for text in ("34", "78", "0, 1, 2, 3"))
    assert main(["data"]) == 0
    assert "karate-club" in capsys.readouterr().out


def test_flags_hide_what_follows_from_the_graph(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["train", "csgcl", "--help"])
    shown = capsys.readouterr().out
    assert "num_features" not in shown
    assert all(f"--{flag}" in shown for flag in ("method.team_up_start", "views.communities", "loading.held_out"))


def write_citeseer(folder: Path, gap: int = 57, lonely: int = 5) -> None:
    """Sixty nodes on rings, three classes; `gap` is in no file, as 15 nodes of CiteSeer; `lonely` has no edge."""
    labels = np.arange(60) % 3
    attributes = csr_matrix(np.eye(3, 9, dtype=np.float32)[labels] + np.eye(9, dtype=np.float32)[np.arange(60) % 9])
    classes = np.eye(3, dtype=np.int32)[labels]
    test = [node for node in range(50, 60) if node != gap]
    alone = {gap, lonely}
    ring = {n: [m for m in ((n - 3) % 60, (n + 3) % 60) if not {n, m} & alone] for n in range(60)}
    parts = {
        "x": attributes[:30],
        "y": classes[:30],
        "allx": attributes[:50],
        "ally": classes[:50],
        "tx": attributes[test],
        "ty": classes[test],
        "graph": ring,
    }
    for part, value in parts.items():
        (folder / f"ind.citeseer.{part}").write_bytes(pickle.dumps(value, protocol=2))
    (folder / "ind.citeseer.test.index").write_text("".join(f"{node}\n" for node in reversed(test)))


def test_the_recipe_of_citeseer_embeds_nodes_that_have_nothing(tmp_path: Path) -> None:
    write_citeseer(tmp_path)
    out, table = str(tmp_path / "run"), tmp_path / "nodes.parquet"
    assert main(["train", "grace-citeseer", "--data_root", str(tmp_path), "--epochs", "2", "--out", out]) == 0
    config = Run(Path(out)).settings()
    assert (config.data, config.method["temperature"], config.views["drop_edge_rate_2"]) == ("citeseer", 0.9, 0.0)
    assert main(["evaluate", out, "--protocol", "linear", "--protocol.splits", "2", "--protocol.steps", "40"]) == 0
    row = json.loads(Run(Path(out)).evaluation.read_text())["rows"][0]
    assert 0 < row["linear"] <= 1
    assert 0 < row["public split"] <= 1
    assert main(["embed", out, "citeseer", "--data_root", str(tmp_path), "--out", str(table)]) == 0
    read = pq.read_table(table)
    vectors = torch.tensor(read["vector"].to_pylist())
    assert read.num_rows == 60
    assert bool(vectors.isfinite().all())
    assert read["label"].to_pylist()[57] is None, "no file says its class"
    assert read["label"].to_pylist()[5] is not None, "a node without edges has one"
