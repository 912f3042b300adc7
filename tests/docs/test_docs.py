"""The documentation says what is there: tables are current, examples run, commands and names exist, links lead on."""

import doctest
import importlib.util
import inspect
import json
import re
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
from algorithm import one_step_a_line

import dipole.losses
from dipole.cli import COMMANDS, main
from dipole.decoding.registry import decoders
from dipole.evaluation.protocols import protocols
from dipole.methods.registry import methods
from dipole.methods.wrapping import Wrapping
from dipole.runs import recipes

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(
    r"^(?:<!-- run(?P<slow>: slow)? -->\n)?```(?P<kind>\w*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, kind: str) -> list[re.Match[str]]:
    return [block for block in BLOCK.finditer(page.read_text(encoding="utf-8")) if block["kind"] == kind]


def marked(slow: bool) -> list[Any]:
    """The code of each page that is marked to be run, as one program: later blocks may use earlier ones."""
    found = []
    for page in PAGES:
        codes = [block for block in blocks(page, "python") if "<!-- run" in block[0] and bool(block["slow"]) == slow]
        if codes:
            found.append(pytest.param("\n".join(block["code"] for block in codes), id=name_of(page)))
    return found


@cache
def generate() -> ModuleType:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run(code: str) -> None:
    names: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, "example", "exec"), names)
    for thing in [value for value in names.values() if getattr(value, "__module__", None) == "example"]:
        for example in doctest.DocTestFinder(recurse=False).find(thing, globs=names, module=False):
            assert doctest.DocTestRunner().run(example).failed == 0


@pytest.mark.parametrize("code", marked(slow=False))
def test_examples_run(code: str) -> None:
    run(code)


