"""Judgments: read from files, drawn, and put into prompts."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from dipole.claims.small_language_model import copying_model
from dipole.data.language import JudgmentPairs, load_context_questions, load_judgments, toy_judgments
from dipole.errors import InputError
from dipole.nn.text.encoder import open_tokenizer

GOOD: dict[str, Any] = {"instruction": "Copy: a", "response": "a"}
BAD = {**GOOD, "response": "k", "judgment": "Wrong: 1"}


def write(path: Path, *rows: object) -> str:
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows) + "\n")
    return str(path)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return open_tokenizer(str(copying_model(tmp_path_factory.mktemp("models") / "letters", steps=0)[0]))


def test_the_toy_says_what_is_wrong() -> None:
    records = toy_judgments(300)
    assert records == toy_judgments(300)
    assert records != toy_judgments(300, seed=1)
    for record in records:
        letters = record["instruction"].removeprefix("Copy: ").split()
        copied = record["response"].split()
        wrong = [str(i + 1) for i in range(6) if letters[i] != copied[i]]
        assert record["judgment"] == (f"Wrong: {' '.join(wrong)}" if wrong else None)
    assert 0.2 < sum(record["judgment"] is None for record in records) / 300 < 0.6
    assert all(record["judgment"] is None for record in toy_judgments(50, error_rate=0.0))


def test_what_is_satisfactory(tmp_path: Path) -> None:
    rows = [GOOD, {**GOOD, "judgment": " "}, {**BAD, "score": 7}, {**BAD, "score": 6.5}, BAD, {**BAD, "score": None}]
    judged = load_judgments(write(tmp_path / "j.jsonl", *rows), satisfactory_ratio=None)
    assert [judged[i]["judgment"] is None for i in range(len(judged))] == [True, True, True, False, False, False]
    stricter = load_judgments("j.jsonl", tmp_path, satisfactory_ratio=None, satisfactory_score=6)
    assert [stricter[i]["judgment"] is None for i in range(6)] == [True, True, True, True, False, False]


def test_satisfactory_responses_are_drawn(tmp_path: Path) -> None:
    path = write(tmp_path / "j.jsonl", *[{**GOOD, "instruction": str(i)} for i in range(40)], *[BAD] * 20)
    drawn = load_judgments(path, satisfactory_ratio=0.25)
    good = [drawn[i]["instruction"] for i in range(len(drawn)) if drawn[i]["judgment"] is None]
    assert (len(good), len(drawn)) == (5, 25)
    again, other = (load_judgments(path, satisfactory_ratio=0.25, seed=seed) for seed in (0, 1))
    assert [again[i] for i in range(25)] == [drawn[i] for i in range(25)]
    assert [other[i] for i in range(25)] != [drawn[i] for i in range(25)]
    assert len(load_judgments(path, satisfactory_ratio=9.0)) == 60


def test_empty_responses_are_left_out_and_counted(tmp_path: Path) -> None:
    judged = load_judgments(write(tmp_path / "j.jsonl", BAD, {**BAD, "response": " "}))
    assert len(judged) == 1
    assert [str(note) for note in judged.skipped] == ["1 line without text (first: line 2)"]


def test_records_without_a_response_are_left_out_and_named(tmp_path: Path) -> None:
    judged = load_judgments(write(tmp_path / "j.jsonl", BAD, {"instruction": "x"}))
    assert [str(note) for note in judged.skipped] == ["1 line without 'response' (first: line 2)"]
    assert len(judged) == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["{"], "1 line not valid JSON"),
        ([{**BAD, "instruction": 3}], "record 1: expected the strings"),
        ([{**BAD, "judgment": 3}], "record 1: expected the strings"),
        ([{**BAD, "score": "high"}], "has the score 'high'"),
        ([GOOD], "None is unsatisfactory"),
    ],
)
def test_files_that_hold_no_judgments(rows: list[object], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        load_judgments(write(tmp_path / "j.jsonl", *rows))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"data": "toy-judgment"}, "Did you mean 'toy-judgments'"),
        ({"data": "nowhere.jsonl"}, "is no .jsonl file of judgments"),
        ({"satisfactory_ratio": -1.0}, "satisfactory_ratio"),
    ],
)
def test_mistakes(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_judgments(**arguments)


def words(tokenizer: Any, ids: torch.Tensor, mask: torch.Tensor) -> list[str]:
    return tokenizer.convert_ids_to_tokens(ids[mask.bool()].tolist())


def test_alignments(tokenizer: Any) -> None:
    pairs = JudgmentPairs(plain_template="{instruction} ->", judged_template="{judgment} | {instruction} ->")
    records = [{**GOOD, "judgment": None}, BAD]
    batch = pairs(records, tokenizer)
    assert {name: tuple(each.shape) for name, each in batch.items()} == {
        "input_ids": (2, 2, 16),
        "attention_mask": (2, 2, 16),
        "labels": (2, 2, 16),
        "is_negative": (2,),
    }
    read = [
        [words(tokenizer, batch["input_ids"][side, row], batch["attention_mask"][side, row]) for row in (0, 1)]
        for side in (0, 1)
    ]
    copy = ["Copy", ":", "a", "->"]
    assert read[0] == [[*copy, "a", "<end>"], ["Wrong", ":", "1", "|", *copy, "k", "<end>"]]
    assert read[1] == [[], [*copy, "k", "<end>"]]
    responses = [
        words(tokenizer, batch["labels"][side, row], batch["labels"][side, row] != -100)
        for side, row in ((0, 0), (0, 1), (1, 0), (1, 1))
    ]
    assert responses == [["a", "<end>"], ["k", "<end>"], [], ["k", "<end>"]]
    assert batch["is_negative"].tolist() == [False, True]


def test_a_long_prompt_is_cut_on_the_left(tokenizer: Any) -> None:
    batch = JudgmentPairs(max_length=4, plain_template="{instruction} ->")([BAD], tokenizer)
    read = [words(tokenizer, batch["input_ids"][side, 0], batch["attention_mask"][side, 0]) for side in (0, 1)]
    assert read[1] == ["a", "->", "k", "<end>"]
    assert read[0][-2:] == ["k", "<end>"]
    assert torch.equal(batch["labels"][0] != -100, batch["labels"][1] != -100)


def test_the_fake_judgment_stands_in_the_judged_prompt(tokenizer: Any) -> None:
    options = {"plain_template": "{instruction} ->", "judged_template": "{judgment} | {instruction} ->"}
    pairs = JudgmentPairs(misalign_prompt="fake_positive", fake_judgment="Copy", **options)
    batch = pairs([BAD], tokenizer)
    read = words(tokenizer, batch["input_ids"][1, 0], batch["attention_mask"][1, 0])
    assert read == ["Copy", "|", "Copy", ":", "a", "->", "k", "<end>"]


def test_braces_of_an_instruction_stay() -> None:
    pairs = JudgmentPairs()
    assert "### Instruction:\nf{judgment}{0}\n" in pairs.prompt("f{judgment}{0}", "no {instruction}")
    assert "### Judgment:\nno {instruction}\n\n### Response:\n" in pairs.prompt("f", "no {instruction}")


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_length": 1}, "max_length"),
        ({"misalign_prompt": "none"}, "misalign_prompt"),
        ({"plain_template": "x"}, r"plain_template has no \{instruction\}"),
        ({"judged_template": "{instruction}"}, r"judged_template has no \{judgment\}"),
    ],
)
def test_templates_and_lengths(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        JudgmentPairs(**options)


def test_a_tokenizer_needs_an_end(tokenizer: Any) -> None:
    import copy

    endless = copy.deepcopy(tokenizer)
    endless.eos_token = None
    with pytest.raises(InputError, match="no end token"):
        JudgmentPairs()([BAD], endless)


def question(index: int, process: int, prompt: str) -> dict[str, Any]:
    return {"input_index": index, "assigned_process": process, "context_string": prompt, "gold_answers": "Ann"}


ASKED = "answer the following question: \nQuestion: Who wrote it ?\nAnswer:"


def test_questions(tmp_path: Path) -> None:
    (tmp_path / "llm").mkdir()
    path = tmp_path / "llm" / "adacad_nq_synth.jsonl"
    prompt = f"Ann wrote it . \nUsing only the references listed above, {ASKED}"
    write(path, question(0, 0, prompt), question(0, 1, f"A{ASKED[1:]}"))
    (found,) = load_context_questions(tmp_path)
    assert found == (prompt, f"A{ASKED[1:]}", "Ann wrote it .", "Who wrote it?", ("Ann",))
    write(path, question(0, 0, prompt), question(1, 1, ASKED))
    with pytest.raises(InputError, match="once with its context and once without"):
        load_context_questions(tmp_path)
    write(path, question(0, 7, prompt))
    with pytest.raises(InputError, match="line 1 is not a question"):
        load_context_questions(tmp_path)
    with pytest.raises(InputError, match="cannot read"):
        load_context_questions(tmp_path / "nowhere")
