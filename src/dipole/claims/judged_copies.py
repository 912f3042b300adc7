"""Experiments on judged responses: a small model that has learned wrong copies of two letters."""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from dipole.claims.base import Arm, Claim, Data, Metrics
from dipole.claims.small_language_model import VIEWS, copying_model
from dipole.claims.training import run_config
from dipole.data.language import JudgmentPairs, toy_judgments
from dipole.data.language.toy import CONFUSED, LENGTH
from dipole.data.text import MemoryTextSet
from dipole.files import cache_folder
from dipole.losses import inappropriate_tokens
from dipole.methods.language.cut import CUT
from dipole.runs import build_method, load, train

TRAINING, VALIDATION, TEST = 1_000_000, 2_000_000, 2_000_001  # seeds of records; demonstrations have lower ones
RECORDS = 1600
MEASURED = 300


@dataclass
class Records:
    """What is measured on.

    Args:
        validation: chooses learning rates.
        test: judges.
        pairs: makes prompts and responses.
    """

    validation: list[dict[str, Any]]
    test: list[dict[str, Any]]
    pairs: JudgmentPairs = field(default_factory=lambda: JudgmentPairs(**VIEWS))


@dataclass(frozen=True)
class JudgedCopies(Data):
    """Letters that are copied, an `a` and a `b` wrongly in three of four demonstrations, and judgments of the copies.

    Every seed has a model of its own, trained from scratch on such demonstrations, with and without judgments. What is
    then trained on are judged copies; the satisfactory ones among them hold neither letter, so that nothing shows how
    to copy them.

    Args:
        name: of the records.
        satisfactory_ratio: satisfactory copies for each unsatisfactory one.
    """

    name: str
    satisfactory_ratio: float = 0.25

    tuning_metric = "letters correct"
    tuning = "learning rate by the share of letters that are copied correctly, on other instructions"

    def load(self, data_root: str | Path | None = None) -> Records:
        """Generate what is measured on."""
        return Records(toy_judgments(MEASURED, VALIDATION), toy_judgments(MEASURED, TEST))

    def size(self, loaded: Records) -> int:
        """Number of judged copies of the first seed."""
        return len(self.training_set(0))

    def once(self, claim: Claim, arm: Arm, rate: float, seed: int, loaded: Records, *, tune: bool) -> Metrics:
        """Train on judged copies; log likelihoods are of tokens after the instruction alone."""
        method = self.train(arm, rate, seed)
        records = loaded.validation if tune else loaded.test
        return {**copying(method, records, loaded.pairs), **likelihoods(method, records, loaded.pairs)}

    def train(self, arm: Arm, rate: float, seed: int) -> CUT:
        """Train the method of an arm; with no epochs, build it only."""
        config = run_config(arm, self.name, rate, seed, {"model": str(base_model(seed))}, views=dict(VIEWS))
        if arm.epochs == 0:
            return cast(CUT, build_method(arm.method, config.method, seed=seed).eval())
        with tempfile.TemporaryDirectory() as folder:
            run = train(config, Path(folder) / "run", sets=self.training_set(seed), monitor=False, progress=False)
            return cast(CUT, load(run.path))

    def training_set(self, seed: int) -> MemoryTextSet:
        """Return the judged copies of a seed."""
        records = toy_judgments(RECORDS, TRAINING + seed)
        bad = [record for record in records if record["judgment"] is not None]
        good = [record for record in records if not set(CONFUSED) & set(record["instruction"].split())]
        return MemoryTextSet([*bad, *good[: int(self.satisfactory_ratio * len(bad))]], self.name)

    def references(self, claim: Claim, arm: Arm, loaded: Records) -> dict[str, dict[str, float]]:
        """How well the judgment tells the wrong letters, with the model of the first seed before training."""
        method = cast(CUT, build_method("cut", {"model": str(base_model(claim.seeds[0]))}).eval())
        threshold = max(float(each.options.get("threshold", 1.1)) for each in claim.arms)
        records = [record for record in loaded.test if record["judgment"] is not None]
        views = loaded.pairs(records, method.tokenizer)
        with torch.no_grad():
            judged, plain = (method.score(views, which, views["is_negative"]).log_probability for which in (0, 1))
        flagged = inappropriate_tokens(judged, plain, threshold=threshold).view(-1, LENGTH + 1)
        wrong = wrong_tokens(records)
        hits = float((flagged & wrong).sum())
        return {
            "inappropriate tokens of the model before training": {
                "precision": hits / max(1.0, float(flagged.sum())),
                "recall": hits / float(wrong.sum()),
            }
        }


def base_model(seed: int) -> Path:
    """Return the folder of a model that copies as its demonstrations do; made once for each seed, in some seconds."""
    folder = cache_folder() / f"copying-model-{seed}"
    if not (folder / "trained").is_file():
        _, loss = copying_model(folder, seed=seed)
        (folder / "trained").write_text(f"{loss:.3f} nats a token\n", encoding="utf-8")
    return folder


def wrong_tokens(records: list[dict[str, Any]]) -> Tensor:
    """Return which of the letters of each response, and its end, are wrong.

    Example:
        >>> wrong_tokens([{"instruction": "Copy: a c", "response": "k c"}]).tolist()
        [[True, False, False]]
    """
    pairs = [(record["instruction"].removeprefix("Copy: ").split(), record["response"].split()) for record in records]
    return torch.tensor([[*(a != b for a, b in zip(*pair, strict=True)), False] for pair in pairs])


@torch.no_grad()
def likelihoods(method: CUT, records: list[dict[str, Any]], pairs: JudgmentPairs) -> dict[str, float]:
    """Return the mean log likelihood of wrong tokens and of the others in unsatisfactory responses."""
    bad = [record for record in records if record["judgment"] is not None]
    views = pairs(bad, method.tokenizer)
    tokens = method.score(views, 1, views["is_negative"]).log_probability.view(len(bad), -1)
    wrong = wrong_tokens(bad)
    return {"criticised": float(tokens[wrong].mean()), "others": float(tokens[~wrong].mean())}


@torch.no_grad()
def copying(method: CUT, records: list[dict[str, Any]], pairs: JudgmentPairs) -> dict[str, float]:
    """Return the share of letters that the model would copy correctly after correct ones."""
    letters = [record["instruction"].removeprefix("Copy: ") for record in records]
    right = [{"instruction": f"Copy: {each}", "response": each, "judgment": None} for each in letters]
    views = pairs(right, method.tokenizer)
    ids, mask, labels = (views[name][0] for name in ("input_ids", "attention_mask", "labels"))
    guessed = method.language_model(input_ids=ids, attention_mask=mask).logits[:, :-1].argmax(dim=-1)
    scored = labels[:, 1:] != -100
    correct = (guessed == labels[:, 1:])[scored].view(len(records), -1)[:, :LENGTH]
    confused = torch.tensor([[letter in CONFUSED for letter in each.split()] for each in letters])
    return {
        "letters correct": float(correct.double().mean()),
        "confused letters correct": float(correct[confused].double().mean()),
        "other letters correct": float(correct[~confused].double().mean()),
    }
