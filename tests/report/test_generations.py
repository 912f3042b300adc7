"""The page of texts beside each other."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

from decoding.folder import write_model
from dipole.cli.generate import run
from dipole.decoding.text import Completion
from dipole.errors import InputError
from dipole.report.generations import token_pieces, write_generations


def letters(tokens: list[int], **options: object) -> str:
    """A tokenizer of bytes: letters outside ASCII have several tokens."""
    return bytes(tokens).decode("utf-8", errors="replace")


TOKENIZER = SimpleNamespace(decode=letters)


def completion(
    text: str, values: list[float] | None = None, prompt: str = "ask", name: str = "confidence"
) -> Completion:
    tokens = list(text.encode())
    return Completion(prompt, text, tokens, None, {} if values is None else {name: values})


@pytest.mark.parametrize("text", ["", "abc", "a→b", "→", "é\n<b>"])
def test_pieces_join_to_the_text(text: str) -> None:
    pieces = token_pieces(TOKENIZER, list(text.encode()))
    assert len(pieces) == len(text.encode())
    assert "".join(pieces) == text


def test_an_unfinished_letter_at_the_end_is_shown() -> None:
    assert token_pieces(TOKENIZER, list("a→".encode()[:-1])) == ["a", "", "�"]


def test_colours_are_relative_to_the_largest_value(tmp_path: Path) -> None:
    ours = {"a": [completion("xy", [0.5, -1.0])], "b": [completion("z", [4.0])], "c": [completion("w")]}
    page = write_generations(tmp_path / "x.html", ours, TOKENIZER).read_text()
    assert re.findall(r'style="([^"]*)" title="([^"]*)">(\w)<', page) == [
        ("--confidence:0.125;", "confidence 0.500", "x"),
        ("--confidence:0.000;", "confidence -1.000", "y"),
        ("--confidence:1.000;", "confidence 4.000", "z"),
        ("", "", "w"),
    ]


def test_texts_are_not_markup(tmp_path: Path) -> None:
    ours = {"a": [completion("<script>", prompt="<b>ask</b>")]}
    page = write_generations(tmp_path / "x.html", ours, TOKENIZER).read_text()
    assert "<script>" not in page
    assert "<b>ask" not in page


def test_what_cannot_be_put_side_by_side(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="different prompts"):
        write_generations(tmp_path / "x.html", {"a": [completion("x")], "b": [completion("x", prompt="no")]}, TOKENIZER)
    for nothing in ({}, {"a": []}):
        with pytest.raises(InputError, match="no texts"):
            write_generations(tmp_path / "x.html", nothing, TOKENIZER)
    assert not list(tmp_path.iterdir())


def test_the_command_writes_it(tmp_path: Path) -> None:
    model = str(write_model(tmp_path / "tiny"))
    page = tmp_path / "x.html"
    flags = ["--context", "w9", "--decoder", "adacad", "--beside", "contrastive-search, greedy", "--device", "cpu"]
    run([model, "--prompt", "w3", *flags, "--max-new-tokens", "5", "--report", str(page)])
    text = page.read_text()
    assert re.findall(r"<h3>([\w-]+) <span>(\d) tokens", text) == [
        ("adacad", "5"),
        ("contrastive-search", "5"),
        ("greedy", "5"),
    ]
    assert re.findall(r'<option value="(\w+)">', text) == ["confidence", "context_weight", "degeneration_penalty"]
