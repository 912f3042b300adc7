"""Linear classifiers of several splits together: each does what it would do alone, on dense and on sparse samples."""

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from dipole.evaluation.linear_probes import LEARNING_RATE, LinearProbes
from dipole.ops.clusters import exact_kmeans

TARGETS = torch.arange(60) % 3
SPLITS = [torch.arange(0, 20), torch.arange(10, 60, 2), torch.arange(5)]


def samples(share: float) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.rand(60, 40, generator=generator) * (torch.rand(60, 40, generator=generator) < share)


def alone(x: Tensor, own: Tensor, weight: Tensor, steps: int) -> Tensor:
    """Logits of one classifier that PyTorch trains."""
    weight, bias = weight.clone().requires_grad_(), torch.zeros(3, requires_grad=True)
    optimizer = torch.optim.Adam([weight, bias], lr=LEARNING_RATE)
    for _ in range(steps):
        optimizer.zero_grad()
        cross_entropy(x[own] @ weight.T + bias, TARGETS[own]).backward()
        optimizer.step()
    return (x @ weight.T + bias).detach()


@pytest.mark.parametrize("share", [0.05, 1.0])
def test_each_classifier_is_what_it_would_be_alone(share: float) -> None:
    x = samples(share)
    probes = LinearProbes(x, TARGETS, 3, SPLITS, [3, 4, 5])
    assert probes.sparse == (share < 0.1)
    first = probes.weight.transpose(1, 2).clone() if probes.sparse else probes.weight.clone()
    for _ in range(50):
        probes.step()
    weight = probes.weight.transpose(1, 2) if probes.sparse else probes.weight
    for number, own in enumerate(SPLITS):
        expected = alone(x, own, first[number], 50)
        found = x @ weight[number].T + probes.bias[number, :, 0]
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)
        assert torch.equal(probes.right()[:, number], expected.argmax(dim=1) == TARGETS)


def test_clusters_of_rows_that_are_mostly_empty() -> None:
    rows = torch.zeros(30, 40).scatter_(1, torch.arange(30)[:, None] % 3, 1.0)
    rows[:, 20] = torch.rand(30, generator=torch.Generator().manual_seed(0)) / 10
    labels, centres = exact_kmeans(rows, 3)
    assert all(len(labels[kind::3].unique()) == 1 for kind in range(3))
    torch.testing.assert_close(centres[labels[0]], rows[::3].double().mean(dim=0))
