"""What `dipole generate` is asked for day by day: chats, stop strings, samples, streams, types, files that resume."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoTokenizer

import dipole.decoding
from decoding.folder import WORDS, write_model
from dipole.cli.generate import run
from dipole.cli.generating import GrowingFile
from dipole.errors import InputError

TEMPLATE = "{% for m in messages %}w20 {{ m['content'] }} {% endfor %}{% if add_generation_prompt %}w21{% endif %}"
GREEDY = ("--decoder", "greedy", "--device", "cpu")
PROMPTS = ("w3 w4", "w5", "w6 w7 w8", "w9 w10", "w11")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_model(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture(scope="module")
def chat_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = write_model(tmp_path_factory.mktemp("models") / "chat")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.chat_template = TEMPLATE
    tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(autouse=True)
def _wide(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")


def rows(model: str, out: Path, *flags: str) -> list[dict[str, Any]]:
    out.unlink(missing_ok=True)
    run([model, "--out", str(out), *flags])
    return [json.loads(line) for line in out.read_text().splitlines()]


def prompt_file(folder: Path) -> str:
    (folder / "prompts.txt").write_text("\n".join(PROMPTS) + "\n")
    return str(folder / "prompts.txt")


def test_a_chat_is_what_the_template_makes_of_it(chat_model: str, tmp_path: Path) -> None:
    flags = (*GREEDY, "--max-new-tokens", "6")
    written = "w20 w30 w20 w3 w4 w21"
    plain = rows(chat_model, tmp_path / "a.jsonl", "--prompt", written, *flags)
    chat = rows(chat_model, tmp_path / "b.jsonl", "--prompt", "w3 w4", "--system", "w30", *flags)
    assert chat == plain
    alone = rows(chat_model, tmp_path / "c.jsonl", "--prompt", "w3 w4", "--chat", *flags)
    assert alone[0]["prompt"] == "w20 w3 w4 w21"
    assert rows(chat_model, tmp_path / "d.jsonl", "--prompt", "w3 w4", *flags)[0]["prompt"] == "w3 w4"


def test_a_continuation_ends_at_a_stop_string(model: str, tmp_path: Path) -> None:
    flags = (*GREEDY, "--prompt", "w3 w4", "--max-new-tokens", "20")
    whole = rows(model, tmp_path / "a.jsonl", *flags)[0]["tokens"]
    words = [WORDS[token] for token in whole]
    place = next(n for n in range(2, len(words)) if not any(words[n] in word for word in words[:n]))
    [row] = rows(model, tmp_path / "b.jsonl", *flags, "--stop", json.dumps(["nowhere", words[place]]))
    assert row["tokens"] == whole[: place + 1]
    assert len(row["tokens"]) < len(whole)


def test_samples_of_each_prompt_differ_and_repeat_by_their_seed(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flags = ("--decoder=nucleus", "--top-p=1.0", "--max-new-tokens=6", "--samples=3", "--device=cpu", "--batch-size=4")
    found = rows(model, tmp_path / "a.jsonl", "--prompts", prompt_file(tmp_path), *flags)
    assert [row["prompt"] for row in found] == [*PROMPTS, *PROMPTS, *PROMPTS]
    for place in range(len(PROMPTS)):
        assert len({row["text"] for row in found[place :: len(PROMPTS)]}) == 3
    assert "tokens per second" in capsys.readouterr().out
    assert rows(model, tmp_path / "b.jsonl", "--prompts", prompt_file(tmp_path), *flags) == found
    assert rows(model, tmp_path / "c.jsonl", "--prompts", prompt_file(tmp_path), *flags, "--seed=9") != found


@pytest.mark.parametrize("decoder", ["greedy", "contrastive-search"])
def test_a_stream_prints_the_text_once(decoder: str, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--prompt", "w3 w4", "--max-new-tokens", "8", "--decoder", decoder, "--device", "cpu"]
    run([model, *flags])
    whole = capsys.readouterr().out.strip().removeprefix("w3 w4")
    run([model, *flags, "--stream"])
    streamed = capsys.readouterr().out.strip()
    assert streamed.removeprefix("w3 w4").split() == whole.split()


def test_a_file_goes_on_after_a_kill(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sampled = ("--decoder=nucleus", "--top-p=1.0", "--samples=2", "--max-new-tokens=5", "--batch-size=2")
    flags = ("--prompts", prompt_file(tmp_path), *sampled, "--device=cpu")
    whole = rows(model, tmp_path / "whole.jsonl", *flags)
    out = tmp_path / "killed.jsonl"
    add = GrowingFile.add

    def killed(self: GrowingFile, found: Any) -> None:
        if len(self.rows) >= 4:
            raise KeyboardInterrupt
        add(self, found)

    with monkeypatch.context() as patch:
        patch.setattr(GrowingFile, "add", killed)
        with pytest.raises(KeyboardInterrupt):
            run([model, "--out", str(out), *flags])
    part = tmp_path / "killed.jsonl.part"
    assert not out.exists()
    with part.open("a") as file:
        file.write('{"prompt": "w')  # a row that was cut short
    with pytest.raises(InputError, match="add --resume to go on"):
        run([model, "--out", str(out), *flags])
    with pytest.raises(InputError, match="begun with other settings"):
        run([model, "--out", str(out), *flags, "--seed=1", "--resume"])
    run([model, "--out", str(out), *flags, "--resume"])
    assert [json.loads(line) for line in out.read_text().splitlines()] == whole
    assert not part.exists()


@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
def test_weights_have_the_type_that_is_asked_for(
    dtype: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load, seen = dipole.decoding.load_language_model, []

    def watched(*arguments: Any, **options: Any) -> Any:
        found = load(*arguments, **options)
        seen.append(found.model.dtype)
        return found

    monkeypatch.setattr(dipole.decoding, "load_language_model", watched)
    [row] = rows(model, tmp_path / "a.jsonl", *GREEDY, "--prompt", "w3 w4", "--dtype", dtype, "--max-new-tokens", "3")
    assert seen == [getattr(torch, dtype)]
    assert len(row["tokens"]) == 3


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--samples", "0"], "--samples is 0"),
        (["--samples", "2", "--decoder", "greedy", "--out", "x.jsonl"], "greedy always gives one text: use nucleus"),
        (["--samples", "2", "--decoder", "nucleus"], "--samples needs --out"),
        (["--resume"], "--resume goes on with a file: give --out"),
        (["--stream", "--out", "x.jsonl"], "--stream prints the text of one prompt"),
        (["--chat"], "has no chat template: leave out --chat"),
        (["--system", "w4"], "has no chat template"),
        (["--dtype", "int8"], "--dtype is 'int8': expected float32, bfloat16, float16"),
    ],
)
def test_mistakes(flags: list[str], message: str, model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=message):
        run([model, "--prompt", "w3", *flags])
    assert not list(tmp_path.iterdir())
