import importlib.util
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from effects import COLOURS, LEFT, WIDTH, anchor, effect_plot

from dipole.claims.results import load_results

DOCS = Path(__file__).parents[2] / "docs"
SPEC = importlib.util.spec_from_file_location("docs_plots", DOCS / "plots.py")
assert SPEC is not None
assert SPEC.loader is not None
PLOTS = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(PLOTS)


@pytest.mark.parametrize("name", PLOTS.PLOTS)
def test_plots_show_the_stored_results(name: str) -> None:
    content = PLOTS.PLOTS[name]()
    assert PLOTS.current(name, content), "run python docs/plots.py"
    ElementTree.fromstring(content)


def result(slug: str, verdict: str, *comparisons: dict[str, Any]) -> dict[str, Any]:
    return {"slug": slug, "verdict": verdict, "comparisons": list(comparisons)}


def comparison(**changes: Any) -> dict[str, Any]:
    return {
        "name": "kNN < all",
        "treatment": "DCL",
        "baseline": "NT-Xent",
        "metric": "knn",
        "expected": "higher",
        "margin": 0.01,
        "judged": True,
        "effect": 0.04,
        "interval": [0.02, 0.09],
        "verdict": "reproduced",
        **changes,
    }


def drawn(results: dict[str, Any]) -> ElementTree.Element:
    return ElementTree.fromstring(effect_plot(results).replace(" data-search-exclude", ""))


def test_every_comparison_of_every_claim_is_drawn_with_its_figures() -> None:
    results = load_results()
    figure = drawn(results)
    titles = [element.text for element in figure.iter("title")]
    compared = [entry for found in results.values() for entry in found["comparisons"]]
    assert len(titles) == len(list(figure.iter("circle"))) == len(compared) > 0
    assert all(any(f"{entry['effect']:+.4f}" in title for title in titles) for entry in compared)
    assert {link.get("href") for link in figure.iter("a")} == {anchor(found) for found in results.values()}
    places = [float(circle.get("cx")) for circle in figure.iter("circle")]
    assert min(places) >= LEFT
    assert max(places) <= WIDTH


def test_effects_point_to_the_right_where_they_are_as_expected() -> None:
    falls = comparison(expected="lower", effect=-0.04, interval=[-0.09, -0.02])
    wrong = comparison(expected="lower", verdict="not reproduced")
    kept = comparison(expected="not lower", margin=0.02, effect=-0.001, interval=[-0.03, 0.01], verdict="inconclusive")
    figure = drawn({"a": result("a", "not reproduced", comparison(), falls, wrong, kept)})
    zero = next(
        float(path.get("d").split(" ")[0][1:]) for path in figure.iter("path") if path.get("stroke-opacity") == "0.9"
    )
    rise, fall, other, within = (float(circle.get("cx")) for circle in figure.iter("circle"))
    assert rise == fall > zero
    assert other == pytest.approx(2 * zero - rise, abs=0.11)
    groups = list(figure.iter("g"))
    low, high = (
        float(end) for end in re.findall(r"M([\d.]+) [\d.]+H([\d.]+)", groups[1].findall("path")[1].get("d"))[0]
    )
    assert low < fall < high
    assert float(groups[3].findall("path")[0].get("d").split(" ")[0][1:]) < within < zero


def test_what_is_only_reported_is_a_ring() -> None:
    figure = drawn({"a": result("a", "reproduced", comparison(), comparison(judged=False))})
    assert [circle.get("fill") for circle in figure.iter("circle")] == [COLOURS["reproduced"], "none"]


def test_without_results_there_is_no_plot() -> None:
    assert effect_plot({}) == ""
