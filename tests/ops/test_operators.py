"""The operators of `torch.library` behind the statistics of rows; that compilers take them: `test_compiled`."""

import math
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from dipole.ops.operators import Operator
from dipole.ops.pairwise import CONSTANT_WEIGHTS_MEAN, LOGSUMEXP, SOFTMAX_MEAN
from dipole.ops.pairwise_both import LOGSUMEXP_BOTH
from dipole.ops.pairwise_softplus import SOFTPLUS_SUM
from dipole.ops.retrieval import RETRIEVAL

WORDS = "queries keys scale look"


def rows(count: int, seed: int) -> Tensor:
    return F.normalize(torch.randn(count, 4, generator=torch.Generator().manual_seed(seed))).requires_grad_()


def inputs(words: str, scale: float = 3.0, **given: Any) -> tuple[Any, ...]:
    queries = rows(5, 0)
    return (
        queries,
        queries if "same" in words.split() else rows(6, 1),
        torch.tensor(scale, requires_grad=True),
        given.get("bias"),
        given.get("exclude"),
        given.get("log_weight"),
        given.get("groups", []),
        words,
    )


@pytest.mark.parametrize("scale", [3.0, 300.0])
@pytest.mark.parametrize(
    ("operator", "words", "given"),
    [
        (LOGSUMEXP, WORDS, {"exclude": torch.tensor([[0], [2], [-1], [5], [1]])}),
        (LOGSUMEXP, f"{WORDS} same own", {}),
        (LOGSUMEXP, "queries", {"log_weight": torch.tensor([0.0, -math.inf, 1.0, 0.0, 2.0, 0.5])}),
        (SOFTMAX_MEAN, WORDS, {}),
        (SOFTMAX_MEAN, "queries constant_weights look", {}),
        (CONSTANT_WEIGHTS_MEAN, "queries constant_weights", {}),
        (LOGSUMEXP_BOTH, WORDS, {"exclude": torch.eye(5, 6, dtype=torch.bool)}),
        (SOFTPLUS_SUM, f"{WORDS} bias", {"bias": torch.tensor(-1.0, requires_grad=True)}),
        (SOFTPLUS_SUM, "keys", {"bias": torch.tensor(-1.0)}),
        (RETRIEVAL, WORDS, {"groups": [4, 2]}),
        (RETRIEVAL, f"{WORDS} same", {"groups": [2, 3]}),
    ],
)
def test_an_operator_keeps_what_it_promises(operator: Operator, words: str, given: Any, scale: float) -> None:
    # Not by values: what no way to compute a statistic fills is left as it was found.
    checks = ("test_schema", "test_autograd_registration", "test_faketensor")
    torch.library.opcheck(operator.operator, inputs(words, scale, **given), test_utils=checks)


def test_the_gradient_of_an_operator_is_that_of_finite_differences() -> None:
    given = [part.double() if isinstance(part, Tensor) else part for part in inputs(WORDS)]
    leaves = [part.detach().requires_grad_() for part in given[:3]]
    assert torch.autograd.gradcheck(lambda *x: LOGSUMEXP.operator(*x, *given[3:])[0], leaves)
