import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from dipole.errors import InputError
from dipole.nn import hopfield_retrieve

STORED = F.normalize(torch.randn(6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64), dim=1)


def test_a_sharp_retrieval_returns_the_stored_patterns() -> None:
    torch.testing.assert_close(hopfield_retrieve(STORED, STORED, beta=1e5), STORED)


def test_a_flat_retrieval_returns_the_mean() -> None:
    mean = STORED.mean(dim=0).expand(6, -1)
    torch.testing.assert_close(hopfield_retrieve(STORED, STORED, beta=0.0, normalize=False), mean)
    torch.testing.assert_close(hopfield_retrieve(STORED, STORED, beta=0.0), F.normalize(mean, dim=1))
    # A query of zeros is as similar to all.
    torch.testing.assert_close(hopfield_retrieve(STORED, torch.zeros_like(STORED), normalize=False), mean)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**32), beta=st.floats(0, 100))
def test_retrieved_patterns_are_unit_rows_in_the_order_of_the_queries(seed: int, beta: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    queries = torch.randn(5, 4, generator=generator, dtype=torch.float64)
    order, stored_order = torch.randperm(5, generator=generator), torch.randperm(6, generator=generator)
    found = hopfield_retrieve(STORED, queries, beta=beta)
    torch.testing.assert_close(found.norm(dim=1), torch.ones(5, dtype=torch.float64))
    torch.testing.assert_close(hopfield_retrieve(STORED[stored_order], queries[order], beta=beta), found[order])


def test_equal_patterns_count_twice() -> None:
    stored = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    found = hopfield_retrieve(stored, torch.zeros(1, 2), normalize=False)
    torch.testing.assert_close(found, torch.tensor([[2 / 3, 1 / 3]]))


def test_what_cancels_gives_zeros_and_finite_gradients() -> None:
    stored = torch.tensor([[1.0, 0.0], [-1.0, 0.0]], requires_grad=True)
    found = hopfield_retrieve(stored, torch.zeros(1, 2))
    assert torch.equal(found.detach(), torch.zeros(1, 2))
    assert torch.autograd.grad(found.sum(), stored)[0].isfinite().all()


def test_gradients_reach_patterns_queries_and_beta() -> None:
    queries = torch.randn(3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()
    beta = torch.tensor(3.0, dtype=torch.float64, requires_grad=True)
    leaves = (STORED.clone().requires_grad_(), queries, beta)
    assert torch.autograd.gradcheck(lambda s, q, b: hopfield_retrieve(s, q, beta=b), leaves)


@pytest.mark.usefixtures("unchecked")
def test_input_that_is_refused() -> None:
    for call, message in (
        (lambda: hopfield_retrieve(STORED, STORED[:, :3]), "queries has width 3"),
        (lambda: hopfield_retrieve(STORED / 0, STORED), "stored contains NaN"),
        (lambda: hopfield_retrieve(STORED[0], STORED), r"expected embeddings of shape \(N, D\)"),
        (lambda: hopfield_retrieve(STORED, STORED, beta=-1.0), "beta is -1.0"),
        (lambda: hopfield_retrieve(STORED, STORED, beta=math.inf), "beta is inf"),
    ):
        with pytest.raises(InputError, match=message):
            call()
