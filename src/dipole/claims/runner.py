"""Run the experiment of a claim: choose learning rates, train every arm with every seed, compare."""

import datetime
import hashlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dipole.claims.base import Arm, Claim, Data, metrics_by_seed
from dipole.claims.results import FOLDER
from dipole.claims.statistics import REPRODUCED, overall, paired_effect, verdict
from dipole.errors import InputError
from dipole.files import write_json
from dipole.runs.config import provenance


def run_claim(
    claim: Claim,
    *,
    seeds: int | None = None,
    data_root: str | Path | None = None,
    out: str | Path = FOLDER,
    progress: bool = True,
) -> dict[str, Any]:
    """Run the experiment of a claim and write `<slug>.json`.

    Runs that are done are kept beside the result until it is whole, so that an interrupted experiment continues.

    Args:
        claim: the claim.
        seeds: number of seeds, 2 or more; those of the claim if it is None.
        data_root: folder of named data sets.
        out: folder of the result.
        progress: show a progress bar with the time that remains.

    Returns:
        The result, as it was written.

    Raises:
        InputError: data are missing, the folder cannot be written, or a run has diverged.
    """
    chosen = claim.seeds if seeds is None else tuple(range(seeds))
    if len(chosen) < 2 or claim.tuning_seed in chosen:
        raise InputError(f"--seeds {seeds}: expected 2 to {claim.tuning_seed}; an interval needs paired runs.")
    out = Path(out)
    loaded = {arm.data: arm.data.load(data_root) for arm in claim.arms}  # what is missing is missed at once
    journal = Journal(out / f".{claim.slug}.runs.jsonl")
    total = sum(len(chosen) + (len(arm.learning_rates) if len(arm.learning_rates) > 1 else 0) for arm in claim.arms)
    with _bar(claim.slug, total) if progress else nullcontext() as bar:
        laboratory = _Laboratory(claim, loaded, journal, bar)
        arms = [laboratory.run(arm, chosen) for arm in claim.arms]
    first = {arm.data: arm for arm in reversed(claim.arms)}
    references = {data.label: data.references(claim, first[data], found) for data, found in loaded.items()}
    result = _result(claim, chosen, arms, references)
    write_json(out / f"{claim.slug}.json", result)
    journal.remove()
    return result