@pytest.mark.slow
@pytest.mark.parametrize("code", marked(slow=True))
def test_examples_that_train_run(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(code)


def test_table_of_methods_in_the_readme_is_current() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert generate().readme_with_table(text) == text, "run python docs/generate.py"


def test_every_method_has_a_page_with_all_arguments_explained() -> None:
    pages = generate().pages()
    for name in methods():
        page = pages[f"methods/{name}.md"]
        assert f"`{name}`" in pages["methods/index.md"]
        # A method around another one has the optimiser of that one.
        assert "| `learning_rate` |" in page or issubclass(methods()[name], Wrapping)
        assert not re.findall(r"^\| `\w+` \| .* \|  \|$", page, re.MULTILINE)


def test_algorithms_have_one_step_a_line() -> None:
    algorithm = re.compile(r"^## Algorithm\n(.*?)^## Run it", re.MULTILINE | re.DOTALL)
    shared = re.compile(r"^    .*[^\s:] {3,}\d+\. ", re.MULTILINE)
    texts = {name: algorithm.findall(page) for name, page in generate().pages().items() if name != "methods/index.md"}
    assert all(len(found) == 1 for found in texts.values())
    assert not [name for name, [text] in texts.items() if shared.search(text)]
    assert "    1. draw two views of every image\n    2. z = projector(" in texts["methods/simclr.md"][0]


@pytest.mark.parametrize("name", sorted({**methods(), **decoders()}))
def test_algorithms_lose_no_word(name: str) -> None:
    text = generate().description({**methods(), **decoders()}[name])
    shown = one_step_a_line(text)
    assert shown.split() == text.split()
    assert [line for line in shown.split("\n") if line[:1] != " "] == [
        line for line in text.split("\n") if line[:1] != " "
    ]


def test_lines_that_go_on_with_a_step_move_with_it() -> None:
    text = "    at first: 1. a     2. b\n                          goes on\n              3. c\n        end\n\nx   2. y"
    shown = (
        "    at first: 1. a\n              2. b\n                 goes on\n              3. c\n        end\n\nx   2. y"
    )
    assert one_step_a_line(text) == shown


def test_methods_stand_under_their_fields_in_the_navigation() -> None:
    class Config:
        nav: ClassVar[list[Any]] = [{"Home": "index.md"}, {"Methods": "methods/index.md"}]

    [_, listed] = generate().on_config(Config()).nav
    index, *groups = listed["Methods"]
    assert index == "methods/index.md"
    found = {field: [name for page in pages for name in page] for group in groups for field, pages in group.items()}
    assert sorted(name for names in found.values() for name in names) == sorted({**methods(), **decoders()})
    assert "simclr" in found["Images"]
    assert "grace" in found["Graphs"]
    assert "adacad" in found["Language models"]
    page = generate().pages()["methods/index.md"]
    assert re.findall("^## (.*)$", page, re.MULTILINE) == list(found)
    assert all(page.count(f"[`{name}`]({name}.md)") == 1 for names in found.values() for name in names)


def test_losses_are_all_explained_and_none_is_invented() -> None:
    guide = "".join((ROOT / "docs" / page).read_text(encoding="utf-8") for page in ("losses.md", "formulas.md"))
    reference = (ROOT / "docs" / "api" / "losses.md").read_text(encoding="utf-8")
    public = set(dipole.losses.__all__)
    assert set(re.findall(r"\w+Loss\b|\b\w+_loss\b", guide)) <= public
    assert set(re.findall(r"\w+Loss\b|\b\w+_loss\b|(?<=dipole\.losses\.)\w+", reference)) == public
    assert {name for name in public if name.endswith("_loss")} <= set(re.findall(r"\w+", guide))


DOMAINS = ("images", "text", "multimodal", "language", "graph", "heterograph", "recommendation", "timeseries")
COMMAND = re.compile(r"dipole (?P<command>[a-z]+)(?P<rest>[^`\n]*)")


def commands() -> list[Any]:
    found = {}
    for page in PAGES:
        for block in blocks(page, "bash"):
            for line in block["code"].splitlines():
                match = COMMAND.match(line.split("#")[0].strip())
                if match:
                    found[match[0].strip()] = match
    return [pytest.param(match["command"], match["rest"].split(), id=line) for line, match in found.items()]


@pytest.mark.parametrize(("command", "arguments"), commands())
def test_commands_and_their_flags_exist(command: str, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert command in COMMANDS
    name = [] if command != "train" else ["simclr"] if arguments[0].startswith("--") else arguments[:1]
    assert set(name) <= {*methods(), *recipes()}
    if arguments[:1] == ["optimize"]:
        name = ["optimize"]
    if "--decoder" in arguments:  # it decides which other flags there are
        place = arguments.index("--decoder")
        name = ["x", *arguments[place : place + 2]]
    with pytest.raises(SystemExit):
        main([command, *name, "--help"])
    known = capsys.readouterr().out
    if "--protocol" in arguments:  # whose options are listed once the run is known
        asked = arguments[arguments.index("--protocol") + 1].split(",")
        every = [protocol for domain in DOMAINS for name, protocol in protocols(domain).items() if name in asked]
        known += "".join(
            f" --{option}" for each in every for option in ("protocol", *inspect.signature(each).parameters)
        )
    for flag in [argument for argument in arguments if argument.startswith("--")]:
        assert re.search(rf"{re.escape(flag.replace('-', '_').replace('__', '--', 1))}\b", known), flag


@pytest.mark.parametrize("page", [ROOT / "README.md", ROOT / "CONTRIBUTING.md"], ids=name_of)
def test_links_to_files_resolve(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
        assert (page.parent / target).is_file(), target


def stored_result(**changes: Any) -> dict[str, Any]:
    comparison = {
        "name": "kNN, batch 8",
        "treatment": "DCL",
        "baseline": "NT-Xent",
        "metric": "knn",
        "expected": "higher",
        "margin": 0.005,
        "judged": True,
        "effect": -0.0123,
        "interval": [-0.02, 0.001],
        "verdict": "inconclusive",
    }
    arms = [
        {
            "name": name,
            "method": method,
            "learning_rate": 0.06,
            "runs": [{"seed": seed, "knn": 0.5 + seed / 8, "seconds": 1.0} for seed in (0, 1)],
        }
        for name, method in (("DCL", "dcl"), ("NT-Xent", "simclr"))
    ]
    return {
        "slug": "dcl",
        "title": "Decoupled Contrastive Learning",
        "statement": "Small batches suffice.",
        "paper": "81.1 → 84.4",
        "verdict": "inconclusive",
        "summary": "0 of 1 comparisons reproduced",
        "comparisons": [comparison],
        "arms": arms,
        "references": {"digits": {"raw pixels": {"knn": 0.9, "linear": 0.95}}},
        "seeds": [0, 1],
        "settings": {},
        "data": ["digits"],
        "notes": ["Four epochs."],
        "provenance": {},
        "seconds": 120.0,
        "date": "2026-01-01",
        **changes,
    }


def test_claims_appear_where_they_belong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = generate()
    monkeypatch.setattr(module, "RESULTS", tmp_path)
    assert module.claim_list() == "No result is stored.\n"
    (tmp_path / "dcl.json").write_text(json.dumps(stored_result()), encoding="utf-8")
    page = module.claim_list()
    assert "−0.0123\u00a0[−0.0200,\u00a0+0.0010]" in page
    assert "[dcl](#dcl-inconclusive)" in page
    assert "| DCL | 0.06 | 0.562 |" in page
    assert "| raw pixels, digits | – | 0.900 |" in page
    verdicts = {line.split("|")[1].strip(): line.split("|")[5].strip() for line in module.method_table("").splitlines()}
    assert verdicts["[`dcl`](dcl.md)"] == "inconclusive; 0 of 1 comparisons reproduced"
    assert verdicts["[`dclw`](dclw.md)"] == verdicts["[`simclr`](simclr.md)"] == "–"
    assert "Small batches suffice." in module.method_page(methods()["dclw"])
