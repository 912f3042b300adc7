"""`dipole generate`, run as the command line runs it."""

import json
from pathlib import Path

import pytest

from decoding.folder import write_model
from dipole.cli.generate import run
from dipole.errors import InputError


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_model(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def rows_of(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_prompt_is_printed_with_its_text(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    run([model, "--prompt", "w3 w4", "--max-new-tokens", "5", "--device", "cpu"])
    printed = capsys.readouterr().out
    assert printed.startswith("w3 w4w")


def test_prompts_of_a_file_are_written_with_details(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "prompts.txt").write_text("w3 w4\n\nw5\n")
    out = tmp_path / "texts.jsonl"
    run([model, "--prompts", str(tmp_path / "prompts.txt"), "--out", str(out), "--max-new-tokens=6", "--batch-size=1"])
    rows = rows_of(out)
    assert [row["prompt"] for row in rows] == ["w3 w4", "w5"]
    for row in rows:
        assert set(row) == {"prompt", "text", "tokens", "confidence", "degeneration_penalty"}
        assert len(row["tokens"]) == len(row["confidence"]) == len(row["degeneration_penalty"])
    shown = capsys.readouterr().out
    assert all(text in shown for text in ("contrastive-search", "mean degeneration penalty", "diversity of tokens"))


def test_contexts_of_a_file(model: str, tmp_path: Path) -> None:
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "w3", "context": "w8 w9", "answer": "kept out"}\n{"prompt": "w5"}\n')
    out = tmp_path / "texts.jsonl"
    flags = ["--decoder", "adacad", "--warmup", "0.3", "--context", "w11", "--out", str(out), "--max-new-tokens", "6"]
    run([model, "--prompts", str(prompts), *flags])
    rows = rows_of(out)
    assert [row["context"] for row in rows] == ["w8 w9", "w11"]
    assert all(weight >= 0.3 - 1e-6 for row in rows for weight in row["context_weight"])


def test_options_reach_the_decoder(model: str, tmp_path: Path) -> None:
    def tokens(*flags: str) -> object:
        out = tmp_path / "texts.jsonl"
        run([model, "--prompt", "w3 w4 w5", "--max-new-tokens", "8", "--out", str(out), *flags])
        return rows_of(out)[0]["tokens"]

    greedy = tokens("--decoder", "greedy")
    assert tokens("--top-k", "1") == greedy
    assert tokens("--degeneration-penalty", "0.9") != greedy
    sample = tokens("--decoder=nucleus", "--top-p", "1.0", "--seed", "3")
    assert sample == tokens("--decoder=nucleus", "--top-p", "1.0", "--seed", "3")
    assert sample != tokens("--decoder=nucleus", "--top-p", "1.0", "--seed", "4")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "pass either --prompt TEXT or --prompts FILE"),
        (["--prompt", "w3", "--prompts", "x.txt"], "pass either"),
        (["--prompts", "missing.txt"], "cannot read --prompts missing.txt"),
        (["--prompts", "empty.txt"], "holds no prompt"),
        (["--prompts", "broken.jsonl"], "broken.jsonl, line 2 is not JSON"),
        (["--prompts", "other.jsonl"], "other.jsonl, line 1: expected an object"),
        (["--prompts", "some.jsonl"], "line 2 has no context and other lines have one"),
        (["--prompt", "w3", "--decoder", "adacad"], "pass contexts"),
        (["--prompt", "w3", "--decoder", "contrastive"], "Did you mean 'contrastive-search'"),
        (["--prompt", "w3", "--decoder", "greedy", "--top_k", "3"], "top_k"),
        (["--prompt", "w3", "--top_k", "0"], "top_k is 0"),
        (
            ["--prompt", "w3", "--top_k", "400", "--max_new_tokens", "9"],
            "top_k is 400: the model's vocabulary has 40 tokens",
        ),
        (["--prompt", "w3", "--max_new_tokens", "100"], "exceed the model's window of 64"),
        (["--prompt", "w3", "--out", "."], "--out . is a folder"),
        (["--prompt", "w3", "--report", "."], "--report . is a folder"),
        (["--prompt", "w3", "--beside", "greedy"], "needs --report FILE"),
        (["--prompt", "w3", "--report", "x.html", "--beside", "greddy"], "Did you mean 'greedy'"),
        (["--prompt", "w3", "--report", "x.html", "--beside", "contrastive-search"], "names a decoder twice"),
        (["--prompt", "w3", "--report", "x.html", "--beside", "adacad"], "pass contexts"),
    ],
)
def test_mistakes(
    model: str, arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.txt").write_text("\n \n")
    Path("broken.jsonl").write_text('{"prompt": "w3"}\n{"prompt": \n')
    Path("other.jsonl").write_text('{"text": "w3"}\n')
    Path("some.jsonl").write_text('{"prompt": "w3", "context": "w5"}\n{"prompt": "w4"}\n')
    with pytest.raises(InputError, match=message):
        run([model, *arguments])
    assert not Path("x.html").exists()
