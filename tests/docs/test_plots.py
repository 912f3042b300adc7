import importlib.util
from pathlib import Path
from xml.etree import ElementTree

import pytest

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