class Journal:
    """The runs that are done, one line of JSON each; a line that was cut short is left out.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entries: dict[str, dict[str, Any]] = {}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
        except OSError as error:
            raise InputError(f"cannot use {path.parent} for results: {error.strerror}. Give another --out.") from error
        if not os.access(path.parent, os.W_OK):
            raise InputError(f"{path.parent} cannot be written: give another folder with --out.")
        for line in lines:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            self.entries[entry["key"]] = entry["run"]

    def add(self, key: str, run: dict[str, Any]) -> None:
        """Append a run and make sure that it is on the disk."""
        self.entries[key] = run
        with self.path.open("a", encoding="utf-8") as file:
            file.write("\n" if _ends_within_a_line(self.path) else "")
            file.write(json.dumps({"key": key, "run": run}) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def remove(self) -> None:
        """Delete the file once the result holds its content."""
        self.path.unlink(missing_ok=True)


def _ends_within_a_line(path: Path) -> bool:
    """Whether the last write to a file was cut short."""
    content = path.read_bytes()
    return bool(content) and not content.endswith(b"\n")


class _Laboratory:
    """Trains and measures the arms of one claim."""

    def __init__(self, claim: Claim, loaded: Mapping[Data, Any], journal: Journal, bar: Progress | None) -> None:
        self.claim, self.loaded, self.journal, self.bar = claim, loaded, journal, bar

    def run(self, arm: Arm, seeds: Sequence[int]) -> dict[str, Any]:
        """Choose the learning rate of an arm, then train it with every seed."""
        rates, metric = arm.learning_rates, arm.data.tuning_metric
        tuning: list[dict[str, float]] = []
        if len(rates) > 1:
            for rate in rates:
                run = self._once(arm, rate, self.claim.tuning_seed, tune=True)
                tuning.append({"learning_rate": rate, metric: run[metric], "seconds": run["seconds"]})
        rate = max(tuning, key=lambda row: row[metric])["learning_rate"] if tuning else rates[0]
        runs = [self._once(arm, rate, seed, tune=False) for seed in seeds]
        return {
            **json.loads(json.dumps(asdict(arm))),
            "learning_rate": rate,
            "tuning": tuning,
            "samples": arm.data.size(self.loaded[arm.data]),
            "runs": runs,
        }

    def _once(self, arm: Arm, rate: float, seed: int, *, tune: bool) -> dict[str, Any]:
        """One run, made now or found in the journal."""
        key = _key(self.claim, arm, rate, seed, tune)
        if key not in self.journal.entries:
            if self.bar is not None:
                what = f"tuning, rate {rate:g}" if tune else f"seed {seed}"
                self.bar.update(self.bar.task_ids[0], description=f"{arm.name}, {what}")
            began = time.monotonic()
            metrics = arm.data.once(self.claim, arm, rate, seed, self.loaded[arm.data], tune=tune)
            self.journal.add(key, {"seed": seed, **metrics, "seconds": round(time.monotonic() - began, 2)})
        if self.bar is not None:
            self.bar.advance(self.bar.task_ids[0])
        return self.journal.entries[key]


def _key(claim: Claim, arm: Arm, rate: float, seed: int, tune: bool) -> str:
    """A name of a run that changes with its settings and with the versions it is computed with."""
    versions = {name: value for name, value in provenance().items() if name in ("dipole", "torch")}
    content = [asdict(arm), rate, seed, tune, claim.neighbours, versions]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _bar(slug: str, total: int) -> Progress:
    """A progress bar over all runs of a claim."""
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
    )
    bar.add_task(slug, total=total)
    return bar


def _result(
    claim: Claim, seeds: Sequence[int], arms: list[dict[str, Any]], references: dict[str, Any]
) -> dict[str, Any]:
    """Everything that is worth keeping, ready for JSON."""
    times = [run["seconds"] for arm in arms for run in [*arm["runs"], *arm["tuning"]]]
    return {
        "slug": claim.slug,
        "title": claim.title,
        "statement": claim.statement,
        "paper": claim.paper,
        **_judge([asdict(entry) for entry in claim.comparisons], arms),
        "arms": arms,
        "references": references,
        "seeds": list(seeds),
        "settings": {
            "tuning_seed": claim.tuning_seed,
            "tuning": claim.arms[0].data.tuning,
            "neighbours": claim.neighbours,
            "interval": "95 %, Student's t over paired seeds",
            "precision": "32-true",
        },
        "data": list(claim.data),
        "notes": list(claim.notes),
        "provenance": provenance(),
        "seconds": round(sum(times), 1),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def judge_again(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a stored result with the verdicts that its runs have by the rule of today; nothing is run.

    Args:
        result: see `load_results`.

    Raises:
        InputError: a run lacks a metric that is compared.

    Example:
        >>> from dipole.claims.results import load_results
        >>> stored = load_results()["dcl"]
        >>> judge_again(stored) == stored
        True
    """
    return {**result, **_judge(result["comparisons"], result["arms"])}


def _judge(comparisons: Sequence[Mapping[str, Any]], arms: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The verdict of a claim, a summary, and its comparisons with their effects."""
    runs = {arm["name"]: arm["runs"] for arm in arms}
    compared = [_compare(entry, runs) for entry in comparisons]
    judged = [entry["verdict"] for entry in compared if entry["judged"]]
    return {
        "verdict": overall(judged),
        "summary": f"{judged.count(REPRODUCED)} of {len(judged)} comparisons reproduced",
        "comparisons": compared,
    }


def _compare(entry: Mapping[str, Any], runs: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """One comparison with its effect, interval and verdict."""
    treatment = metrics_by_seed(runs[entry["treatment"]], entry["metric"])
    baseline = metrics_by_seed(runs[entry["baseline"]], entry["metric"])
    effect = paired_effect(treatment.tolist(), baseline.tolist())
    return {
        **entry,
        "treatment_mean": float(treatment.mean()),
        "baseline_mean": float(baseline.mean()),
        "effect": effect.mean,
        "interval": list(effect.interval),
        "verdict": verdict(effect, entry["expected"], entry["margin"]),
    }
