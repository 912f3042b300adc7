from pathlib import Path

import pytest

from dipole.errors import InputError
from dipole.evaluation.stored import with_earlier
from dipole.files import write_json
from dipole.report import build_report
from dipole.report.run_files import read_curves, read_diagnostics, read_evaluations, read_settings


def test_missing_files_are_none(tmp_path: Path) -> None:
    assert read_settings(tmp_path / "config.yaml") is None
    assert read_curves(tmp_path / "metrics.csv") is None
    assert read_diagnostics(tmp_path / "diagnostics.json") is None
    assert read_evaluations(tmp_path / "evaluation.json") == []


def test_settings_are_grouped_and_flat(run_dir: Path) -> None:
    settings = read_settings(run_dir / "config.yaml")
    assert settings == {
        "run": [("seed", "3")],
        "versions": [("torch", "2.9.1")],
        "method": [
            ("class_path", "dipole.methods.vision.DCL"),
            ("temperature", "0.1"),
            ("encoder.width", "32"),
            ("schedule", "10, 20"),
            ("gather", "no"),
            ("momentum", "none"),
        ],
    }


def test_curves_keep_finite_values_and_put_losses_first(run_dir: Path) -> None:
    curves = read_curves(run_dir / "metrics.csv", leave_out=("uniformity",))
    assert curves is not None
    assert [curve["name"] for curve in curves] == ["loss", "knn", "sparse"]
    assert curves[0] == {"name": "loss", "epochs": [0, 1], "values": [2.5, 1.5]}
    assert curves[2] == {"name": "sparse", "epochs": [1], "values": [4]}


def test_the_best_value_is_marked_and_shares_have_bars(run_dir: Path) -> None:
    [found] = read_evaluations(run_dir / "evaluation.json")
    assert found["rows"][0]["cells"][0] == {"text": "0.750", "share": "75.0%", "best": True}
    assert found["rows"][1]["cells"] == [
        {"text": "0.250", "share": "25.0%", "best": False},
        {"text": "31.500", "share": None, "best": True},
    ]
    (run_dir / "evaluation.json").write_text('{"protocols": ["sts"], "rows": [{"encoder": "trained"}]}')
    [found] = read_evaluations(run_dir / "evaluation.json")
    assert found["rows"][0]["cells"] == [{"text": "–", "share": None, "best": False}]


def test_pictures_and_intervals_are_read(tmp_path: Path) -> None:
    (tmp_path / "evaluation.json").write_text(
        '{"protocols": ["a"], "rows": [{"encoder": "x", "a": 0.5}], "intervals": {"x": {"a": [0.25, 0.75]}}, '
        '"pictures": [{"title": "t", "lead": "l", "figure": {"data": []}}]}'
    )
    [found] = read_evaluations(tmp_path / "evaluation.json")
    assert found["rows"][0]["cells"][0]["text"] == "0.500 [0.250, 0.750]"
    assert found["pictures"] == [{"title": "t", "lead": "l", "figure": {"data": []}}]


def test_the_smallest_error_is_the_best(tmp_path: Path) -> None:
    rows = '[{"encoder": "a", "mean MSE": 0.5, "MAE 24": 0.1}, {"encoder": "b", "mean MSE": 0.4, "MAE 24": 0.2}]'
    (tmp_path / "evaluation.json").write_text(f'{{"protocols": ["mean MSE", "MAE 24"], "rows": {rows}}}')
    [found] = read_evaluations(tmp_path / "evaluation.json")
    assert [[cell["best"] for cell in row["cells"]] for row in found["rows"]] == [[False, True], [True, False]]
    assert all(cell["share"] is None for row in found["rows"] for cell in row["cells"])


def test_tables_by_several_protocols_stand_one_after_the_other(run_dir: Path) -> None:
    few = {"protocols": ["5 labels"], "rows": [{"encoder": "trained", "5 labels": 0.5}], "data": "/else/where/birds"}
    knn = {"protocols": ["knn"], "rows": [{"encoder": "trained", "knn": 0.75}], "data": "/else/where/digits"}
    content = with_earlier(few, "a", with_earlier(knn, "a", None))
    write_json(run_dir / "evaluation.json", content)
    found = read_evaluations(run_dir / "evaluation.json")
    assert [table["protocols"] for table in found] == [["knn"], ["5 labels"]]
    assert [table["data"] for table in found] == ["digits", "birds"]
    page = build_report(run_dir).read_text(encoding="utf-8")
    assert page.index("<caption>On digits</caption>") < page.index("<caption>On birds</caption>")
    assert "/else/where" not in page


@pytest.mark.parametrize("content", ["[1, 2]", "{broken", "text"])
def test_settings_that_are_no_mapping_are_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "config.yaml").write_text(content)
    with pytest.raises(InputError, match=r"config\.yaml"):
        read_settings(tmp_path / "config.yaml")


def test_other_json_is_refused(tmp_path: Path) -> None:
    for content in ('{"rows": 3}', '{"earlier": [{"rows": 3}], "protocols": [], "rows": []}', "[1]"):
        (tmp_path / "evaluation.json").write_text(content)
        with pytest.raises(InputError, match="not what `dipole evaluate` writes"):
            read_evaluations(tmp_path / "evaluation.json")
    (tmp_path / "diagnostics.json").write_text('{"epochs": []}')
    assert read_diagnostics(tmp_path / "diagnostics.json") is None
