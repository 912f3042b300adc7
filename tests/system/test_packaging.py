"""What surrounds the package says what is there: workflows call targets that exist, versions agree, links lead on."""

import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
MAKE = shutil.which("make")


def read(name: str) -> Any:
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def steps(workflow: Path) -> list[dict[str, Any]]:
    jobs = yaml.safe_load(workflow.read_text(encoding="utf-8"))["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


def test_workflows_call_targets_of_the_makefile() -> None:
    called = {
        target
        for workflow in WORKFLOWS
        for step in steps(workflow)
        for target in re.findall(r"\bmake ([a-z]+)", step.get("run", ""))
    }
    assert called == {"test", "docs", "publish", "wheel", "notes"}
    assert called <= TARGETS


def test_tests_run_on_every_python_that_the_package_promises() -> None:
    matrix = read(".github/workflows/tests.yml")["jobs"]["tests"]["strategy"]["matrix"]
    assert PROJECT["requires-python"] == f">={matrix['python'][0]}"
    assert {text.rsplit(" ", 1)[1] for text in PROJECT["classifiers"] if "Python :: 3." in text} <= {*matrix["python"]}
    assert {system.split("-")[0] for system in matrix["os"]} == {"ubuntu", "macos"}


def test_no_workflow_holds_a_stored_token() -> None:
    assert WORKFLOWS
    for workflow in WORKFLOWS:
        assert "secrets." not in workflow.read_text(encoding="utf-8")
    publish = read(".github/workflows/release.yml")["jobs"]["publish"]
    assert publish["permissions"] == {"id-token": "write"}


def test_the_citation_is_of_this_version() -> None:
    citation = read("CITATION.cff")
    assert (citation["version"], citation["license"]) == (PROJECT["version"], PROJECT["license"])
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation)


@pytest.mark.skipif(MAKE is None, reason="no `make` on the PATH")
def test_release_notes_are_a_part_of_the_changelog() -> None:
    def notes(version: str) -> "subprocess.CompletedProcess[str]":
        command = ["make", "--silent", "notes", f"VERSION={version}"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)

    found = notes(PROJECT["version"])
    assert found.returncode == 0
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert found.stdout.strip()
    assert found.stdout in text
    assert "\n## " not in found.stdout
    assert notes("99.0.0").returncode != 0


def test_pre_commit_calls_what_is_there() -> None:
    for hook in [hook for repo in read(".pre-commit-config.yaml")["repos"] for hook in repo["hooks"]]:
        words = hook["entry"].split()
        assert words[0] != "make" or words[1] in TARGETS
        assert all((ROOT / word).is_file() for word in words if word.endswith(".py"))


def test_the_dockerfile_copies_and_asks_for_what_is_there() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    for source in re.findall(r"^COPY (?!--)(\S+)", text, re.MULTILINE):
        assert (ROOT / source).exists()
    [extras] = re.findall(r"^ARG EXTRAS=(\S+)", text, re.MULTILINE)
    assert set(extras.split(",")) <= set(PROJECT["optional-dependencies"])


@pytest.mark.parametrize("name", ["SECURITY.md", "CODE_OF_CONDUCT.md"])
def test_files_that_are_named_exist(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    named = re.findall(r"`(\w+/\w+\.py)`", text)
    assert all((ROOT / "src" / "dipole" / path).is_file() for path in named)
    links = re.findall(r"\]\((?!https?:)([^)#]+)", text)
    assert all((ROOT / target).is_file() for target in links)
    assert named or links
