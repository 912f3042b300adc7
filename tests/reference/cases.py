"""Reference values by case, with a check that a test has looked at every one of them."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

RELATIVE, ABSOLUTE = 1e-6, 1e-9


def folder() -> Path:
    default = Path(__file__).parents[1] / "reference_values"
    return Path(os.environ.get("DIPOLE_REFERENCE_VALUES") or default)


class Case:
    """One case of a file: `case["out.loss"]`, `case.params["temperature"]`."""

    def __init__(self, slug: str, name: str, values: dict[str, np.ndarray]) -> None:
        self.slug, self.name = slug, name
        self.values = {key: value for key, value in values.items() if key != "params"}
        self.params: dict[str, Any] = json.loads(str(values["params"])) if "params" in values else {}
        self.unread = set(self.values)

    def __contains__(self, key: str) -> bool:
        return key in self.values

    def __getitem__(self, key: str) -> Tensor:
        self.unread.discard(key)
        return torch.as_tensor(self.values[key])

    def leaf(self, key: str) -> Tensor:
        """An input that collects its gradient."""
        return self[key].clone().requires_grad_()

    def names(self, prefix: str) -> list[str]:
        """What follows `prefix` in the keys that begin with it, in the file's order."""
        return [key.removeprefix(prefix) for key in self.values if key.startswith(prefix)]

    def check(self, key: str, actual: Tensor) -> None:
        torch.testing.assert_close(
            actual.detach(), self[key], rtol=RELATIVE, atol=ABSOLUTE, msg=lambda text: f"{self.name}.{key}: {text}"
        )

    def check_gradient(self, key: str, loss: Tensor, leaf: Tensor) -> None:
        (gradient,) = torch.autograd.grad(loss, leaf, retain_graph=True)
        self.check(key, gradient)

    def check_all_read(self) -> None:
        assert not self.unread, f"{self.slug} {self.name}: not checked: {sorted(self.unread)}"


def load(slug: str) -> list[Case]:
    path = folder() / f"{slug}.npz"
    if not path.is_file():
        pytest.fail(f"no reference values at {path}", pytrace=False)
    cases: dict[str, dict[str, np.ndarray]] = {}
    with np.load(path) as archive:
        for key in archive.files:
            name, rest = key.split(".", 1)
            cases.setdefault(name, {})[rest] = archive[key]
    return [Case(slug, name, values) for name, values in cases.items()]


def parametrize(slug: str, kinds: dict[str, str]) -> Any:
    """Parametrize over the cases of a file, each with its kind: the first one whose telling key the case holds.

    Which cases there are, and how many of a kind, is the file's affair; a case of no known kind fails.
    """

    def pairs() -> Iterator[Any]:
        for case in load(slug):
            kind = next((kind for kind, key in kinds.items() if key in case), "unknown")
            yield pytest.param(case, kind, id=f"{case.name}-{kind}")

    return pytest.mark.parametrize(("case", "kind"), list(pairs()))
