"""CUT through all verbs, with a Llama of random weights."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import dipole.runs.saving
from dipole.claims.small_language_model import VIEWS, copying_model
from dipole.cli import main
from dipole.data.language import AnsweredQuestions, load_judgments
from dipole.data.language.truthful import ChoiceQuestion
from dipole.data.text import MemoryTextSet
from dipole.decoding import load_language_model
from dipole.errors import InputError
from dipole.runs import Run, RunConfig, load, train
from dipole.runs.embed import embed_to_parquet
from dipole.runs.evaluate import evaluate
from dipole.runs.look import report


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(copying_model(tmp_path_factory.mktemp("models") / "letters", steps=0, width=16, layers=1)[0])


def few(count: int = 24) -> MemoryTextSet:
    judged = load_judgments()
    return MemoryTextSet([judged[i] for i in range(count)], "few")


def settings(base: str, **changes: Any) -> RunConfig:
    options = {"model": base, "lora_rank": 4, "learning_rate": 0.03, **changes.pop("method", {})}
    return RunConfig(
        "cut",
        **{"batch_size": 8, "epochs": 1, "precision": "32-true", "method": options, "views": dict(VIEWS), **changes},
    )


@pytest.fixture(scope="module")
def run(base: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(settings(base, data="toy-judgments"), tmp_path_factory.mktemp("runs") / "run", progress=False)


def test_a_run_holds_adapters_and_no_model(run: Run, base: str) -> None:
    names = {path.name for path in run.model.iterdir()}
    assert {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "dipole.json", "README.md"} <= names
    assert "model.safetensors" not in names
    assert all("lora_" in key for key in load_file(run.model / "adapter_model.safetensors"))
    assert json.loads((run.model / "dipole.json").read_text())["method"]["model"] == base
    assert json.loads((run.model / "adapter_config.json").read_text())["base_model_name_or_path"] == base
    frozen = sum(path.stat().st_size for path in Path(base).glob("*.safetensors"))
    assert run.settings().data == "toy-judgments"
    assert run.settings().loading == {"satisfactory_score": 7.0, "satisfactory_ratio": 0.25}
    # Two moments of Adam beside the adapters, and nothing of the frozen model.
    weights = load_file(run.checkpoint)
    assert sum(each.numel() * each.element_size() for each in weights.values()) < frozen


@torch.no_grad()
def test_a_loaded_run_is_the_trained_one(run: Run) -> None:
    method = load(run.path)
    assert not method.language_model.training
    model, tokenizer = load_language_model(run.path, device="cpu")
    ids = torch.tensor([tokenizer("Copy: a b c d e f ->")["input_ids"]])
    ours, merged = method.language_model(ids).logits, model(ids).logits
    torch.testing.assert_close(ours, merged, rtol=1e-4, atol=1e-4)
    with method.language_model.disable_adapter():
        before = method.language_model(ids).logits
    assert not torch.allclose(ours, before, atol=1e-3)
    plain, _ = load_language_model(run.settings().method["model"], device="cpu")
    torch.testing.assert_close(before, plain(ids).logits)


def test_generate_takes_a_run(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in (run.path, run.model):
        flags = ["--prompt", "Copy: a b ->", "--max-new-tokens", "3", "--device", "cpu"]
        assert main(["generate", str(folder), *flags]) == 0
        assert capsys.readouterr().out.startswith("Copy: a b ->")


def test_evaluate(run: Run) -> None:
    result = evaluate(run.path)
    assert [row["encoder"] for row in result.rows] == ["trained", "untrained"]
    assert set(result.protocols) <= {"criticised tokens", "other tokens", "satisfactory responses"}
    assert "satisfactory responses" in result.protocols
    trained, untrained = result.rows
    assert trained["satisfactory responses"] > untrained["satisfactory responses"]
    assert all(row[name] < 0 for row in result.rows for name in result.protocols)
    assert result.data == "toy-judgments-test"
    assert json.loads(run.evaluation.read_text())["rows"][0] == trained
    with pytest.raises(InputError, match="no protocol 'knn': choose from likelihood"):
        evaluate(run.path, protocols=["knn"])


def test_evaluate_on_other_judgments(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "own.jsonl"
    file.write_text(json.dumps({"instruction": "Copy: a", "response": "k", "judgment": "Wrong: 1"}) + "\n")
    result = evaluate(run.path, data=str(file))
    assert result.data == "own.jsonl"
    assert "satisfactory responses" not in result.protocols


def test_embed_is_refused(run: Run, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="use it with `dipole generate`"):
        embed_to_parquet(run.path, "toy-sentences", tmp_path / "e.parquet")
    assert not (tmp_path / "e.parquet").exists()


def test_report(run: Run) -> None:
    page = report(run.path).read_text(encoding="utf-8")
    assert "cut on toy-judgments" in page
    assert "unlikelihood" in page


def test_the_command_line(base: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--method.model", base, "--method.lora-rank", "2", "--views.max_length", "64", "--batch-size", "128"]
    out = tmp_path / "run"
    assert main(["train", "cut", *flags, "--loading.satisfactory-ratio", "0.1", "--out", str(out)]) == 0
    assert "inappropriate" in capsys.readouterr().out
    saved = Run(out).settings()
    assert saved.method["warmup_epochs"] == 0.5  # of the recipe
    assert saved.loading["satisfactory_ratio"] == 0.1
    assert main(["train", "cut", *flags, "--out", str(out)]) == 2


def test_a_stopped_run_ends_as_an_uninterrupted_one(base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = settings(base, epochs=2)
    whole = train(config, tmp_path / "whole", sets=few(), progress=False)
    save = dipole.runs.saving.LastCheckpoint.on_train_epoch_end

    def stop(self: Any, trainer: Any, *rest: Any) -> None:
        save(self, trainer, *rest)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(dipole.runs.saving.LastCheckpoint, "on_train_epoch_end", stop)
        with pytest.raises(KeyboardInterrupt):
            train(config, tmp_path / "stopped", sets=few(), progress=False)
    stopped = train(config, tmp_path / "stopped", sets=few(), resume=True, progress=False)
    for file in ("model/adapter_model.safetensors", "metrics.csv"):
        assert (stopped.path / file).read_bytes() == (whole.path / file).read_bytes(), file


def test_adapters_that_are_not_whole(run: Run, tmp_path: Path) -> None:
    import shutil

    copy = Path(shutil.copytree(run.model, tmp_path / "model"))
    weights = copy / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(InputError, match="does not hold the adapters"):
        load(copy)
    with pytest.raises(InputError, match="cannot add the adapters"):
        load_language_model(copy, device="cpu")
    weights.unlink()
    with pytest.raises(InputError, match=r"has no adapter_model\.safetensors"):
        load_language_model(copy, device="cpu")
    facts = json.loads((copy / "adapter_config.json").read_text())
    (copy / "adapter_model.safetensors").write_bytes(b"")
    for name, message in ((None, "does not name the model"), (str(copy), "names its own folder")):
        (copy / "adapter_config.json").write_text(json.dumps({**facts, "base_model_name_or_path": name}))
        with pytest.raises(InputError, match=message):
            load_language_model(copy, device="cpu")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "toy-judgment"}, "Did you mean 'toy-judgments'"),
        ({"loading": {"satisfactory_ratio": -1.0}}, "satisfactory_ratio"),
        ({"loading": {"column": "text"}}, "loading has no argument 'column'"),
        ({"views": {"plain_template": "x"}}, "plain_template"),
        ({"views": {"nonsense": 1}}, "views have no argument 'nonsense'"),
        ({"method": {"model": "/no/such/folder"}}, "there is no model folder"),
        ({"method": {"lora_rank": 0}}, "lora_rank"),
    ],
)
def test_mistakes_are_told_and_leave_nothing(base: str, changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        train(settings(base, **changes), tmp_path / "run", progress=False)
    assert not (tmp_path / "run").exists()


def test_an_amateur_learns_answers_where_they_are_scored(base: str, tmp_path: Path) -> None:
    _, tokenizer = load_language_model(base, device="cpu")
    question = ChoiceQuestion("a b c?", ("a.",), ("b.",))
    record = {"instruction": question.question, "response": "k l.", "judgment": None}
    batch = AnsweredQuestions()([record], tokenizer)
    prompt = tokenizer(question.prompt(0))["input_ids"]
    answer = tokenizer(" k l.", add_special_tokens=False)["input_ids"]
    length = int(batch["attention_mask"][0, 0].sum())
    assert batch["input_ids"][0, 0, :length].tolist() == [*prompt, *answer, tokenizer.eos_token_id]
    learned = batch["labels"][0, 0][batch["labels"][0, 0] >= 0]
    assert learned.tolist() == [*answer, tokenizer.eos_token_id]
    assert "### Response:" in AnsweredQuestions(template="alpaca").prompt("a")
    assert AnsweredQuestions(template="{instruction}\n").response("a\n", "k") == "k"
    with pytest.raises(InputError, match="template is 'chat': expected 'question' or 'alpaca'"):
        AnsweredQuestions(template="chat")


def test_an_amateur_is_trained_and_contrasted_with(base: str, tmp_path: Path) -> None:
    file = tmp_path / "falsehoods.jsonl"
    rows = [{"instruction": f"a {letter}?", "response": f"{letter} k."} for letter in "bcdefghi"]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "amateur"
    flags = ["--data", str(file), "--method.model", base, "--epochs", "2", "--out", str(out)]
    assert main(["train", "amateur", *flags]) == 0
    assert Run(out).settings().views == {"max_length": 2048, "template": "question"}
    table = tmp_path / "questions.csv"
    cells = [f'"a {n} {letter}?",a.,a.,"{letter} k.; {n}."' for n, letter in enumerate("bcd")]
    table.write_text("\n".join(["Question,Best Answer,Correct Answers,Incorrect Answers", *cells]) + "\n")
    flags = ["--protocol", "multiple-choice", "--data", str(table), "--protocol.amateur", str(out)]
    assert main(["evaluate", base, *flags, "--protocol.decoders", "greedy,icd", "--protocol.shots", "0"]) == 0
