"""Runs on sounds and texts: tasks interrupted anywhere, post-training of other runs, a folder of one's own."""

import csv
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
import torch

from dipole.cli import main
from dipole.data.multimodal import ModalityDataModule, ModalitySet
from dipole.data.multimodal.columns import Texts
from dipole.data.multimodal.made_sounds import KINDS, RATE, load_sound_captions, made_sound
from dipole.errors import InputError
from dipole.methods.audio.coconut import Coconut
from dipole.nn.text import learn_tokenizer
from dipole.runs import Run, RunConfig, load, train
from dipole.runs.evaluate import evaluate
from dipole.runs.stages import staged, train_stages

TOWERS = {"sound_encoder": "gru-4", "text_encoder": "bag-8", "embedding_dim": 8}
TASKS = RunConfig(
    "coconut",
    data="sound-captions",
    epochs=1,
    batch_size=32,
    precision="32-true",
    method={**TOWERS, "tasks": 3, "memory": 24},
)


def tasks(out: Path, **options: Any) -> Run:
    return train_stages(staged(TASKS) or [], out, progress=False, monitor=False, **options)


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> Run:
    # Of the same length as in the tests: the settings name the run that a task starts from.
    return tasks(tmp_path_factory.mktemp("whole") / "run")


def test_tasks_are_learned_in_turn(learned: Run) -> None:
    method = load(learned.path)
    assert isinstance(method, Coconut)
    assert method.stage == 2
    matrix, counts, classes = method.continual()
    assert bool(matrix[torch.ones(3, 3).tril().bool()].isfinite().all())
    assert bool(matrix[torch.ones(3, 3).triu(1).bool()].isnan().all()), "later tasks are not measured before"
    assert counts.tolist() == [40, 40, 40]
    assert sorted(name for group in classes for name in group) == sorted(KINDS)
    labels = load_sound_captions()[0].labels or []
    for place, rows in enumerate(method.kept.tolist()):
        old = place not in method.classes_of(2)
        assert len(rows) == 2
        assert all(row >= 0 for row in rows) == old, "the memory holds the classes of earlier tasks"
        assert all(labels[row] == method.classes[place] for row in rows if row >= 0)


def test_the_teacher_is_the_model_before(learned: Run) -> None:
    before, method = load(learned.path / "stages" / "2"), load(learned.path)
    assert isinstance(before, Coconut)
    assert isinstance(method, Coconut)
    sounds = torch.rand(2, RATE)
    assert method.teacher is not None
    with torch.no_grad():
        taught = method.teacher[1](method.teacher[0](sounds))
        torch.testing.assert_close(
            torch.nn.functional.normalize(taught, dim=1), before.embed({"sound": sounds}), rtol=1e-5, atol=1e-6
        )
    assert not any(parameter.requires_grad for parameter in method.teacher.parameters())


def test_the_report_and_the_table_of_tasks(learned: Run) -> None:
    found = evaluate(learned.path)
    assert {"average accuracy", "last accuracy", "forgetting"} <= set(found.protocols)
    assert "Accuracy on each task after each task" in [picture.title for picture in found.pictures]
    assert main(["report", str(learned.path)]) == 0
    page = (learned.path / "report.html").read_text()
    assert "after each task" in page
    assert "<audio controls" in page


@pytest.mark.parametrize("call", [2, 7, 11, 13])  # in each task, and at the beginning of one
def test_interrupted_within_and_between_tasks(call: int, learned: Run, tmp_path: Path) -> None:
    steps: list[int] = []
    original = Coconut.loss_terms

    def stop(self: Any, batch: Any) -> Any:
        steps.append(1)
        if len(steps) == call:
            raise KeyboardInterrupt
        return original(self, batch)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Coconut, "loss_terms", stop)
        with pytest.raises(KeyboardInterrupt):
            tasks(tmp_path / "run")
    resumed = tasks(tmp_path / "run", resume=True)
    for name in ("model/model.safetensors", "metrics.csv"):
        assert (resumed.path / name).read_bytes() == (learned.path / name).read_bytes(), name


def test_classes_are_needed(tmp_path: Path) -> None:
    rows, _ = load_sound_captions(4, 2)
    rows._labels = None
    config = RunConfig("coconut", batch_size=8, epochs=1, method={"stage": 0, **TOWERS})
    with pytest.raises(InputError, match="classes"):
        train(config, tmp_path / "run", sets=(rows, None), progress=False, monitor=False)


@pytest.mark.parametrize("base", ["clip", "cloob"])
@pytest.mark.parametrize("name", ["teminal", "compa"])
def test_post_training_takes_over_towers_and_tokenizers(base: str, name: str, tmp_path: Path) -> None:
    rows, _ = load_sound_captions(4, 2)
    first = RunConfig(base, batch_size=16, epochs=1, method=dict(TOWERS))
    before = train(first, tmp_path / "first", sets=(rows, None), progress=False, monitor=False)
    other, _ = load_sound_captions(4, 2, seed=1)
    other.columns["caption"].cells = [["entirely other words"], *other.columns["caption"].cells[1:]]  # type: ignore[attr-defined]
    config = RunConfig(name, batch_size=16, epochs=1, method={"learning_rate": 1e-12}, init_from=str(before.path))
    after = train(config, tmp_path / "second", sets=(other, None), progress=False, monitor=False)
    given, method = load(before.path), load(after.path)
    assert after.settings().method["sound_encoder"] == "gru-4"
    texts = [tower.tokenizers["caption"].get_vocab() for tower in (given, method)]  # type: ignore[union-attr]
    assert texts[0] == texts[1]
    sounds = {"sound": torch.rand(2, RATE)}
    torch.testing.assert_close(method.embed(sounds), given.embed(sounds), rtol=1e-4, atol=1e-5)


