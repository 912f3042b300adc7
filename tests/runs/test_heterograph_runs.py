"""MEOW and AdaMEOW through all verbs; graphs of several kinds of nodes from every kind of file."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
import torch
from torch import Tensor

from dipole.cli import main
from dipole.data.graph import HeteroSet, load_hetero, make_hetero
from dipole.diagnostics import geometry
from dipole.errors import InputError
from dipole.evaluation import few_labels_split, node_scores
from dipole.losses import cluster_contrast_loss
from dipole.methods.graph.meow import MEOW, AdaMEOW
from dipole.nn.graph import torch_geometric
from dipole.runs import Run, RunConfig, load, train
from dipole.runs.domains.heterograph import embed_targets
from dipole.runs.evaluate import evaluate

SMALL: dict[str, Any] = {"clusters": [5, 9], "neighbours": 20, "hidden": 8, "width": 8}


def settings(name: str = "meow", **others: Any) -> RunConfig:
    method = {key: value for key, value in SMALL.items() if name == "meow" or key != "clusters"}
    return RunConfig(name, epochs=3, method=method | others, precision="32-true", trainer={"accelerator": "cpu"})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(settings(), tmp_path_factory.mktemp("meow") / "run", progress=False)


def test_every_verb_works_on_a_run(run: Run, tmp_path: Path) -> None:
    assert main(["evaluate", str(run.path), "--protocol", "few-labels", "--protocol.runs", "2"]) == 0
    found = json.loads(run.evaluation.read_text())
    assert {"macro-F1 20", "micro-F1 60", "AUC 40"} <= set(found["protocols"])
    assert [row["encoder"] for row in found["rows"]] == [
        "trained",
        "untrained",
        "attributes",
        "attributes along meta-paths",
    ]
    out = tmp_path / "papers.parquet"
    assert main(["embed", str(run.path), "toy-papers", "--out", str(out)]) == 0
    table = pq.read_table(out)
    assert {"id", "label", "vector"} <= set(table.column_names)
    assert table.num_rows == 300
    expected = embed_targets(load(run.path), normalized(load_hetero("toy-papers")))
    torch.testing.assert_close(torch.tensor(table["vector"].to_pylist()), expected)
    assert main(["report", str(run.path)]) == 0
    assert "by paper-author-paper" in (run.path / "report.html").read_text(encoding="utf-8")


def normalized(graph: HeteroSet) -> HeteroSet:
    scaled = {kind: x / x.sum(dim=1, keepdim=True).clamp_min(1e-12) for kind, x in graph.attributes.items()}
    return HeteroSet(**{**vars(graph), "attributes": scaled})


@pytest.mark.parametrize("name", ["meow", "adameow"])
def test_a_run_that_was_killed_goes_on_bit_for_bit(name: str, tmp_path: Path) -> None:
    whole = train(settings(name, anchors=100), tmp_path / "whole", progress=False)
    killed = RunConfig(**{**vars(settings(name, anchors=100))})

    def stop(self: Any) -> None:
        if self.current_epoch == 2:
            raise KeyboardInterrupt

    cls = MEOW if name == "meow" else AdaMEOW
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cls, "on_train_epoch_start", stop)
        with pytest.raises(KeyboardInterrupt):
            train(killed, tmp_path / "killed", progress=False)
    resumed = train(killed, tmp_path / "killed", resume=True, progress=False)
    first, second = load(whole.path).state_dict(), load(resumed.path).state_dict()
    assert all(torch.equal(value, second[key]) for key, value in first.items())


def test_a_weight_of_zero_has_no_gradient() -> None:
    method = MEOW(**SMALL, prototype_weight=0.0, dropout=0.0)
    views = method.views(load_hetero("toy-papers"))
    coarse, fine = (each.detach().requires_grad_() for each in method.project(views))
    assignment = torch.arange(300)[None] % 3
    loss = cluster_contrast_loss(coarse[:1], fine, assignment, own=torch.tensor([0]))
    (gradient,) = torch.autograd.grad(loss, fine)
    same = assignment[0] == 0
    same[0] = False  # the positive
    assert float(gradient[same].abs().max()) == 0
    assert bool((gradient[assignment[0] != 0].abs().sum(dim=1) > 0).all())


def test_anchors_have_the_loss_of_their_rows() -> None:
    method = AdaMEOW(neighbours=20, hidden=8, width=8, dropout=0.0)
    coarse, fine = method.project(method.views(load_hetero("toy-papers")))
    every = method.weigh.contrast(fine, coarse, temperature=0.5, reduction="none")
    rows = torch.tensor([7, 3, 200])
    some = method.weigh.contrast(fine[rows], coarse, temperature=0.5, own=rows, reduction="none")
    torch.testing.assert_close(some, every[rows])


def write_heco(folder: Path) -> None:
    folder.mkdir()
    sp.save_npz(folder / "p_feat.npz", sp.csr_matrix(np.eye(4, 3)))
    (folder / "pa.txt").write_text("0\t0\n1\t0\n2\t1\n3\t1\n3\t0\n")
    matrix = sp.csr_matrix(([1.0, 1.0, 1.0, 1.0, 1.0], ([0, 1, 2, 3, 3], [0, 0, 1, 1, 0])))
    sp.save_npz(folder / "pap.npz", (matrix @ matrix.T).tocoo())
    np.save(folder / "labels.npy", np.array([0, 0, 1, 1]))
    for part, nodes in (("train", [0, 2]), ("val", [1]), ("test", [3])):
        np.save(folder / f"{part}_20.npy", np.array(nodes))


def test_one_graph_from_three_kinds_of_files(tmp_path: Path) -> None:
    write_heco(tmp_path / "heco")
    heco = load_hetero(str(tmp_path / "heco"))
    tables = tmp_path / "tables"
    tables.mkdir()
    rows = ["id,label,one,two,three", "00,x,1,0,0", "01,x,0,1,0", "02,y,0,0,1", "03,y,0,0,0"]
    (tables / "paper.csv").write_text("\n".join(rows) + "\n")
    (tables / "paper-author.csv").write_text("paper,author\n00,ann\n01,ann\n02,bob\n03,bob\n03,ann\n")
    table = load_hetero(str(tables), metapaths="paper-author-paper")
    data = torch_geometric("data").HeteroData()
    data["paper"].x, data["paper"].y = torch.eye(4, 3), torch.tensor([0, 0, 1, 1])
    data["author"].num_nodes = 2
    edges = torch.tensor([[0, 1, 2, 3, 3], [0, 0, 1, 1, 0]])
    data["paper", "by", "author"].edge_index = edges
    data["author", "rev_by", "paper"].edge_index = edges.flip(0)
    torch.save(data.to_dict(), tmp_path / "graph.pt")
    saved, direct = load_hetero(str(tmp_path / "graph.pt")), load_hetero(data)
    for found in (heco, table, saved, direct):
        assert len(found) == 4
        assert len(found.metapaths) == 1
        assert found.along(found.metapaths[0]).toarray().tolist() == heco.along(heco.metapaths[0]).toarray().tolist()
        torch.testing.assert_close(found.attributes[found.target], torch.eye(4, 3))
        assert torch.equal(labels(found), torch.tensor([0, 0, 1, 1]))
    assert table.node_ids() == ["00", "01", "02", "03"]
    assert [part.tolist() for part in heco.splits[20]] == [[0, 2], [1], [3]]


def labels(graph: HeteroSet) -> Tensor:
    assert graph.labels is not None
    return graph.labels


def test_longer_paths_have_a_context_at_every_inner_place() -> None:
    draw = np.random.default_rng(0)
    pairs = {
        ("a", "p"): np.stack([np.arange(30) % 10, draw.integers(12, size=30)]),
        ("p", "c"): np.stack([np.arange(12), np.arange(12) % 3]),
    }
    sizes = {"a": 10, "p": 12, "c": 3}
    graph = make_hetero("dblp", pairs, sizes=sizes, metapaths=[list("apa"), list("apcpa")])
    method = MEOW(
        attribute_widths=[10, 12, 3], contexts=[[1], [1, 2, 1]], neighbours=5, clusters=[2, 3], hidden=8, width=8
    )
    views = method.views(graph)
    assert [[kind for kind, _ in places] for places in views.contexts] == [[1], [1, 2, 1]]
    last = views.contexts[1][2][1].to_dense()
    reached = torch.from_numpy(graph.along("apcp").toarray() > 0).float()
    torch.testing.assert_close(last, reached / reached.sum(dim=1, keepdim=True))
    assert method.embed({"views": views}).isfinite().all()
    assert method.loss_terms({"index": torch.arange(10), "views": views})["loss"].isfinite()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"metapaths": "paper"}, "expected kinds of nodes"),
        ({"metapaths": "author-paper-venue"}, "does not lead from"),
        ({"metapaths": "author-venue-author"}, "no relation between"),
        ({"target": "reader"}, "no nodes of kind"),
    ],
)
def test_wrong_paths_are_refused(change: dict[str, str], message: str, tmp_path: Path) -> None:
    for name, text in (
        ("paper", "id\n1\n2\n"),
        ("paper-author", "p,a\n1,x\n2,x\n"),
        ("paper-venue", "p,v\n1,v\n2,v\n"),
    ):
        (tmp_path / f"{name}.csv").write_text(text)
    with pytest.raises(InputError, match=message):
        load_hetero(str(tmp_path), **change)


def test_files_that_are_no_such_graph_are_refused(tmp_path: Path, run: Run) -> None:
    (tmp_path / "paper-author.csv").write_text("p,a\n1,x\n2,y\n")
    (tmp_path / "paper.csv").write_text("id\n1\n")
    with pytest.raises(InputError, match="names the node '2'"):
        load_hetero(str(tmp_path))
    torch.save({"model": torch.nn.Linear(1, 1)}, tmp_path / "graph.pt")
    with pytest.raises(InputError, match="without running code"):
        load_hetero(str(tmp_path / "graph.pt"))
    with pytest.raises(InputError, match="neither a known graph"):
        load_hetero("nothing")
    write_heco(tmp_path / "heco")
    with pytest.raises(InputError, match="the encoder was trained on"):
        evaluate(run.path, data=str(tmp_path / "heco"))


def test_scores_of_few_labels_are_those_of_a_perfect_and_of_a_blind_embedding() -> None:
    classes = torch.arange(300) % 3
    split = few_labels_split(classes, 20, seed=1)
    assert [len(part) for part in split] == [60, 120, 120]
    assert sorted(classes[split.train].bincount().tolist()) == [20, 20, 20]
    perfect = node_scores(torch.eye(3)[classes], classes, split)
    assert perfect == (1.0, 1.0, 1.0)
    blind = node_scores(torch.ones(300, 2), classes, split)
    assert blind.auc == pytest.approx(0.5)
    assert blind.micro_f1 < 0.5


def losses(run: Run) -> list[float]:
    rows = run.metrics.read_text().splitlines()
    place = rows[0].split(",").index("loss")
    return [float(row.split(",")[place]) for row in rows[1:]]


@pytest.mark.parametrize("patience", [1, 2])
def test_training_ends_when_the_loss_has_not_improved_for_some_epochs(patience: int, tmp_path: Path) -> None:
    config = RunConfig(**{**vars(settings(patience=patience, learning_rate=3.0)), "epochs": 60})
    run = train(config, tmp_path / "ended", monitor=7, progress=False)
    ended = losses(run)
    free = RunConfig(**{**vars(settings(patience=None, learning_rate=3.0)), "epochs": len(ended) + 2})
    whole = losses(train(free, tmp_path / "whole", progress=False))
    waited, expected = 0, 0
    for epoch in range(len(whole)):
        waited = 0 if whole[epoch] < min(whole[:epoch], default=float("inf")) else waited + 1
        if waited == patience:
            expected = epoch + 1
            break
    assert len(ended) == expected < 60
    assert ended == whole[:expected]
    entries = [entry["epoch"] for entry in json.loads(run.diagnostics.read_text())["epochs"]]
    assert entries[-1] == expected - 1, "also the last weights are looked at"
    assert len(set(entries)) == len(entries)


def test_meow_has_its_authors_patience_and_adameow_none() -> None:
    assert (MEOW(**SMALL).patience, AdaMEOW().patience) == (30, None)
    with pytest.raises(InputError, match="patience"):
        MEOW(**SMALL, patience=0)


def test_a_run_killed_while_it_waits_ends_where_it_would_have(tmp_path: Path) -> None:
    config = RunConfig(**{**vars(settings(patience=3, learning_rate=3.0)), "epochs": 60})
    whole = train(config, tmp_path / "whole", progress=False)
    last = len(losses(whole)) - 1

    def stop(self: Any) -> None:
        if self.current_epoch == last:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MEOW, "on_train_epoch_start", stop)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "killed", progress=False)
    resumed = train(config, tmp_path / "killed", resume=True, progress=False)
    assert losses(resumed) == losses(whole)


def test_both_views_are_watched_without_a_trace(run: Run, tmp_path: Path) -> None:
    entries = json.loads(run.diagnostics.read_text())["epochs"]
    assert [entry["epoch"] for entry in entries] == [0, 1, 2]
    assert entries[-1]["tolerance"] is not None
    alone = train(settings(), tmp_path / "alone", monitor=False, progress=False)
    first, second = load(run.path).state_dict(), load(alone.path).state_dict()
    assert all(torch.equal(value, second[key]) for key, value in first.items())
    method = load(run.path)
    graph = normalized(load_hetero("toy-papers"))
    coarse, fine = method.project(method.views(graph))
    nodes = torch.randperm(300, generator=torch.Generator().manual_seed(0))[:512]
    expected = geometry(coarse[nodes], fine[nodes], graph.labels[nodes])
    assert entries[-1]["alignment"] == pytest.approx(expected["alignment"], rel=1e-5)
    assert entries[-1]["effective_rank"] == pytest.approx(expected["effective_rank"], rel=1e-4)


@pytest.mark.parametrize("recipe", ["meow", "adameow"])
def test_a_recipe_trains_on_the_graph_that_is_built_in(recipe: str, tmp_path: Path) -> None:
    flags = ["--epochs", "2", "--out", str(tmp_path / "run")]
    flags += ["--method.patience", "null"] if recipe == "meow" else []
    assert main(["train", recipe, *flags]) == 0
    assert Run(tmp_path / "run").settings().method["patience"] is None
    assert len(losses(Run(tmp_path / "run"))) == 2
