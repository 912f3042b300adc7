"""Triplets that a language model writes, and what is kept of them."""

import json
from pathlib import Path
from typing import Any

import pytest

from dipole.cli import main
from dipole.data.text import curate_triplets
from dipole.errors import InputError
from dipole.runs.triplets import TripletSettings, curate, first_line, write_triplets
from text_models import bert_folder

SENTENCES = ["It rains.", "A dog runs.", "The shop is open."]


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


class Model:
    """Answers with the instruction's first word and the sentence, and counts what it was asked."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.asked, self.stop_after = 0, stop_after

    def __call__(self, prompts: list[str], opposite: list[str]) -> list[str]:
        if self.stop_after is not None and self.asked >= self.stop_after:
            raise KeyboardInterrupt
        self.asked += len(prompts)
        assert [prompt.splitlines()[-2] for prompt in prompts] == [prompt.splitlines()[-2] for prompt in opposite]
        assert all(a != b for a, b in zip(prompts, opposite, strict=True))
        return [f" {prompt.split()[2]} {prompt.splitlines()[-2][10:]}\nSentence: more" for prompt in prompts]


def test_every_sentence_gets_two(tmp_path: Path) -> None:
    data = tmp_path / "texts.txt"
    data.write_text("\n".join([*SENTENCES, SENTENCES[0]]), encoding="utf-8")
    done = write_triplets(data, tmp_path / "out.jsonl", write=Model())
    assert (done.read, done.kept, done.left_out) == (3, 3, {})
    assert read(done.path)[0] == {"text": "It rains.", "positive": "same It rains.", "negative": "opposite, It rains."}


def test_an_interrupted_command_goes_on(tmp_path: Path) -> None:
    data, out = tmp_path / "texts.txt", tmp_path / "out.jsonl"
    data.write_text("\n".join(SENTENCES), encoding="utf-8")
    settings = TripletSettings(batch_size=1)
    with pytest.raises(KeyboardInterrupt):
        write_triplets(data, out, settings=settings, write=Model(stop_after=4))
    assert not out.exists()
    part = tmp_path / ".out.jsonl.part.jsonl"
    part.write_text(part.read_text(encoding="utf-8") + '{"text": "cut sh', encoding="utf-8")
    rest = Model()
    done = write_triplets(data, out, settings=settings, write=rest)
    assert (done.kept, rest.asked) == (3, 2)
    assert not part.exists()
    whole = write_triplets(data, tmp_path / "whole.jsonl", settings=settings, write=Model())
    assert whole.path.read_bytes() == out.read_bytes()


def test_other_settings_do_not_go_on(tmp_path: Path) -> None:
    data, out = tmp_path / "texts.txt", tmp_path / "out.jsonl"
    data.write_text("\n".join(SENTENCES), encoding="utf-8")
    with pytest.raises(KeyboardInterrupt):
        write_triplets(data, out, write=Model(stop_after=0))
    with pytest.raises(InputError, match="begun with other settings"):
        write_triplets(data, out, settings=TripletSettings(opposite_weight=0.1), write=Model())


def test_curation_by_any_scorer(tmp_path: Path) -> None:
    records = [
        {"text": "a cat sleeps", "positive": "a cat naps", "negative": "no cat sleeps"},
        {"text": "a dog runs", "positive": "nothing moves", "negative": "a dog is running"},
        {"text": "it rains", "positive": "it rains", "negative": "it is dry"},
        {"text": "one", "positive": "", "negative": "two"},
    ]
    values: list[float | None] = [4.5, 1.0, 0.5, 5.0, 5.0, 0.0, 4.0, 1.0]
    data = write(tmp_path / "triplets.jsonl", records)
    done = curate(data, tmp_path / "kept.jsonl", score=lambda pairs: values)
    kept = read(done.path)
    assert [row["positive"] for row in kept] == ["a cat naps", "a dog is running"]  # the second has changed places
    assert kept[1]["positive_score"] == 5.0
    assert done.left_out == {"copy": 1, "empty": 1}
    again = curate(done.path, tmp_path / "again.jsonl", at_least=4.6)
    assert again.kept == 1


def test_curation_by_an_encoder(tmp_path: Path) -> None:
    records = [{"text": "the cat", "positive": "the cat sat", "negative": "red ball"}] * 2
    data = write(tmp_path / "triplets.jsonl", records)
    done = curate(data, tmp_path / "kept.jsonl", scorer=str(bert_folder()), at_least=0.0, at_most=5.0, gap=0.0)
    assert all(0 <= row["negative_score"] <= row["positive_score"] <= 5 for row in read(done.path))


@pytest.mark.parametrize(
    ("record", "flags", "message"),
    [
        ({"text": "a", "positive": "b"}, [], "no column 'negative'"),
        ({"text": "a", "positive": "b", "negative": "c"}, [], "holds no scores"),
        ({"text": "a", "positive": "b", "negative": ["c"]}, [], "must be texts, one each"),
        ({"text": "a", "positive": "b", "negative": "c", "positive_score": 9, "negative_score": 1}, [], "from 0 to 5"),
        ({"text": "a", "positive": "b", "negative": "c"}, ["--scorer", "x", "--model", "y"], "choose one"),
        ({"text": "a", "positive": "b", "negative": "c"}, ["--scorer", "nowhere"], "there is no run or model"),
    ],
)
def test_wrong_input_is_one_line(
    record: dict[str, Any], flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = write(tmp_path / "triplets.jsonl", [record])
    assert main(["curate", str(data), "--out", str(tmp_path / "out.jsonl"), *flags]) == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]


def test_answers_are_read_to_the_first_line() -> None:
    assert first_line("\n “It is wet.” \nmore") == "It is wet."
    assert first_line("  \n ") == ""


def test_nothing_is_kept_of_nothing() -> None:
    assert curate_triplets([]) == ([], {})