def own_folder(folder: Path) -> Path:
    """A table of sounds with captions, one file of which is missing."""
    (folder / "clips").mkdir()
    draw = np.random.default_rng(0)
    with (folder / "sounds.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "caption", "label"])
        for kind in KINDS[:4]:
            for number in range(8):
                path = f"clips/{kind} {number}.wav"
                soundfile.write(folder / path, made_sound(kind, draw), RATE)
                table.writerow([path, kind, kind])
        table.writerow(["clips/missing.wav", "nothing", "nothing"])
    return folder / "sounds.csv"


def test_a_folder_of_ones_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table, out = own_folder(tmp_path), str(tmp_path / "run")
    loading = ["--loading.sample_rate", str(RATE), "--loading.seconds", "1"]
    sizes = ["--method.sound_encoder", "gru-4", "--method.text_encoder", "bag-8", "--epochs", "1", "--batch-size", "8"]
    assert main(["train", "clip", "--data", str(table), *loading, *sizes, "--out", out]) == 0
    post = str(tmp_path / "post")
    flags = ["--data", str(table), *loading, "--epochs", "1", "--batch-size", "8", "--init_from", out]
    assert main(["train", "teminal", *flags, "--out", post]) == 0
    assert main(["evaluate", post, "--data", str(table)]) == 0
    assert "relation" in capsys.readouterr().out
    assert main(["search", post, str(table), "a low hum", "--k", "3"]) == 0
    assert "a low hum" in capsys.readouterr().out
    assert main(["embed", post, str(table), "--out", str(tmp_path / "found.parquet")]) == 0
    wrong = ["--loading.sample_rate", "16000", "--data", str(table), "--init_from", out]
    assert main(["train", "compa", *wrong, "--out", str(tmp_path / "x")]) == 2
    assert "8000" in capsys.readouterr().err


def test_a_learned_tokenizer_spells_what_stands_between_captions() -> None:
    rows = ModalitySet("digits", {"word": Texts([["zero"], ["one"], ["six"]])})
    bare = learn_tokenizer(["zero", "one", "six"], 100, 16)
    assert bare.unk_token_id in bare("zero before one")["input_ids"]
    knowing = ModalityDataModule((rows, None)).tokenizers["word"]
    assert knowing.unk_token_id not in knowing("zero before one while six")["input_ids"]
    whole = ModalityDataModule((rows, None), phrases=["before"]).tokenizers["word"]
    assert "before" in whole.tokenize("zero before one")
    with pytest.raises(InputError, match="lacks letters of 'before'"):
        _ = ModalityDataModule((rows, None), phrases=["before"], given_tokenizers={"word": bare}).tokenizers


def test_long_sounds_are_embedded_part_by_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "300")
    table, out = own_folder(tmp_path), str(tmp_path / "run")
    draw = np.random.default_rng(1)
    long = np.resize(np.concatenate([made_sound(kind, draw) for kind in KINDS[:3]]), round(2.5 * RATE))
    soundfile.write(tmp_path / "clips" / "long.flac", long, RATE)
    with table.open("a", newline="") as file:
        csv.writer(file).writerow(["clips/long.flac", "all of them", "all"])
    loading = ["--loading.sample_rate", str(RATE), "--loading.seconds", "1", "--loading.sound_crop", "random"]
    sizes = ["--method.sound_encoder", "gru-4", "--method.text_encoder", "bag-8", "--epochs", "1", "--batch-size", "8"]
    assert main(["train", "clip", "--data", str(table), *loading, *sizes, "--out", out]) == 0

    def embedded(how: str) -> dict[str, list[Any]]:
        file = tmp_path / f"{how}.parquet"
        flags = ["--loading.sound_windows", how, "--batch-size", "2", "--out", str(file)]
        assert main(["embed", out, str(table), *flags]) == 0
        found = pq.read_table(file).to_pydict()
        kept = [n for n, (row, name) in enumerate(zip(found["id"], found["modality"], strict=True)) if name == "file"]
        return {name: [values[n] for n in kept] for name, values in found.items()}

    first = embedded("first")
    assert "1 sounds are longer than the model hears at a time" in capsys.readouterr().out
    each, mean = embedded("each"), embedded("mean")
    assert "longer than" not in capsys.readouterr().out
    last = first["id"][-1]
    assert each["id"][-3:] == [last] * 3
    assert each["id"][-4] != last
    assert list(zip(each["start"][-3:], each["end"][-3:], strict=True)) == [(0.0, 1.0), (1.0, 2.0), (2.0, 2.5)]
    parts = torch.zeros(3, RATE)
    for number, part in enumerate(parts):
        heard = torch.from_numpy(soundfile.read(tmp_path / "clips" / "long.flac", dtype="float32")[0])[number * RATE :]
        part[: min(RATE, len(heard))] = heard[:RATE]
    expected = load(out).embed({"file": parts}).detach()
    torch.testing.assert_close(torch.tensor(each["vector"][-3:]), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(torch.tensor(first["vector"][-1]), expected[0], rtol=1e-4, atol=1e-5)
    weight = torch.tensor([1.0, 1.0, 0.5]) / 2.5
    assert mean["id"] == first["id"]
    torch.testing.assert_close(torch.tensor(mean["vector"][-1]), weight @ expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(
        torch.tensor(mean["vector"][:-1]), torch.tensor(first["vector"][:-1]), rtol=1e-4, atol=1e-5
    )
