"""Pairs that belong together, told by any text encoder."""

import json
from pathlib import Path
from typing import Any

import pytest

from dipole.cli import main
from dipole.data.text import toy_triplets
from dipole.runs import RunConfig, train
from dipole.runs.evaluate import evaluate
from text_models import bert_folder

DOMAINS = ["cooking", "music", "medicine", "sailing", "farming", "football"]


def pairs(path: Path, **changes: Any) -> Path:
    records = [
        {"first": t["text"], "second": t[side], "label": int(side == "positive"), "domain": t["domain"], **changes}
        for t in toy_triplets(60)
        for side in ("positive", "negative")
    ]
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def test_a_model_from_elsewhere_is_measured_and_left_alone(tmp_path: Path) -> None:
    before = sorted(path.name for path in bert_folder().iterdir())
    result = evaluate(bert_folder(), protocols=["pairs"], data=str(pairs(tmp_path / "pairs.jsonl")))
    (row,) = result.rows
    assert 0.5 < row["F1max"] <= 1
    assert 0 <= row["AUC"] <= 1
    assert sorted(path.name for path in bert_folder().iterdir()) == before
    assert {"toy-sts", "ndcg@10"} <= set(evaluate(bert_folder()).protocols)


def test_experts_are_measured_domain_by_domain(tmp_path: Path) -> None:
    method = {"encoder": str(bert_folder()), "max_length": 16, "domains": DOMAINS}
    config = RunConfig("cocitation-moe", data="toy-triplets", epochs=1, batch_size=256, method=method)
    done = train(config, tmp_path / "run", monitor=False, progress=False)
    result = evaluate(done.path, protocols=["pairs"], data=str(pairs(tmp_path / "pairs.jsonl")))
    assert {"F1max", *(f"F1max {domain}" for domain in DOMAINS)} <= set(result.protocols)
    assert [row["encoder"] for row in result.rows] == ["trained", "untrained"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "needs --data"),
        (["--data", "toy-sentences"], "no column 'first'"),
        (["--data", "LABELS"], "label 7 is neither"),
        (["--data", "ONE"], "all pairs have the same label"),
    ],
)
def test_wrong_input_is_one_line(
    flags: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {"LABELS": {"label": 7}, "ONE": {"label": 1}}
    flags = [str(pairs(tmp_path / "p.jsonl", **files[flag])) if flag in files else flag for flag in flags]
    assert main(["evaluate", str(bert_folder()), "--protocol", "pairs", *flags]) == 2
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
