import json
from pathlib import Path

import pytest

from dipole.errors import InputError
from dipole.runs import Run, RunConfig, train
from dipole.runs.evaluate import evaluate
from dipole.runs.look import analyse_temperatures, report


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    method = {"encoder": "convnet4-4", "projection_dim": 8, "num_positives": 2}
    config = RunConfig("cacr", epochs=2, batch_size=256, method=method)
    return train(config, tmp_path_factory.mktemp("runs") / "run", progress=False)


def test_evaluate_writes_a_row_per_encoder(run: Run) -> None:
    result = evaluate(run.path, protocols=["knn"])
    assert [row["encoder"] for row in result.rows] == ["trained", "untrained", "raw pixels"]
    assert all(0.5 < row["knn"] <= 1 for row in result.rows)
    assert json.loads(run.evaluation.read_text())["rows"][0] == result.rows[0]


def test_evaluate_refuses_an_unknown_protocol(run: Run) -> None:
    with pytest.raises(InputError, match="knn, linear"):
        evaluate(run.path, protocols=["accuracy"])


def test_report_holds_every_section(run: Run) -> None:
    page = report(run.path).read_text(encoding="utf-8")
    assert "cacr on digits" in page
    assert "attraction" in page  # a training curve
    assert "t_positive" in page  # a setting
    assert page.count("data:image/") >= 1


def test_penalties_spread_as_the_temperature_rises(run: Run) -> None:
    rows = analyse_temperatures(run.path, [0.05, 0.5, 5.0])
    negatives = [row["effective_negatives"] for row in rows]
    assert negatives == sorted(negatives)
    assert negatives[-1] == pytest.approx(449, rel=1e-3)  # uniform over the other test images


def test_analysis_repeats_itself(run: Run) -> None:
    assert analyse_temperatures(run.path, [0.2]) == analyse_temperatures(run.path, [0.2])


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a run"):
        report(tmp_path)
