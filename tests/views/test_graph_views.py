"""Centralities beside networkx, GCA's probabilities term by term, and views as a whole."""

from typing import Any

import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dipole.errors import InputError
from dipole.views.graph import (
    CentralityViews,
    CommunalViews,
    GraphViews,
    centrality_drop_probability,
    centrality_weight,
    degree_centrality,
    detect_communities,
    eigenvector_centrality,
    feature_centrality,
    pagerank_centrality,
)

KARATE = nx.karate_club_graph()
EDGES = torch.tensor([edge for pair in KARATE.edges for edge in (pair, pair[::-1])]).T
X = torch.rand(34, 6, generator=torch.Generator().manual_seed(0)).round(decimals=1)
CLASSES: tuple[type[GraphViews], ...] = (GraphViews, CentralityViews, CommunalViews)


def of_nodes(values: dict[int, float]) -> Tensor:
    return torch.tensor([values[node] for node in range(34)])


def test_degrees_and_eigenvectors_are_those_of_networkx() -> None:
    assert torch.equal(degree_centrality(EDGES, 34), of_nodes(dict(KARATE.degree)).float())
    theirs = of_nodes(nx.eigenvector_centrality(KARATE, tol=1e-10, weight=None, max_iter=1000))
    torch.testing.assert_close(eigenvector_centrality(EDGES, 34), theirs)


def test_importance_that_flows_long_settles_on_the_degrees() -> None:
    """Without teleportation the stationary distribution of a random walk is the degree."""
    flowed = pagerank_centrality(EDGES, 34, steps=300)
    degree = degree_centrality(EDGES, 34)
    torch.testing.assert_close(flowed, 34 * degree / degree.sum())
    assert float(pagerank_centrality(EDGES, 34, steps=3).sum()) == pytest.approx(34)


def literal_weights(centrality: Tensor) -> Tensor:
    s = torch.log(centrality + 1)
    return (s.max() - s) / (s.max() - s.mean())


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.floats(0, 1), st.floats(0, 1))
def test_probabilities_are_what_the_authors_write(seed: int, rate: float, threshold: float) -> None:
    centrality = 10 * torch.rand(20, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    weight = centrality_weight(centrality)
    torch.testing.assert_close(weight, literal_weights(centrality))
    assert float(weight.mean()) == pytest.approx(1)
    literal = weight / weight.mean() * rate
    literal = literal.where(literal < threshold, torch.ones_like(literal) * threshold)
    torch.testing.assert_close(centrality_drop_probability(weight, rate, threshold=threshold), literal)


def test_the_form_of_the_paper() -> None:
    centrality = torch.tensor([1.0, 2.0, 4.0])
    assert centrality_weight(centrality, offset=0).tolist() == pytest.approx([2, 1, 0])
    with pytest.raises(InputError, match="a centrality is 0"):
        centrality_weight(torch.tensor([0.0, 1.0]), offset=0)


def test_attributes_count_or_weigh() -> None:
    x, centrality = torch.tensor([[2.0, 0.0], [-3.0, 1.0]]), torch.tensor([1.0, 10.0])
    assert feature_centrality(x, centrality).tolist() == [11, 10]
    assert feature_centrality(x, centrality, dense=True).tolist() == [32, 10]


@pytest.mark.parametrize("centrality", ["degree", "pagerank", "eigenvector"])
@pytest.mark.parametrize("edges", [EDGES[:, :0], EDGES[:1, :1].repeat(2, 1), EDGES[:, :2]], ids=["0", "loop", "1"])
def test_degenerate_graphs_have_probabilities(centrality: Any, edges: Tensor) -> None:
    views = CentralityViews(centrality=centrality)
    views.prepare(X, edges)
    for values in (*views.keep, *views.drop):
        values = torch.as_tensor(values)
        assert bool(((values >= 0) & (values <= 1)).all())
    assert len(views(X, edges, generator=torch.Generator())["views"]) == 2


def test_where_all_are_alike_everything_falls_alike() -> None:
    ring = torch.stack([torch.arange(6), torch.arange(1, 7) % 6])
    views = CentralityViews(drop_edge_rate_1=0.3, drop_feature_rate_1=0.2)
    views.prepare(torch.ones(6, 2), torch.cat([ring, ring.flip(0)], dim=1))
    assert torch.as_tensor(views.keep[0]).tolist() == pytest.approx([0.7] * 12)
    assert torch.as_tensor(views.drop[0]).tolist() == pytest.approx([0.2] * 2)


@pytest.mark.parametrize("cls", CLASSES)
def test_views_repeat_differ_and_are_part_of_the_graph(cls: type[GraphViews]) -> None:
    views = cls()
    views.prepare(X, EDGES)
    first, again = (views(X, EDGES, generator=torch.Generator().manual_seed(5)) for _ in range(2))
    other = views(X, EDGES, generator=torch.Generator().manual_seed(6))
    all_edges = {tuple(edge) for edge in EDGES.T.tolist()}
    for (x, edges), (x_again, edges_again), (_, edges_other) in zip(
        first["views"], again["views"], other["views"], strict=True
    ):
        assert torch.equal(x, x_again)
        assert torch.equal(edges, edges_again)
        assert edges.shape != edges_other.shape or not torch.equal(edges, edges_other)
        assert {tuple(edge) for edge in edges.T.tolist()} < all_edges
        assert bool(((x == X) | (x == 0)).all())
    assert not torch.equal(first["views"][0][1], first["views"][1][1])


def test_communities_keep_their_edges() -> None:
    views = CommunalViews(drop_edge_rate_1=0.5)
    views.prepare(X, EDGES)
    community = detect_communities(EDGES, 34)
    inside = community[EDGES[0]] == community[EDGES[1]]
    keep = torch.as_tensor(views.keep[0])
    assert float(keep[inside].min()) > float(keep[~inside].max())
    made = views(X, EDGES, generator=torch.Generator())
    assert made["node_strength"].shape == (34,)
    assert len(torch.unique(made["node_strength"])) == len(torch.unique(community))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("cls", CLASSES)
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"drop_edge_rate_2": 1.5}, r"drop_edge_rate_2 is 1\.5: expected a share"),
        ({"drop_feature_rate_1": -0.1}, r"drop_feature_rate_1 is -0\.1"),
        ({"drop_feature_rate_1": float("nan")}, "drop_feature_rate_1 is nan"),
    ],
)
def test_rates_are_shares(cls: type[GraphViews], options: dict[str, float], message: str) -> None:
    with pytest.raises(InputError, match=message):
        cls(**options)


@pytest.mark.usefixtures("unchecked")
def test_names_that_are_unknown() -> None:
    with pytest.raises(InputError, match="centrality is 'fame'"):
        CentralityViews(centrality="fame")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="communities is 'combo'"):
        CommunalViews(communities="combo")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="a graph without edges has no communities"):
        CommunalViews().prepare(X, EDGES[:, :0])
