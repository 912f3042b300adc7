"""The built site: no warning, no network, every function and command has its place, and pages fit a phone."""

import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import dipole.losses
from dipole.cli import COMMANDS
from dipole.methods.registry import methods

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
PACKAGES = [
    *("losses", "ops", "views", "nn", "negatives", "decoding"),
    *("data", "evaluation", "diagnostics", "report", "runs"),
]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SAMPLE = [
    *("index", "choose", "formulas", "claims", "gallery", "quickstart", "evaluation", "tutorials/photos"),
    *("tutorials/language-model", "methods/index", "methods/dcl", "methods/pot", "commands/dipole-train", "api/losses"),
]
# Loads pages in frames as wide as a phone and says how wide they become, and how their formulas were set.
MEASURE = """<body><script>
const found = {}, pages = PAGES;
for (const page of pages) {
  const frame = document.createElement("iframe");
  frame.width = 420; frame.height = 800; frame.src = page + ".html";
  frame.onload = () => setTimeout(() => {
    const inside = frame.contentDocument;
    found[page] = [inside.documentElement.scrollWidth, inside.querySelectorAll(".arithmatex").length,
      inside.querySelectorAll(".arithmatex .katex").length, inside.querySelectorAll(".katex-error").length];
    if (Object.keys(found).length == pages.length) {
      const result = document.createElement("pre");
      result.textContent = JSON.stringify(found);
      document.body.replaceChildren(result);
    }
  }, 500);
  document.body.append(frame);
}
</script></body>"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for package in ("mkdocs", "mkdocstrings", "mike"):
        pytest.importorskip(package, reason="pip install 'dipole[docs]'")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(out)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return out


def test_it_needs_no_network(site: Path) -> None:
    pages = list(site.rglob("*.html"))
    assert len(pages) > len(methods())
    loaded = re.compile(r"<(?:script|img|iframe)[^>]*\bsrc=\"https?:|<link[^>]*stylesheet[^>]*https?:|url\(https?:")
    for page in pages:
        assert not loaded.search(page.read_text(encoding="utf-8")), page
    assert not loaded.search((site / "katex" / "katex.min.css").read_text(encoding="utf-8"))


def test_functions_and_commands_have_their_places(site: Path) -> None:
    missing = []
    for name in PACKAGES:
        module = __import__(f"dipole.{name}", fromlist=["__all__"])
        text = (site / "api" / f"{name}.html").read_text(encoding="utf-8")
        for thing in module.__all__:
            # A function may have the name of its file. Module twins of losses stand in the tables of their functions.
            places = [f'id="dipole.{name}.{place}"' for place in (thing, f"{thing}.{thing}")]
            if thing not in text if thing.endswith("Loss") else not any(place in text for place in places):
                missing.append(f"{name}.{thing}")
    assert not missing
    for command in COMMANDS:
        text = html.unescape((site / "commands" / f"dipole-{command}.html").read_text(encoding="utf-8"))
        assert f"usage: dipole {command}" in text


def test_search_finds_losses_methods_and_tutorials(site: Path) -> None:
    index = json.loads((site / "search" / "search_index.json").read_text(encoding="utf-8"))
    places = {entry["location"].split("#")[0] for entry in index["docs"]}
    assert {"tutorials/photos.html", "methods/simclr.html", "commands/dipole-train.html", "choose.html"} <= places
    titles = " ".join(entry["title"] for entry in index["docs"])
    assert not [name for name in dipole.losses.__all__ if name not in titles and not name.endswith("Loss")]


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium")
def test_pages_fit_a_phone_and_formulas_are_set_without_a_network(site: Path) -> None:
    assert CHROMIUM is not None
    (site / "measure.html").write_text(MEASURE.replace("PAGES", json.dumps(SAMPLE)), encoding="utf-8")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    offline = ["--allow-file-access-from-files", "--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=20000"]
    command = [CHROMIUM, *flags, *offline, "--dump-dom", (site / "measure.html").as_uri()]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    written = re.search(r"<pre>(.*?)</pre>", result.stdout)
    assert written is not None, result.stderr[-2000:]
    found = json.loads(html.unescape(written[1]))
    assert not {page: width for page, (width, *_) in found.items() if width > 420}
    assert found["formulas"][1] > 40
    assert all(set_ >= formulas and not errors for _, formulas, set_, errors in found.values())
