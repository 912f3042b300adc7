"""Dialogues as data, pairs of turns, and candidates that are scored as a dialogue goes on."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from dipole.cli import main
from dipole.data.text import TurnPairs, load_texts, toy_dialogues, turns_of
from dipole.errors import InputError
from dipole.evaluation import sequence_scores
from dipole.methods.text.curved_cl import CurvedCL, SequenceScorer
from dipole.views.text import curved_pairs
from text_models import TEXTS, bert_folder

FORMS: list[Any] = [
    ["Hello.", "Hi!"],
    [{"text": "Hello."}, {"text": "Hi!", "act": "greet"}],
    "Ann: Hello.\nBob: Hi!",
    "Hello.\n\nHi!\n",
]
WRONG = [({"turns": []}, "no column 'dialogue'"), ({"dialogue": [1]}, "no dialogue"), ({"dialogue": 7}, "no dialogue")]


@pytest.mark.parametrize("value", FORMS)
def test_dialogues_in_any_form(value: Any) -> None:
    assert turns_of({"dialogue": value}) == ["Hello.", "Hi!"]


@pytest.mark.parametrize(("record", "message"), WRONG)
def test_what_is_no_dialogue(record: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        turns_of(record)


def test_random_pairs_are_those_of_the_epoch() -> None:
    dialogues = [[f"{d} {t}" for t in range(7)] for d in range(4)]
    one, other = TurnPairs(dialogues, seed=3), TurnPairs(dialogues, seed=3)
    first = [one[row] for row in range(len(one))]
    one.set_epoch(1)
    second = [one[row] for row in range(len(one))]
    assert first != second
    other.set_epoch(1)
    assert [other[row] for row in range(len(other))] == second
    assert [record["label"] for record in first] == [record["label"] for record in second]
    one.set_epoch(0)
    assert [one[row] for row in range(len(one))] == first


def test_short_dialogues_give_no_pairs() -> None:
    assert len(curved_pairs([4, 5, 0]).label) == 12
    with pytest.raises(InputError, match=r"no dialogue has 5 turns \(the longest 2\)"):
        TurnPairs([["a", "b"]])


def test_json_files_of_lines_are_read(tmp_path: Path) -> None:
    path = tmp_path / "dialogues.json"
    path.write_text("".join(json.dumps(record) + "\n" for record in toy_dialogues(3)), encoding="utf-8")
    assert len(load_texts(str(path))) == 3


def scorer(candidates: list[str]) -> SequenceScorer:
    torch.manual_seed(0)
    return SequenceScorer(CurvedCL(encoder=str(bert_folder()), max_length=16).eval(), candidates)


def test_scores_are_those_of_the_whole_context() -> None:
    found = scorer(TEXTS[2:])
    for turn in TEXTS[:2]:
        found.add(turn)
    other, same = (found.method.encode_before(TEXTS[:2], odd=odd) for odd in (True, False))
    expected = sequence_scores(other, same, found.method.encode_after(TEXTS[2:]))
    torch.testing.assert_close(found.scores(), expected)
    ahead = scorer(TEXTS[2:])
    ahead.add(TEXTS[0])
    ahead.precompute()
    ahead.add(TEXTS[1])
    torch.testing.assert_close(ahead.scores(), expected)
    ahead.add(TEXTS[2])
    found.add(TEXTS[2])
    torch.testing.assert_close(ahead.scores(), found.scores())


def test_what_is_not_kept_comes_last() -> None:
    found = scorer(TEXTS)
    found.add("short text")
    found.precompute(keep=0.4)
    found.add(TEXTS[0])
    scores = found.scores()
    assert int((scores > -2).sum()) == 2
    assert len(found.best(2)) == 2
    with pytest.raises(InputError, match="keep is 0"):
        found.precompute(keep=0.0)
    with pytest.raises(InputError, match="no candidates"):
        SequenceScorer(found.method, [])


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--data", "toy-sentences"], "no column 'dialogue'"),
        (["--method.window", "1"], "window is 1"),
        (["--method.window", "40"], "no dialogue has 40 turns"),
    ],
)
def test_wrong_input_is_one_line(
    flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--method.encoder", str(bert_folder()), "--method.max_length", "16", "--out", str(tmp_path / "run")]
    assert main(["train", "curved-cl", *given, *flags]) == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
