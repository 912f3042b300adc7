"""The commands on texts: from raw texts to answers, and the mistakes on the way."""

import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from dipole.cli import main


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An encoder from nothing, and a run of it."""
    folder = tmp_path_factory.mktemp("texts")
    lines = [f"{animal} {verb} near the {place}" for animal in ("cats", "dogs", "birds", "cows") for verb in
             ("sleep", "play", "eat", "hide") for place in ("river", "house", "hill", "road", "barn")]  # fmt: skip
    (folder / "texts.txt").write_text("\n".join(lines), encoding="utf-8")
    sizes = ["--width", "16", "--layers", "1", "--heads", "2", "--vocabulary", "200", "--steps", "3"]
    assert main(["pretrain", str(folder / "bert"), "--data", str(folder / "texts.txt"), *sizes]) == 0
    encoder = ["--method.encoder", str(folder / "bert"), "--batch-size", "32"]
    trained = ["train", "simcse", "--data", str(folder / "texts.txt"), *encoder, "--out", str(folder / "run")]
    assert main(trained) == 0
    return folder


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0
    return capsys.readouterr().out


def test_a_recipe_that_names_no_data_suits_all(folder: Path) -> None:
    assert "epochs: 1\n" in (folder / "run" / "config.yaml").read_text()


def test_data_are_counted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shown = printed(capsys, "data", str(folder / "texts.txt"))
    assert "80" in shown
    assert "cats sleep near the river" in shown
    assert "toy-sentences" in printed(capsys, "data")


def test_evaluate_writes_one_number_below_the_other(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys, "evaluate", str(folder / "run")).splitlines()
    assert "toy-sts, toy-retrieval" in lines[0]
    assert any("trained" in line and "untrained" in line and "BM25" in line for line in lines)
    assert any(line.startswith("│ ndcg@10") for line in lines)


def test_embed_search_and_report(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run, texts = str(folder / "run"), str(folder / "texts.txt")
    printed(capsys, "embed", run, texts, "--out", str(tmp_path / "e.parquet"))
    assert pq.read_table(tmp_path / "e.parquet").column_names == ["id", "vector", "text"]
    shown = printed(capsys, "search", run, texts, "cows hide near the barn", "--k", "2")
    assert "cows hide near the barn" in shown.splitlines()[0]
    out = tmp_path / "hits.jsonl"
    printed(capsys, "search", run, texts, "one", "two", "--k", "3", "--out", str(out))
    hits = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [(hit["query"], hit["rank"]) for hit in hits] == [(q, rank) for q in ("one", "two") for rank in (1, 2, 3)]
    assert "report.html" in printed(capsys, "report", run)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("train simcse --out new --data missing.txt", "no such file"),
        (
            "train simcse --out new --data toy-sentences --method.encoder no/such/folder/of/mine",
            "cannot open the encoder",
        ),
        ("train simcse --out new --image-size 8", "image"),
        ("train mirror-bert --out new --data table.csv --method.encoder {bert}", "no column 'text'"),
        ("train mirror-bert --out new --data table.csv --loading.column bodi --method.encoder {bert}", "'body'"),
        ("train mirror-bert --out new --data empty.txt --method.encoder {bert}", "empty.txt"),
        ("evaluate {run} --protocol knn", "no protocol 'knn'"),
        ("evaluate {run} --data nowhere --protocol retrieval", "no task of retrieval"),
        ("search {run} missing.txt question", "no such file"),
        ("search {run} table.csv question --k 0", "k of 1 or more"),
        ("search nowhere table.csv question", "no run or model"),
        ("embed {run} empty.txt --out e.parquet", "empty.txt"),
        ("pretrain {bert} --data toy-sentences", "exists already"),
        ("export nowhere", "no run or model"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_mistakes_end_with_one_line(
    command: str,
    message: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.txt").write_bytes(b"")
    Path("table.csv").write_text("body,grade\nsome text,1\nmore text,2\n", encoding="utf-8")
    assert main([part.format(run=folder / "run", bert=folder / "bert") for part in command.split()]) == 2
    captured = capsys.readouterr()
    (line,) = captured.err.splitlines()
    assert line.startswith("dipole: ")
    assert message in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty.txt", "table.csv"]
