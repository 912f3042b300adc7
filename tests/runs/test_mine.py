"""Hard negatives for files of pairs."""

import json
from pathlib import Path
from typing import Any

import pytest

from dipole.cli import main
from dipole.data.text import toy_triplets
from dipole.errors import InputError
from dipole.runs import RunConfig, train
from dipole.runs.mine import mine
from text_models import bert_folder


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    return write(tmp_path / "pairs.jsonl", [{"text": t["text"], "positive": t["positive"]} for t in toy_triplets(40)])


def test_pairs_get_negatives_that_are_not_their_positives(pairs: Path, tmp_path: Path) -> None:
    done = mine(bert_folder(), pairs, tmp_path / "mined.jsonl", k=3, percentage=0.99999)
    rows = read(done.path)
    assert (done.pairs, len(rows)) == (40, 40)
    assert sum(len(row["negative"]) for row in rows) == done.negatives > 0
    for row in rows:
        assert len(row["negative"]) <= 3
        assert row["positive"] not in row["negative"]
        assert row["text"] not in row["negative"]


def test_a_query_in_two_records_has_both_positives(tmp_path: Path) -> None:
    records = [{"text": "who", "positive": "a cat"}, {"text": "who", "positive": "a dog"}]
    path = write(tmp_path / "pairs.jsonl", [*records, {"text": "what", "positive": "a tree"}])
    done = mine(bert_folder(), path, tmp_path / "mined.jsonl", k=2, percentage=None)
    assert [row["negative"] for row in read(done.path)][:2] == [["a tree"], ["a tree"]] or done.short


def test_passages_of_dense_retrieval_keep_their_form(tmp_path: Path) -> None:
    records = [{"question": f"q{i}", "positive_ctxs": [{"title": "t", "text": f"p {i}"}]} for i in range(4)]
    path = write(tmp_path / "dpr.jsonl", records)
    rows = read(mine(bert_folder(), path, tmp_path / "mined.jsonl", k=2, percentage=None).path)
    for row in rows:
        assert row["positive_ctxs"]
        assert all(set(passage) == {"title", "text"} for passage in row["hard_negative_ctxs"])


@pytest.mark.parametrize("name", ["contriever-finetune", "multicsr"])
def test_what_was_mined_trains(name: str, pairs: Path, tmp_path: Path) -> None:
    done = mine(bert_folder(), pairs, tmp_path / "mined.jsonl", k=2, percentage=None)
    method = {"encoder": str(bert_folder()), "max_length": 16}
    config = RunConfig(name, data=str(done.path), batch_size=8, epochs=1, method=method, views={"negatives": 2})
    assert train(config, tmp_path / "run", monitor=False, progress=False).finished


@pytest.mark.parametrize(
    ("records", "options", "message"),
    [
        ([{"text": "a", "other": "b"}], [], "expected text and positive, or question and positive_ctxs"),
        ([{"text": "a", "positive": "b"}], ["--percentage", "1.5"], "percentage is 1.5"),
        ([{"text": "a", "positive": "b"}], ["--k", "0"], "k is 0"),
        ([{"text": "a", "positive": "b"}], ["--out", "x.csv"], "ends in .jsonl"),
        ([{"text": "a", "positive": []}], [], "no query or no positive"),
    ],
)
def test_wrong_input_is_one_line(
    records: list[dict[str, Any]], options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "pairs.jsonl", records)
    out = [] if "--out" in options else ["--out", str(tmp_path / "out.jsonl")]
    assert main(["mine", str(bert_folder()), str(path), *out, *options]) == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert message in error
    assert not (tmp_path / "out.jsonl").exists()


def test_a_folder_without_a_model_is_told_of(pairs: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no run or model"):
        mine(tmp_path / "nothing", pairs, tmp_path / "out.jsonl")
