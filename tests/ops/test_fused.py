"""The fused kernels equal the tiled functions when interpreted, compile for an accelerator, and are off until asked."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from dipole.errors import InputError
from dipole.ops import fused, use_fused

SCRIPT = Path(__file__).parents[1] / "fused_kernels.py"
needs_triton = pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton exists for Linux only")


def _script(*arguments: str, interpret: bool) -> str:
    run = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments],
        env={**os.environ, "TRITON_INTERPRET": str(int(interpret))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return run.stdout


@pytest.mark.slow
@needs_triton
def test_interpreted_kernels_are_the_tiled_functions() -> None:
    differences = json.loads(_script(interpret=True))
    wrong = {
        f"{shape}: {case}": value
        for shape, cases in differences.items()
        for case, value in cases.items()
        if not value < (1e-2 if shape == "half" else 1e-5)
    }
    assert not wrong
    assert sum(map(len, differences.values())) > 60


@pytest.mark.slow
@needs_triton
def test_kernels_compile_for_an_accelerator() -> None:
    _script("compile", interpret=False)


@needs_triton
def test_they_are_a_choice_that_ends_with_its_block() -> None:
    x = torch.zeros(2, 3)
    assert not fused.fusable(x, x)
    with use_fused(True):
        assert not fused.fusable(x, x)  # on the processor the tiled functions stay
    assert not fused.fusable(x, x)


def test_an_absent_triton_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install triton"):
        use_fused(True)
