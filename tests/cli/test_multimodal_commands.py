"""The commands for several modalities, in one process."""

from pathlib import Path

import pytest

from dipole.cli import main


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0
    return capsys.readouterr().out


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    rows = [f'word {row % 5},"[{row % 5}, 0.5]",{"even" if row % 2 else "odd"}' for row in range(40)]
    rows[3] = ',"[1, 2]",odd'
    Path("pairs.csv").write_text("\n".join(["caption,sensor,label", *rows]))


def test_data(capsys: pytest.CaptureFixture[str]) -> None:
    listed = printed(capsys, "data")
    assert all(name in listed for name in ("shape-captions", "xor", "emoji-captions", "digit-trios"))
    counted = printed(capsys, "data", "xor")
    assert "2000" in counted
    assert "vector" in counted
    table = printed(capsys, "data", "pairs.csv", "--kind", "modalities")
    assert "text, missing in 1 rows" in table
    assert "even, odd" in table


def test_train_evaluate_embed_report(capsys: pytest.CaptureFixture[str]) -> None:
    small = ["--method.text-encoder", "bag-8", "--method.embedding-dim", "4", "--batch-size", "16", "--epochs", "1"]
    printed(capsys, "train", "clip", "--data", "pairs.csv", "--out", "run", *small)
    assert "caption → sensor R@1" in printed(capsys, "evaluate", "run", "--protocol", "retrieval")
    assert "79" in printed(capsys, "embed", "run", "pairs.csv", "--out", "e.parquet")
    printed(capsys, "report", "run")
    printed(capsys, "train", "--config", "run/config.yaml", "--out", "again")
    assert Path("again/model/model.safetensors").read_bytes() == Path("run/model/model.safetensors").read_bytes()
    assert "From one modality to another" in Path("run/report.html").read_text()


def test_rewrites_made_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    Path("given.jsonl").write_text('{"caption": "word 1", "rewrite": "some word, number one"}\n')
    shown = printed(capsys, "rewrite", "pairs.csv", "--rewrites", "given.jsonl", "--out", "out.jsonl")
    assert "different captions" in shown
    assert "some word, number one" in Path("out.jsonl").read_text()
