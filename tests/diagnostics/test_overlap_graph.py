"""The graph of overlapping views."""

import math
import sys

import pytest
import torch

from dipole.diagnostics.overlap_graph import labelling_error, laplacian_spectrum, overlap_graph
from dipole.errors import InputError


def points(count: int = 40, dim: int = 2, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_overlap_is_that_of_many_random_points(dim: int) -> None:
    x, radius = points(2, dim) / 6, 1.0
    box = 4 * torch.rand(200_000, dim, generator=torch.Generator().manual_seed(1), dtype=torch.float64) - 2
    inside = [(box - centre).norm(dim=1) < radius for centre in x]
    share = float((inside[0] & inside[1]).double().mean()) * 4**dim
    volume = math.pi ** (dim / 2) / math.gamma(dim / 2 + 1)
    assert overlap_graph(x, radius)[0, 1] == pytest.approx(share / volume**2, rel=0.03)


def test_large_graphs_have_the_eigenvalues_of_small_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = overlap_graph(points(60), 0.8)
    dense = laplacian_spectrum(graph, 5)
    monkeypatch.setattr(sys.modules[overlap_graph.__module__], "DENSE", 10)
    torch.testing.assert_close(laplacian_spectrum(graph, 5), dense, rtol=1e-6, atol=1e-9)
    with pytest.raises(InputError, match="how many"):
        laplacian_spectrum(graph)


def test_as_many_eigenvalues_are_0_as_there_are_parts() -> None:
    x = torch.tensor([[0.0, 0.0], [0.1, 0.0], [9.0, 0.0], [9.0, 0.0]])
    spectrum = laplacian_spectrum(overlap_graph(x, 0.5))
    assert int((spectrum < 1e-9).sum()) >= 2
    assert float(laplacian_spectrum(overlap_graph(x[:2], 0.5))[1]) > 0


def test_half_of_a_ball_on_the_boundary_has_another_label() -> None:
    share, labels = labelling_error(torch.tensor([[0.0, 1.0, 2.0], [3.0, 0.0, 0.0], [-0.5, 0.0, 0.0]]), 1.0)
    # The cap of a ball of radius 1 beyond half of it: (1 − h)² (2 + h) / 4.
    torch.testing.assert_close(share, torch.tensor([0.5, 0.0, 0.25 * 2.5 / 4], dtype=torch.float64))
    assert labels.tolist() == [0, 1, 0]


@pytest.mark.usefixtures("unchecked")
def test_what_is_refused() -> None:
    for call in (lambda: overlap_graph(points(), 0.0), lambda: labelling_error(points(), math.nan)):
        with pytest.raises(InputError, match="radius"):
            call()
