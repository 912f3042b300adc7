"""Recommenders through all verbs, on generated interactions."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

import dipole.runs.saving
from dipole.cli import main
from dipole.data.recommendation import interactions_of, toy_interactions
from dipole.errors import InputError
from dipole.methods.recommendation.mclrec import MCLRec
from dipole.runs import Run, RunConfig, load, train
from dipole.runs.embed import embed_to_parquet
from dipole.runs.evaluate import evaluate
from dipole.runs.look import report
from dipole.runs.recommend import recommend

SMALL = {"width": 16, "max_length": 12, "inner_width": 32, "layers": 1, "dropout": 0.1}


def settings(name: str = "mclrec", **changes: Any) -> RunConfig:
    options = {**SMALL, "learning_rate": 0.003, **changes.pop("method", {})}
    return RunConfig(name, **{"batch_size": 256, "epochs": 2, "precision": "32-true", "method": options, **changes})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(settings(epochs=6), tmp_path_factory.mktemp("runs") / "run", progress=False)


def weights(run: Run) -> dict[str, torch.Tensor]:
    return load(run.path).state_dict()


def test_a_run_says_what_it_was_made_with(run: Run) -> None:
    config = run.settings()
    assert config.data == "toy-interactions"
    assert config.method["items"] == 60
    assert config.views == {"crop": 0.5, "mask": 0.5, "reorder": 0.8}
    assert config.loading["min_interactions"] == 5
    assert len(json.loads((run.model / "dipole.json").read_text())["catalogue"]) == 60
    header = run.metrics.read_text().splitlines()[0].split(",")
    assert {"loss", "recommendation", "views", "regularizer", "hr@10", "ndcg@10", "mrr@10"} <= set(header)


def test_evaluate(run: Run) -> None:
    result = evaluate(run.path)
    names = ["trained", "untrained", "ALS", "Markov chain", "item-kNN", "popularity"]
    assert [row["encoder"] for row in result.rows] == names
    trained, untrained, *_, popularity = result.rows
    assert trained["HR@10"] > 2 * max(untrained["HR@10"], popularity["HR@10"])
    assert trained["HR@10, unseen"] >= trained["HR@10"]
    assert trained["NDCG@5"] <= trained["HR@5"] <= trained["HR@20"]
    assert evaluate(run.path, protocols=["unseen"]).protocols[0] == "HR@5, unseen"


def test_embed_users_also_with_items_that_training_has_not_seen(run: Run, tmp_path: Path) -> None:
    done = embed_to_parquet(run.path, "toy-interactions", tmp_path / "all.parquet")
    assert (done.rows, done.dimensions, done.skipped) == (300, 16, ())
    (tmp_path / "new.txt").write_text("ann item-1 item-2 new-1\nbob new-1\n")
    done = embed_to_parquet(run.path, str(tmp_path / "new.txt"), tmp_path / "new.parquet")
    assert pq.read_table(done.path)["id"].to_pylist() == ["ann"]
    assert done.skipped == (
        ("bob", "nothing that training has seen"),
        ("new", "2 interactions with items that training has not seen"),
    )
    (tmp_path / "new.txt").write_text("bob new-1\n")
    with pytest.raises(InputError, match="no user has used an item that training has seen"):
        embed_to_parquet(run.path, str(tmp_path / "new.txt"), tmp_path / "none.parquet")
    assert not (tmp_path / "none.parquet").exists()


def test_recommend(run: Run, tmp_path: Path) -> None:
    found = recommend(run.path, ["user-0", "user-7"], k=5)
    assert list(found) == ["user-0", "user-7"]
    table = toy_interactions()
    used = {table.items[item - 1] for item in table.history(0)}
    assert not used & {hit.item for hit in found["user-0"]}
    assert [hit.rank for hit in found["user-0"]] == [1, 2, 3, 4, 5]
    scores = [hit.score for hit in found["user-0"]]
    assert scores == sorted(scores, reverse=True)
    # A user of the data and the same history given by hand have the same recommendations.
    history = [table.items[item - 1] for item in table.history(0).tolist()]
    again = recommend(run.model, items=history, k=5)["you"]
    assert [hit.item for hit in again] == [hit.item for hit in found["user-0"]]
    assert len(recommend(run.path, ["user-0"], k=99, include_seen=True)["user-0"]) == 60
    assert len(recommend(run.path, ["user-0"], k=99)["user-0"]) == 60 - len(used)
    # The next item on the shelf, by the rule that the data follow.
    assert recommend(run.path, items=["item-3", "item-4", "item-5"], k=3)["you"][0].item == "item-6"
    (tmp_path / "new.txt").write_text("ann item-1 item-2\nbob new-1\n")
    assert list(recommend(run.model, ["ann"], data=str(tmp_path / "new.txt"))) == ["ann"]
    with pytest.raises(InputError, match="nothing that bob has used"):
        recommend(run.model, ["bob"], data=str(tmp_path / "new.txt"))


def test_report_shows_recommendations(run: Run) -> None:
    page = report(run.path).read_text()
    assert "What some users took last" in page
    assert "item-1" in page
    assert 'id="scores"' not in page  # no pairs are compared


@pytest.mark.parametrize("method", [{}, {"update": "joint"}, {"augmenter": "attention", "scope": "batch"}])
def test_a_resumed_run_is_the_uninterrupted_one(
    method: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = settings(epochs=3, batch_size=128, method=method)
    few = toy_interactions(users=40)
    whole = train(config, tmp_path / "whole", sets=few, progress=False)
    saved = dipole.runs.saving.LastCheckpoint.on_train_epoch_end

    def stop(self: Any, trainer: Any, *rest: Any) -> None:
        saved(self, trainer, *rest)
        if trainer.current_epoch == 1:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(dipole.runs.saving.LastCheckpoint, "on_train_epoch_end", stop)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "part", sets=few, progress=False)
    resumed = train(config, tmp_path / "part", sets=few, resume=True, progress=False)
    assert resumed.metrics.read_bytes() == whole.metrics.read_bytes()
    for name, value in weights(whole).items():
        assert torch.equal(weights(resumed)[name], value), name


@pytest.mark.parametrize("name", ["sasrec", "cl4srec"])
def test_the_baselines_learn_the_shelves(name: str, tmp_path: Path) -> None:
    done = train(settings(name, epochs=6), tmp_path / "run", progress=False)
    trained, untrained, *_ = evaluate(done.path).rows
    assert trained["HR@10"] > 2 * untrained["HR@10"]


def test_the_encoder_and_the_augmenters_have_steps_of_their_own() -> None:
    torch.manual_seed(0)
    method = MCLRec(items=60, **SMALL)
    rows = {"history": torch.tensor([[1, 2, 3], [4, 5, 6]]), "length": torch.tensor([3, 3])}
    views = {
        **rows,
        "target": torch.tensor([4, 7]),
        "views": torch.stack([rows["history"]] * 2),
        "view_lengths": torch.stack([rows["length"]] * 2),
    }
    changed = []

    class Watched(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:  # type: ignore[override]
            before = {name: value.clone() for name, value in method.named_parameters()}
            super().step()
            changed.append({n.split(".")[0] for n, v in method.named_parameters() if not torch.equal(v, before[n])})

    optimizers = [Watched(part.parameters(), lr=0.1) for part in (method.encoder, method.augmenters)]
    steps = method.alternate(views, *optimizers, torch.autograd.backward)
    assert changed == [{"encoder"}, {"augmenters"}, {"encoder"}]
    assert len(steps) == 3


def test_weights_of_the_parts() -> None:
    torch.manual_seed(0)
    views = {"history": torch.tensor([[1, 2, 3], [4, 5, 6]]), "length": torch.tensor([3, 3])}
    views |= {"target": torch.tensor([4, 7]), "views": torch.stack([views["history"]] * 2)}
    views["view_lengths"] = torch.stack([views["length"]] * 2)
    method = MCLRec(items=60, **SMALL, sequence_weight=0.3, view_weight=0.2, regularizer_weight=0.5).eval()
    terms = method.encoder_loss(views)
    compared = terms["views"] + 0.5 * terms["regularizer"]
    expected = terms["recommendation"] + 0.3 * terms["sequences"] + 0.2 * compared
    torch.testing.assert_close(terms["loss"], expected)
    _, h1, h2 = method.encode_views(views)
    torch.testing.assert_close(method.augmenter_loss(h1, h2), 0.3 * terms["sequences"] + compared)
    method.regularize_encoder = False
    expected = terms["recommendation"] + 0.3 * terms["sequences"] + 0.2 * terms["views"]
    torch.testing.assert_close(method.encoder_loss(views)["loss"], expected)


def test_data_that_cannot_be_judged(tmp_path: Path) -> None:
    pairs = interactions_of([f"u{n}" for n in range(8) for _ in range(2)], ["a", "b"] * 8)
    config = settings("sasrec", batch_size=4, epochs=1, loading={"min_interactions": 1})
    done = train(config, tmp_path / "run", sets=pairs, progress=False)
    (tmp_path / "pairs.txt").write_text("".join(f"u{n} a b\n" for n in range(8)))
    with pytest.raises(InputError, match="no user has three interactions"):
        evaluate(done.path, data=str(tmp_path / "pairs.txt"))


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("train mclrec --out out --trainer.gradient-clip-val 0.5", "leave out --trainer.gradient_clip_val"),
        ("train mclrec --out out --trainer.accumulate-grad-batches 2", "leave out --trainer.accumulate_grad_batches"),
        ("train mclrec --out out --trainer.devices 2 --trainer.accelerator cpu", "train it in one process"),
        ("train mclrec --out out --method.update both", "update"),
        ("train mclrec --out out --method.scope all", "scope"),
        ("train mclrec --out out --views.crop 2", "crop is 2"),
        ("train sasrec --out out --views.crop 0.5", "crop"),
        ("train sasrec --out out --method.items 9", "items"),
        ("train sasrec --out out --method.heads 5", "the heads must divide the width"),
        ("train sasrec --out out --data nothing", "neither a known set of interactions"),
        ("train sasrec --out out --loading.last 0", "last is 0"),
        ("recommend {run}", "recommend for whom?"),
        ("recommend {run} user-0 --history item-1", "recommend for whom?"),
        ("recommend {run} usr-0", "Did you mean 'user-0'?"),
        ("recommend {run} --history item-1,item-x", "Did you mean"),
        ("recommend {run} user-0 --k 0", "k is 0"),
        ("recommend {run}/model user-0", "give --data, or --history"),
        ("recommend nowhere user-0", "there is no run or model"),
        ("recommend {run} user-0 --out .", "is a folder"),
        ("evaluate {run} --protocol knn", "choose from ranking, unseen"),
        ("search {run} toy-sentences word", "embeds no texts"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_mistakes_on_the_command_line(
    command: str, message: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(command.format(run=run.path).split()) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("dipole: ")
    assert message in line
    assert not list(tmp_path.iterdir())


def test_recommend_on_the_command_line(run: Run, tmp_path: Path, capsys: Any) -> None:
    assert main(["recommend", str(run.path), "user-3", "--k", "2"]) == 0
    assert "user-3" in capsys.readouterr().out
    out = tmp_path / "found.jsonl"
    assert main(["recommend", str(run.path), "user-3", "user-4", "--k", "2", "--out", str(out)]) == 0
    rows = [json.loads(line) for line in out.read_text().splitlines()]
    assert [(row["user"], row["rank"]) for row in rows] == [("user-3", 1), ("user-3", 2), ("user-4", 1), ("user-4", 2)]


def test_data_says_what_is_in_interactions(tmp_path: Path, capsys: Any) -> None:
    assert main(["data", "toy-interactions"]) == 0
    shown = capsys.readouterr().out
    assert "4413" in shown
    (tmp_path / "bought.csv").write_text("user,item\nann,tea\nann,milk\nbob,tea\n,tea\n")
    assert main(["data", str(tmp_path / "bought.csv"), "--kind", "interactions"]) == 0
    shown = capsys.readouterr().out
    assert "1 rows without a user, an item or a time" in shown
    assert "users with 2 or more" in shown
    assert main(["data", str(tmp_path / "bought.csv")]) == 0
    assert "users with 2 or more" in capsys.readouterr().out
    assert main(["data", "--kind", "interactions"]) == 0
    assert "Images" not in capsys.readouterr().out
    assert main(["data", "--kind", "films"]) == 2
    assert "kind is 'films'" in capsys.readouterr().err
