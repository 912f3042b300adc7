"""The page in a real browser: plots are drawn, nothing is thrown, nothing sticks out."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from dipole.claims.small_language_model import VIEWS, copying_model
from dipole.report import build_report
from dipole.runs import RunConfig, train
from dipole.runs.evaluate import evaluate
from dipole.runs.look import report
from text_models import bert_folder

CHROMIUM = shutil.which("chromium")

# Runs before anything else on the page; tells the surrounding page what happened.
PROBE = """<script>
const errors = [];
addEventListener("error", (event) => errors.push(String(event.message)));
addEventListener("unhandledrejection", (event) => errors.push(String(event.reason)));
console.error = (...parts) => errors.push(parts.join(" "));
function pointAt(dot) {
  if (!dot) return;
  const { x, y, width, height } = dot.getBoundingClientRect();
  const where = { bubbles: true, clientX: x + width / 2, clientY: y + height / 2 };
  const plane = document.querySelector("#plot-map .nsewdrag");
  for (const kind of ["mouseover", "mousemove"]) plane.dispatchEvent(new MouseEvent(kind, where));
}
// What sticks out of the page or of its card, unless it is in a box that scrolls or cuts.
function outside() {
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const own = element.getBoundingClientRect();
    if (!own.width || !own.height || element.closest("svg, #tip, noscript")) continue;
    let right = innerWidth, left = 0, cut = false;
    for (let box = element.parentElement; box && box !== document.body; box = box.parentElement) {
      if (getComputedStyle(box).overflowX !== "visible") { cut = true; break; }
      if (box.classList.contains("card")) {
        const card = box.getBoundingClientRect();
        right = Math.min(right, card.right); left = Math.max(left, card.left);
      }
    }
    if (!cut && (own.right > right + 1 || own.left < left - 1)) {
      const places = [own.left, own.right, left, right].map(Math.round).join(" ");
      found.push(`${element.tagName}.${element.className} ${places}`);
    }
  }
  return found;
}
addEventListener("load", () => setTimeout(() => pointAt(document.querySelector("#plot-map .point")), 300));
addEventListener("load", () => setTimeout(() => {
  const tip = document.getElementById("tip").hidden ? null : document.getElementById("tip-id").textContent;
  const slider = document.getElementById("epoch");
  if (slider) { slider.value = 0; slider.dispatchEvent(new Event("input")); }
  const factor = document.getElementById("factor");
  if (factor) { factor.value = 1; factor.dispatchEvent(new Event("change")); }
  parent.postMessage({
    errors,
    tip,
    drawn: [...document.querySelectorAll(".plot")].map((plot) => plot.querySelectorAll(".main-svg").length > 0),
    points: document.querySelectorAll("#plot-map .point").length,
    legend: [...document.querySelectorAll("#plot-map .legendtext")].map((text) => text.textContent),
    epoch: slider ? document.getElementById("epoch-shown").textContent : null,
    outside: outside(),
    width: innerWidth,
    content: document.documentElement.scrollWidth,
  }, "*");
}, 800));
</script>"""

FRAMES = """<body data-found="[]"><script>
const found = [];
addEventListener("message", (event) => {
  found.push(event.data);
  document.body.dataset.found = JSON.stringify(found);
});
</script><iframe src="probed.html" width="420" height="900"></iframe>
<iframe src="probed.html" width="1200" height="900"></iframe></body>"""


def visit(page: Path, profile: Path) -> list[dict[str, Any]]:
    """Load a page at 420 and at 1200 pixels."""
    text = page.read_text(encoding="utf-8")
    page.with_name("probed.html").write_text(text.replace("<head>", "<head>" + PROBE, 1), encoding="utf-8")
    frames = page.with_name("frames.html")
    frames.write_text(FRAMES, encoding="utf-8")
    options = (
        "--headless --no-sandbox --disable-gpu --disable-background-networking --no-first-run --disable-sync "
        "--disable-component-update --virtual-time-budget=20000 --window-size=1500,2000 --dump-dom"
    )
    command = [str(CHROMIUM), *options.split(), f"--user-data-dir={profile}", frames.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    content = re.search(r'data-found="([^"]*)"', done.stdout)
    assert content, done.stdout[:500]
    return json.loads(html.unescape(content[1]))


@pytest.mark.skipif(CHROMIUM is None, reason="no `chromium` on the PATH")
@pytest.mark.slow
def test_plots_are_drawn_without_errors(run_dir: Path, samples: dict[str, Any], tmp_path: Path) -> None:
    samples["class_names"]["label"] = ("a < b & c", "<img src=x onerror=console.error(1)>", "owl")
    page = build_report(run_dir, method="a" * 80, **samples)
    found = visit(page, tmp_path / "profile")
    assert sorted(one["width"] for one in found) == [420, 1200]
    for one in found:
        assert one["errors"] == []
        assert len(one["drawn"]) == 1 + 2 + 4 + 3
        assert all(one["drawn"])
        assert one["points"] >= 24
        assert one["legend"] == ["0", "1"]
        assert one["epoch"] == "epoch 0"
        assert one["tip"] in samples["ids"]
        assert one["content"] <= one["width"]
        assert one["outside"] == []


@pytest.mark.skipif(CHROMIUM is None, reason="no `chromium` on the PATH")
@pytest.mark.slow
def test_an_empty_page_has_no_errors(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for one in visit(build_report(run), tmp_path / "profile"):
        assert one["errors"] == []
        assert one["content"] <= one["width"]
        assert one["outside"] == []


SMALL_TOWERS = {"text_encoder": "bag-8", "embedding_dim": 8}
FIELDS: dict[str, dict[str, Any]] = {
    "simclr": {"epochs": 1, "method": {"encoder": "convnet4-2"}},
    "simcse": {"epochs": 1, "data": "toy-retrieval", "method": {"max_length": 16}},
    "clip": {"epochs": 1, "method": {"image_encoder": "convnet4-2", **SMALL_TOWERS}},
    "cloob": {"epochs": 1, "data": "sound-captions", "method": {"sound_encoder": "gru-4", **SMALL_TOWERS}},
    "cut": {"epochs": 1, "data": "toy-judgments", "batch_size": 8, "method": {"lora_rank": 4}, "views": dict(VIEWS)},
    "grace": {"epochs": 3, "method": {"hidden": 8}},
    "meow": {"epochs": 1, "method": {"clusters": [5, 9], "neighbours": 20, "hidden": 8, "width": 8}},
    "sasrec": {"epochs": 1, "method": {"width": 8, "max_length": 8}},
    "autotcl": {"epochs": 1, "method": {"hidden": 4, "depth": 2, "features": 8, "longest_kernel": 4}},
    "series-contrast": {
        "data": "toy-patterns",
        "epochs": 1,
        "method": {"hidden": 4, "depth": 2, "features": 8, "longest_kernel": 4},
    },
}


def field_report(name: str, folder: Path) -> Path:
    """Train a small run of a field, measure it, and return its report."""
    settings = RunConfig(name, precision="32-true", **FIELDS[name])
    if name == "simcse":
        settings.method = {**settings.method, "encoder": str(bert_folder())}
    if name == "cut":
        model = copying_model(folder / "letters", steps=0, width=16, layers=1)[0]
        settings.method = {**settings.method, "model": str(model)}
    run = train(settings, folder / "run", progress=False)
    # Ten drawings of labels would take a minute and look the same.
    few = {"protocols": ["few-labels"], "options": {"runs": 2}} if name == "meow" else {}
    evaluate(run.path, **few)
    return report(run.path)


@pytest.mark.skipif(CHROMIUM is None, reason="no `chromium` on the PATH")
@pytest.mark.slow
@pytest.mark.parametrize("name", FIELDS)
def test_nothing_lies_outside_in_the_reports_of_the_fields(name: str, tmp_path: Path) -> None:
    """Images, text, modalities, sound, language, a graph, several kinds of nodes, shops and series."""
    for one in visit(field_report(name, tmp_path), tmp_path / "profile"):
        assert one["errors"] == []
        assert one["outside"] == []
        assert one["content"] <= one["width"]
        assert all(one["drawn"])
