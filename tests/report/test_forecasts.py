"""Forecasts on the page."""

import json
from pathlib import Path

import pytest

from dipole.errors import InputError
from dipole.report import ForecastPlot, build_report

PLOT = ForecastPlot("load <b>", ["1", "2"], [0.12345, None], ["3"], [1.0], [2.0])


def test_forecasts_are_drawn_and_cannot_break_the_page(tmp_path: Path) -> None:
    page = build_report(tmp_path, forecasts=[PLOT]).read_text(encoding="utf-8")
    data = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert data["forecasts"][0]["past"] == [0.1235, None]
    assert "load <b>" not in page
    assert 'id="plots-forecasts"' in page
    assert 'id="plots-forecasts"' not in build_report(tmp_path).read_text(encoding="utf-8").split("<noscript>")[0]


@pytest.mark.parametrize(
    ("past", "actual", "predicted"), [([1.0], [1.0], [1.0]), ([1.0, 2.0], [], [1.0]), ([1.0, 2.0], [1.0], [1.0, 2.0])]
)
def test_values_and_times_belong_together(past: list[float], actual: list[float], predicted: list[float]) -> None:
    with pytest.raises(InputError, match="expected a value for each time"):
        ForecastPlot("x", ["1", "2"], past, ["3"], actual, predicted)
