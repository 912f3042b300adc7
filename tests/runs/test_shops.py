"""Recommendations for a whole shop: all users, allowed and excluded items, files by suffix."""

import csv
import json
import logging
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

from dipole.cli import main
from dipole.data.recommendation import interactions_of, load_interactions, split_sequences, toy_interactions
from dipole.data.recommendation.splits import last_of_parts
from dipole.errors import InputError
from dipole.methods.recommendation.sasrec import SASRec
from dipole.runs import Run, RunConfig, load, train
from dipole.runs.recommend import recommend
from dipole.runs.recommend_files import read_excluded, read_names, split_items

SMALL = {"width": 8, "max_length": 8, "inner_width": 16, "layers": 1, "positions": "all"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    config = RunConfig("sasrec", epochs=1, batch_size=64, precision="32-true", method=SMALL)
    return train(config, tmp_path_factory.mktemp("shop") / "run", progress=False)


def test_all_users(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    found = recommend(run.path, "all", k=3)
    assert len(found) == 300
    alone = recommend(run.path, ["user-7"], k=3)["user-7"]
    assert [hit.item for hit in found["user-7"]] == [hit.item for hit in alone]
    monkeypatch.setattr("dipole.runs.recommend.BLOCK", 77)
    again = recommend(run.path, "all", k=3)
    assert {user: [hit.item for hit in hits] for user, hits in again.items()} == {
        user: [hit.item for hit in hits] for user, hits in found.items()
    }


def test_only_allowed_items_and_none_that_is_excluded(run: Run) -> None:
    everything = [hit.item for hit in recommend(run.path, ["user-1"], k=99, include_seen=True)["user-1"]]
    allowed = everything[5:25]
    found = recommend(run.path, ["user-1"], k=99, include_seen=True, allowed=[*allowed, "unknown"])["user-1"]
    assert [hit.item for hit in found] == allowed, "the order stays"
    excluded = {None: allowed[:2], "user-1": allowed[4:6], "user-2": allowed[10:]}
    found = recommend(run.path, ["user-1"], k=99, include_seen=True, allowed=allowed, excluded=excluded)["user-1"]
    assert [hit.item for hit in found] == [*allowed[2:4], *allowed[6:]]
    used = set(allowed) - {hit.item for hit in recommend(run.path, ["user-1"], k=99, allowed=allowed)["user-1"]}
    table = toy_interactions()
    assert used == {table.items[item - 1] for item in table.history(1)} & set(allowed)
    with pytest.raises(InputError, match="knows none of the 1 items"):
        recommend(run.path, ["user-1"], allowed=["unknown"])


def test_files_by_suffix(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "allowed.csv").write_text("sku,price\n" + "".join(f"item-{item},3\n" for item in range(30)))
    (tmp_path / "bought.csv").write_text("customer,user_id,item_id\nx,user-0,item-1\nx,user-0,item-2\n")
    (tmp_path / "users.txt").write_text("user-0\nuser-5\n\n")
    files = ["--items", str(tmp_path / "allowed.csv"), "--exclude", str(tmp_path / "bought.csv")]
    for suffix in (".parquet", ".csv", ".jsonl"):
        out = str(tmp_path / f"top{suffix}")
        flags = ["--users", str(tmp_path / "users.txt"), *files, "--k", "20", "--include_seen", "--out", out]
        assert main(["recommend", str(run.path), *flags]) == 0
    rows = pq.read_table(tmp_path / "top.parquet").to_pylist()
    with (tmp_path / "top.csv").open() as file:
        assert [(row["user"], row["item"]) for row in csv.DictReader(file)] == [(r["user"], r["item"]) for r in rows]
    lines = (tmp_path / "top.jsonl").read_text().splitlines()
    assert [json.loads(line)["item"] for line in lines] == [row["item"] for row in rows]
    assert {row["user"] for row in rows} == {"user-0", "user-5"}
    assert {int(row["item"][5:]) for row in rows} <= set(range(30))
    assert not {"item-1", "item-2"} & {row["item"] for row in rows if row["user"] == "user-0"}
    capsys.readouterr()
    assert main(["recommend", str(run.path), "--users", "all", "--out", str(tmp_path / "top.xls")]) == 2
    assert "ends in .jsonl, .csv, .parquet" in capsys.readouterr().err
    assert main(["recommend", str(run.path), "user-0", "--users", "all"]) == 2


def test_names(tmp_path: Path) -> None:
    (tmp_path / "items.txt").write_text("a b\nc\n\nc\n")
    assert read_names(tmp_path / "items.txt", "item") == ["a b", "c"]
    assert read_excluded(tmp_path / "items.txt") == {None: ["a b", "c"]}
    (tmp_path / "empty.txt").write_text("\n")
    with pytest.raises(InputError, match="holds no name"):
        read_names(tmp_path / "empty.txt", "user")
    assert split_items('"a, b",c') == ["a, b", "c"]


def test_films_and_times(tmp_path: Path) -> None:
    (tmp_path / "ratings.csv").write_text(
        "userId,movieId,rating,timestamp\n1,7,3,2024-05-01T12:00+02:00\n1,8,3,2024-05-01T10:30Z\n1,9,4,20240501T093000\n"
    )
    (tmp_path / "movies.csv").write_text('movieId,title,genres\n7,"Heat, The",x\n8,Up,y\n9,Jaws,z\n')
    table = load_interactions(str(tmp_path / "ratings.csv"), min_interactions=1)
    assert [table.title(item) for item in table.history(0).tolist()] == ["Jaws", "Heat, The", "Up"]
    (tmp_path / "capitals.csv").write_text("UserID,MovieID,Timestamp\n1,7,2\n1,8,1\n")
    table = load_interactions(str(tmp_path / "capitals.csv"), min_interactions=1)
    assert [table.items[item - 1] for item in table.history(0)] == ["8", "7"]


def test_what_training_leaves_out_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    rows = "".join(f"u{user},i{item},{item}\n" for user in range(6) for item in range(6)) + "rare,once,1\n,i1,2\n"
    (tmp_path / "shop.csv").write_text("user,item,time\n" + rows)
    config = RunConfig("sasrec", str(tmp_path / "shop.csv"), epochs=1, precision="32-true", method=SMALL)
    train(config, tmp_path / "run", progress=False)
    assert "left out: 1 interactions of users or items with fewer than 5" in caplog.text
    assert "left out: 1 rows without a user, an item or a time" in caplog.text


def test_every_target_is_predicted_once() -> None:
    train_set = split_sequences(toy_interactions(users=50), max_length=4)[0]
    rows = last_of_parts(train_set.rows.user, 4)
    covered = np.concatenate(
        [
            np.arange(end - (end - start) + 1, end + 1)
            for start, end in zip(train_set.rows.start[rows], train_set.rows.end[rows], strict=True)
        ]
    )
    assert sorted(covered.tolist()) == sorted(train_set.rows.target.tolist())


def test_states_at_all_positions_predict_what_prefixes_predict() -> None:
    table = interactions_of(["a"] * 6, list("uvwxyz"))
    torch.manual_seed(0)
    arguments = {"items": 6, "max_length": 6, "width": 8, "inner_width": 8, "dropout": 0.0, "attention_dropout": 0.0}
    last, every = (SASRec(positions=positions, **arguments) for positions in ("last", "all"))
    every.load_state_dict(last.state_dict())
    history = torch.tensor([[1, 2, 3, 4, 0, 0], [3, 4, 0, 0, 0, 0]])
    batch = {"views": {"history": history, "length": torch.tensor([4, 2]), "target": torch.tensor([5, 5])}}
    found = every.loss_terms(batch)["loss"]
    prefixes = [([1], 2), ([1, 2], 3), ([1, 2, 3], 4), ([1, 2, 3, 4], 5), ([3], 4), ([3, 4], 5)]
    losses = [
        last.loss_terms(
            {
                "views": {
                    "history": torch.tensor([items]),
                    "length": torch.tensor([len(items)]),
                    "target": torch.tensor([target]),
                }
            }
        )["loss"]
        for items, target in prefixes
    ]
    torch.testing.assert_close(found, torch.stack(losses).mean())
    assert len(table) == 6


def test_a_run_with_all_positions_learns(run: Run) -> None:
    method = load(run.path)
    assert isinstance(method, SASRec)
    assert method.positions == "all"
