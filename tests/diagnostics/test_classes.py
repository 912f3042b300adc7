import inspect

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from dipole.diagnostics import tolerance
from dipole.errors import InputError


@settings(deadline=None, max_examples=20)
@given(rows=st.integers(3, 30), classes=st.integers(1, 5), seed=st.integers(0, 99))
def test_it_is_the_mean_over_pairs(rows: int, classes: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 4, generator=generator, dtype=torch.float64)
    labels = torch.randint(classes, (rows,), generator=generator) * 7 - 3
    z = x / x.norm(dim=1, keepdim=True)
    same = (labels[:, None] == labels).fill_diagonal_(False)
    cosine = z @ z.T
    found = tolerance(x, labels)
    if bool(same.any()):
        torch.testing.assert_close(found, cosine[same].mean())
    else:
        assert found is None
    others = ~torch.eye(rows, dtype=torch.bool)
    torch.testing.assert_close(tolerance(x, labels, form="indicator"), (cosine * same)[others].mean())


def test_distinct_labels_leave_nothing_to_average() -> None:
    assert tolerance(torch.eye(3), torch.arange(3)) is None
    assert float(tolerance(torch.eye(3), torch.arange(3), form="indicator")) == 0


def test_wrong_input_is_refused() -> None:
    with pytest.raises(InputError, match=r"labels has shape \(2,\): expected \(3,\)"):
        inspect.unwrap(tolerance)(torch.eye(3), torch.arange(2))
    with pytest.raises(InputError, match="2 or more"):
        tolerance(torch.eye(1), torch.arange(1))
