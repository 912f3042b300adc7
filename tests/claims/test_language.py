"""Experiments on language models, with tiny ones."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from decoding.folder import WORDS, write_model
from dipole.claims import get_claim
from dipole.claims.base import Arm, Claim, Comparison
from dipole.claims.judged_copies import JudgedCopies, base_model, likelihoods, wrong_tokens
from dipole.claims.language import (
    Bench,
    Passages,
    Questions,
    answer_log_likelihood,
    part_of,
    shuffled,
    with_context,
    without_context,
)
from dipole.claims.runner import run_claim
from dipole.claims.small_language_model import copying_model
from dipole.data.language import load_context_questions
from dipole.decoding import AdaCAD, ContextAwareDecoding, Greedy
from dipole.errors import InputError

LETTERS = WORDS[3:-1]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write_model(tmp_path_factory.mktemp("models") / "tiny"))


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / "llm").mkdir()
    lines = []
    generator = torch.Generator().manual_seed(0)
    for index in range(12):
        words = [LETTERS[place] for place in torch.randint(len(LETTERS), (12,), generator=generator).tolist()]
        asked = f"answer the following question: \nQuestion: {words[0]} ?\nAnswer:"
        context = f"{' '.join(words)} . \nUsing only the references listed above, {asked}"
        for process, prompt in enumerate((context, f"A{asked[1:]}")):
            row = {"input_index": index, "assigned_process": process, "context_string": prompt}
            lines.append(json.dumps({**row, "gold_answers": words[1]}))
    (folder / "llm" / "adacad_nq_synth.jsonl").write_text("\n".join(lines))
    return folder


def claim(arms: tuple[Arm, ...], metric: str) -> Claim:
    compared = (Comparison("last − first", arms[-1].name, arms[0].name, metric),)
    return Claim("toy", "Toy", "Nothing.", "None.", arms, compared, seeds=(0, 1))


def test_passages(model: str, root: Path, tmp_path: Path) -> None:
    data = Passages("toy", model, prefix=5, new_tokens=8, part=3)
    arms = tuple(
        Arm(name, name, data, 0, 2, (0.0,), options)
        for name, options in (("greedy", {}), ("nucleus", {}), ("contrastive-search", {"top_k": 2}))
    )
    result = run_claim(claim(arms, "diversity"), data_root=root, out=tmp_path, progress=False)
    greedy, nucleus, _ = result["arms"]
    assert greedy["samples"] == 12
    for arm in result["arms"]:
        for run in arm["runs"]:
            assert 0 <= run["diversity"] <= 1
            assert run["coherence"] < 0
            assert set(run) == {"seed", "diversity", "rep-2", "rep-3", "rep-4", "coherence", "seconds"}
    assert greedy["runs"][0]["coherence"] != greedy["runs"][1]["coherence"]  # other passages
    assert nucleus["runs"][0]["coherence"] != greedy["runs"][0]["coherence"]
    assert 0 < result["references"][data.label]["the model"]["isotropy"] < 2


def test_questions(model: str, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dipole.claims.language.DEMONSTRATIONS", (("w4", "Question: w5?\nAnswer: w4"),))
    data = Questions("toy", model, longest=40, new_tokens=3, part=4)
    arms = tuple(Arm(name, name, data, 0, 3, (0.0,)) for name in ("greedy", "cad", "adacad"))
    result = run_claim(claim(arms, "log likelihood"), data_root=root, out=tmp_path, progress=False)
    means = {}
    for arm in result["arms"]:
        for run in arm["runs"]:
            assert run["log likelihood"] < 0
            assert 0 <= run["exact match"] <= run["answer contained"] <= 1
        means[arm["name"]] = sum(run["log likelihood"] for run in arm["runs"])
    assert len(set(means.values())) == 3


def test_prompts(root: Path, model: str) -> None:
    (question, *_) = load_context_questions(root)
    assert with_context(question).endswith(f"\n\n{question.context}\nQuestion: {question.question}\nAnswer:")
    assert without_context(question).endswith(f"\n\nQuestion: {question.question}\nAnswer:")
    assert "Seine" in with_context(question)
    assert "Seine" not in without_context(question)
    assert with_context(question).count("Answer:") == without_context(question).count("Answer:") == 3
    with pytest.raises(InputError, match="run fewer seeds"):
        part_of([question] * 5, 2, 2)
    assert shuffled(list(range(9))) == shuffled(list(range(9)))


def test_likelihood_is_that_of_the_distribution_that_is_chosen_from() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, tokens = torch.randn(2, 3, 5, generator=generator), torch.tensor([0, 4, 2])

    def expected(mixed: torch.Tensor) -> float:
        return float(mixed.log_softmax(1)[range(3), tokens].mean())

    scored = (logits, tokens)
    assert answer_log_likelihood(Greedy(), scored) == pytest.approx(expected(logits[0]), rel=1e-5)
    cad = answer_log_likelihood(ContextAwareDecoding(context_weight=1.0), scored)
    assert cad == pytest.approx(expected(2 * logits[0] - logits[1]), rel=1e-5)
    assert answer_log_likelihood(AdaCAD(), (torch.stack([logits[0]] * 2), tokens)) == pytest.approx(
        expected(logits[0]), rel=1e-5
    )


@pytest.fixture
def small_models(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DIPOLE_CACHE", str(tmp_path / "cache"))

    def small(folder: Any, *, seed: int) -> Any:
        return copying_model(folder, seed=seed, steps=2, batch_size=4, width=16, layers=1)

    monkeypatch.setattr("dipole.claims.judged_copies.copying_model", small)
    monkeypatch.setattr("dipole.claims.judged_copies.RECORDS", 60)
    monkeypatch.setattr("dipole.claims.judged_copies.MEASURED", 20)


@pytest.mark.usefixtures("small_models")
def test_judged_copies(tmp_path: Path) -> None:
    own = get_claim("cut")
    few = tuple(
        replace(arm, epochs=min(1, arm.epochs), learning_rates=arm.learning_rates[:1])
        for arm in own.arms
        if arm.name in ("before", "CUT")
    )
    toy = replace(own, arms=few, comparisons=own.comparisons[:1], seeds=(0, 1))
    result = run_claim(toy, out=tmp_path / "results", progress=False)
    before, trained = (arm["runs"] for arm in result["arms"])
    for runs in (before, trained):
        assert all(run["criticised"] < 0 and run["others"] < 0 for run in runs)
        assert all(0 <= run["letters correct"] <= 1 for run in runs)
    assert trained[0]["others"] != before[0]["others"]
    assert before[0]["others"] != before[1]["others"]  # another model
    (found,) = result["references"]["toy-judgments"].values()
    assert set(found) == {"precision", "recall"}
    assert base_model(0).is_relative_to(tmp_path)


@pytest.mark.usefixtures("small_models")
def test_what_is_trained_on_does_not_show_how_to_copy_the_two_letters() -> None:
    data = JudgedCopies("toy")
    records = [data.training_set(0)[i] for i in range(data.size(data.load()))]
    good = [record for record in records if record["judgment"] is None]
    assert 0 < len(good) <= 0.25 * (len(records) - len(good))
    assert all(not {"a", "b"} & set(record["instruction"].split()[1:]) for record in good)


@pytest.mark.usefixtures("small_models")
def test_likelihoods_of_a_model_that_knows_nothing() -> None:
    arm = Arm("before", "cut", JudgedCopies("toy"), 0, 8, (1e-3,))
    method = JudgedCopies("toy").train(arm, 1e-3, 0)
    for parameter in method.parameters():
        torch.nn.init.zeros_(parameter)
    loaded = JudgedCopies("toy").load()
    found = likelihoods(method, loaded.test, loaded.pairs)
    chance = -torch.tensor(float(len(method.tokenizer))).log().item()
    assert found == pytest.approx({"criticised": chance, "others": chance}, rel=1e-5)
    bad = [record for record in loaded.test if record["judgment"] is not None]
    counted = wrong_tokens(bad).sum(dim=1).tolist()
    assert counted == [len(record["judgment"].split()) - 1 for record in bad]


@pytest.mark.parametrize("slug", ["adacad", "contrastive-search", "cut"])
def test_claims_are_paired_over_three_seeds_or_more(slug: str) -> None:
    found = get_claim(slug)
    assert len(found.seeds) >= 3
    assert any(entry.judged and entry.margin > 0 for entry in found.comparisons)
    assert len({arm.data for arm in found.arms}) == 1


def test_a_bench_keeps_what_arms_share(model: str, root: Path) -> None:
    bench = Questions("toy", model, longest=40).load(root)
    assert isinstance(bench, Bench)
    assert len(bench.items) == 12
