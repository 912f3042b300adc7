"""The wheel: what it holds, and that it works alone, beside only the packages that it asks for."""

import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from importlib.metadata import Distribution, distribution
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import dipole
from dipole.cli import COMMANDS
from system.extras import ONE_BY_ONE, OTHERS, SLOW_VERBS, VERBS

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "dipole"
USER = '''"""Code of a user."""

import torch

import dipole
from dipole.losses import NTXentLoss, nt_xent_loss

z = torch.eye(4)
reveal_type(nt_xent_loss(z, z, temperature=0.5))
reveal_type(NTXentLoss(temperature=0.5))
reveal_type(dipole.load("runs/first"))
nt_xent_loss(z, z, temperature="warm")
dipole.lode("runs/first")
'''


def python(
    *arguments: str | Path, home: Path | None = None, cwd: Path | None = None, code: int = 0
) -> "subprocess.CompletedProcess[str]":
    """Run a Python, that of the tests or of an environment, without the source tree on its path."""
    executable = sys.executable if home is None else home / "bin" / "python"
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    result = subprocess.run(
        [executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env=environment,
        cwd=cwd,
    )
    assert result.returncode == code, result.stdout + result.stderr
    return result


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("hatchling", reason="hatchling is not installed: pip install 'dipole[dev]'")
    folder = tmp_path_factory.mktemp("dist")
    python("-m", "hatchling", "build", "--target", "wheel", "--directory", folder, cwd=ROOT)
    [path] = folder.glob("*.whl")
    return path


def needed(requirements: list[str], extras: set[str], found: dict[str, Distribution]) -> dict[str, Distribution]:
    """All distributions that requirements lead to, by name; of the requirements themselves, those of some extras."""
    for requirement in map(Requirement, requirements):
        marker = requirement.marker
        if marker and not any(marker.evaluate({"extra": extra}) for extra in extras or {""}):
            continue
        known = f"{requirement.name}[{','.join(sorted(requirement.extras))}]"
        if known not in found:
            found[known] = distribution(requirement.name)
            needed(found[known].requires or [], requirement.extras, found)
    return found


def install(wheel: Path, extra: str, home: Path) -> Path:
    """Make an environment with the wheel and what it requires with one extra or none, linked from that of the tests."""
    venv.create(home, with_pip=False, symlinks=True)
    packages = Path(sysconfig.get_path("purelib", vars={"base": str(home), "platbase": str(home)}))
    with zipfile.ZipFile(wheel) as archive:
        [metadata] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        text = archive.read(metadata).decode()
    required = re.findall(r"^Requires-Dist: (.*)$", text, re.MULTILINE)
    for each in needed(required, {extra} if extra else set(), {}).values():
        for top in {file.parts[0] for file in each.files or () if file.parts[0] not in ("..", "__pycache__")}:
            link, target = packages / top, Path(str(each.locate_file(top)))
            if not link.exists() and target.exists():
                link.symlink_to(target, target_is_directory=target.is_dir())
    # With --no-index and without --no-deps, pip refuses a wheel that asks for anything else.
    asked = f"{wheel}[{extra}]" if extra else wheel
    python("-m", "pip", "--python", home / "bin" / "python", "install", "--quiet", "--no-index", asked)
    return home


@pytest.fixture(scope="module")
def environment(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with no extra."""
    return install(wheel, "", tmp_path_factory.mktemp("environment"))


def test_the_wheel_holds_all_that_the_source_holds(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        held = {name.removeprefix("dipole/") for name in archive.namelist() if name.startswith("dipole/")}
    source = {path.relative_to(SOURCE).as_posix() for path in SOURCE.rglob("*") if path.is_file()}
    assert held == {name for name in source if "__pycache__" not in name}
    assert "py.typed" in held
    assert "recipes/simclr.yaml" in held
    assert "claims/results/dcl.json" in held


def test_the_wheel_is_of_this_version_and_asks_for_this_python(wheel: Path) -> None:
    assert wheel.name == f"dipole-{dipole.__version__}-py3-none-any.whl"
    assert f"version: {dipole.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


@pytest.mark.slow
def test_commands_work_with_no_extra_installed(environment: Path, tmp_path: Path) -> None:
    where = python("-c", "import dipole; print(dipole.__file__)", home=environment).stdout
    assert Path(where.strip()).is_relative_to(environment)
    absent = ("transformers", "torchvision", "timm", "faiss", "pytest", "torch_geometric")
    code = f"import importlib.util; raise SystemExit(any(map(importlib.util.find_spec, {absent})))"
    python("-c", code, home=environment)
    assert all(command in python("-m", "dipole", "--help", home=environment).stdout for command in COMMANDS)
    assert "dcl" in python("-m", "dipole", "claims", home=environment).stdout
    small = ("--method.encoder", "convnet4-4", "--batch-size", "256", "--epochs", "1")
    python(
        "-c",
        ONE_BY_ONE,
        " ".join(("train simclr", *small, "--out run")),
        "evaluate run",
        home=environment,
        cwd=tmp_path,
    )
    assert (tmp_path / "run" / "evaluation.json").is_file()
    refused = python("-m", "dipole", "report", "run", home=environment, cwd=tmp_path, code=2).stderr
    assert refused.endswith("dipole: PIL is not installed: pip install 'dipole[vision]'.\n")
    assert not (tmp_path / "run" / "report.html").exists()


def test_each_extra_has_a_verb() -> None:
    said = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    assert {*VERBS, *SLOW_VERBS, *OTHERS} == set(said)


@pytest.mark.slow
@pytest.mark.parametrize("extra", VERBS)
def test_an_extra_alone_is_enough_for_its_field(extra: str, wheel: Path, tmp_path: Path) -> None:
    home = install(wheel, extra, tmp_path / "environment")
    python("-c", ONE_BY_ONE, *VERBS[extra], home=home, cwd=tmp_path)


@pytest.mark.slow
def test_mypy_of_a_user_sees_the_types(environment: Path, tmp_path: Path) -> None:
    (tmp_path / "user.py").write_text(USER, encoding="utf-8")
    command = ("-m", "mypy", "--python-executable", environment / "bin" / "python", "user.py")
    shown = python(*command, cwd=tmp_path, code=1).stdout
    assert 'user.py:9: note: Revealed type is "torch._tensor.Tensor"' in shown
    assert 'user.py:10: note: Revealed type is "dipole.losses.modules.NTXentLoss"' in shown
    assert 'user.py:11: note: Revealed type is "dipole.methods.base.Method' in shown
    assert 'user.py:12: error: Argument "temperature" to "nt_xent_loss" has incompatible type "str"' in shown
    assert "user.py:13: error:" in shown
    assert "Found 2 errors" in shown
