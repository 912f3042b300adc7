"""The sound bound of node compactness holds for every augmentation within the budget; the fast one need not."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dipole.diagnostics import encoder_compactness
from dipole.errors import InputError
from dipole.losses import contrast_direction, message_passing_bounds, node_compactness
from dipole.nn.graph import GraphEncoder

NODES, WIDTH = 12, 5


def random_graph(generator: torch.Generator) -> Tensor:
    """Both directions of some edges."""
    upper = torch.triu_indices(NODES, NODES, 1)
    once = upper[:, torch.rand(upper.shape[1], generator=generator) < 0.35]
    return torch.cat([once, once.flip(0)], dim=1)


def within_budget(edges: Tensor, most_dropped: Tensor, generator: torch.Generator) -> Tensor:
    """Drop edges in both directions as long as no node loses more than its budget."""
    once = edges[:, edges[0] < edges[1]]
    left, kept = most_dropped.clone(), []
    wish = torch.rand(once.shape[1], generator=generator)
    for place in torch.randperm(once.shape[1], generator=generator).tolist():
        source, target = once[:, place].tolist()
        if wish[place] < 0.7 and left[source] > 0 and left[target] > 0:
            left[source] -= 1
            left[target] -= 1
        else:
            kept.append(place)
    stays = once[:, kept]
    return torch.cat([stays, stays.flip(0)], dim=1)


def encode(x: Tensor, edges: Tensor, weights: tuple[Tensor, ...], slope: float) -> Tensor:
    """The two layers, with a dense matrix."""
    matrix = torch.eye(len(x), dtype=x.dtype).index_put((edges[1], edges[0]), torch.ones((), dtype=x.dtype))
    scale = matrix.sum(dim=1).rsqrt()
    matrix = scale[:, None] * matrix * scale
    w1, b1, w2, b2 = weights
    return F.leaky_relu(matrix @ F.leaky_relu(matrix @ x @ w1 + b1, slope) @ w2 + b2, slope)


@settings(max_examples=8, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**31), slope=st.sampled_from([0.0, 0.25]), rate=st.sampled_from([0.2, 0.5, 1.0]))
def test_no_augmentation_falls_below_the_sound_bound(seed: int, slope: float, rate: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    edges = random_graph(generator)
    shapes = ((NODES, WIDTH), (WIDTH, 6), (6,), (6, 4), (4,))
    x, *weights = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    z_other = torch.randn(NODES, 4, generator=generator, dtype=torch.float64)
    bounds = message_passing_bounds(edges, NODES, drop_rate=rate)
    direction, dropped = contrast_direction(z_other), 0
    for _ in range(100):
        augmented = within_budget(edges, bounds.most_dropped, generator)
        lost = torch.bincount(edges[1], minlength=NODES) - torch.bincount(augmented[1], minlength=NODES)
        assert bool((lost <= bounds.most_dropped).all())
        dropped += int(lost.sum())
        given_arguments = (x, tuple(weights), z_other, bounds, augmented)
        score = node_compactness(*given_arguments, negative_slope=slope, bound="sound")
        margin = (encode(x, augmented, tuple(weights), slope) * direction).sum(dim=1)
        assert bool((score <= margin + 1e-9).all())
    assert dropped > 0


def test_the_fast_bound_is_none() -> None:
    generator, above = torch.Generator().manual_seed(0), 0
    for _ in range(20):
        edges = random_graph(generator)
        shapes = ((NODES, WIDTH), (WIDTH, 6), (6,), (6, 4), (4,))
        x, *weights = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
        z_other = torch.randn(NODES, 4, generator=generator, dtype=torch.float64)
        bounds = message_passing_bounds(edges, NODES, drop_rate=0.5)
        augmented = within_budget(edges, bounds.most_dropped, generator)
        score = node_compactness(x, tuple(weights), z_other, bounds, augmented)
        margin = (encode(x, augmented, tuple(weights), 0.0) * contrast_direction(z_other)).sum(dim=1)
        above += int((score > margin + 1e-9).sum())
    assert above > 0


def test_compactness_of_an_encoder_is_that_of_its_weights() -> None:
    torch.manual_seed(0)
    edges = random_graph(torch.Generator().manual_seed(0))
    encoder, x = GraphEncoder(WIDTH, 4, activation="prelu"), torch.rand(NODES, WIDTH)
    first, second = encoder.layers
    weights = (first.lin.weight.T, first.bias, second.lin.weight.T, second.bias)
    with torch.no_grad():
        expected = node_compactness(
            x,
            weights,
            encoder(x, edges),
            message_passing_bounds(edges, NODES, drop_rate=0.3),
            edges,
            negative_slope=0.25,
            bound="sound",
        )
    torch.testing.assert_close(encoder_compactness(encoder, x, edges, drop_rate=0.3), expected)
    with pytest.raises(InputError, match="two layers"):
        encoder_compactness(GraphEncoder(WIDTH, 4, num_layers=3), x, edges)
    with torch.no_grad():
        encoder.activation.weight.fill_(1.5)
    with pytest.raises(InputError, match="slope of PReLU"):
        encoder_compactness(encoder, x, edges)
