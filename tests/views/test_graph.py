"""Communities, their strengths, and what is dropped because of them."""

import networkx as nx
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from dipole.errors import InputError
from dipole.views.graph import (
    cav_drop_probability,
    ced_keep_probability,
    communal_edge_score,
    communal_edge_weight,
    community_strength,
    detect_communities,
    drop_edges,
    drop_features,
    simple_edges,
)
from dipole.views.graph.communities import CommunityMethod

# Two triangles, joined by an edge, and a node alone.
TRIANGLES = torch.tensor([[0, 1, 2, 3, 4, 5, 2], [1, 2, 0, 4, 5, 3, 3]])


def both_ways(edges: Tensor) -> Tensor:
    return torch.cat([edges, edges.flip(0)], dim=1)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(2, 12), st.integers(1, 30), st.integers(1, 4))
def test_strengths_sum_to_the_modularity(seed: int, nodes: int, edges: int, communities: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    edge_index = torch.randint(nodes, (2, edges), generator=generator)  # with loops and duplicates
    community = torch.randint(communities, (nodes,), generator=generator)
    graph = nx.Graph(edge_index.T.tolist())
    graph.add_nodes_from(range(nodes))
    parts = [set(torch.nonzero(community == c).flatten().tolist()) for c in range(communities)]
    expected = nx.community.modularity(graph, [part for part in parts if part])
    strength = community_strength(edge_index, community)
    assert float(strength.sum()) == pytest.approx(expected)
    torch.testing.assert_close(community_strength(both_ways(edge_index), community), strength)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.integers(3, 12))
def test_the_numbers_of_nodes_and_the_order_of_edges_do_not_matter(seed: int, nodes: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    edges = torch.randint(nodes, (2, 3 * nodes), generator=generator)
    community = torch.randint(3, (nodes,), generator=generator)
    place = torch.randperm(nodes, generator=generator)  # node i is called place[i] now
    order = torch.randperm(edges.shape[1], generator=generator)
    moved, renamed = torch.empty_like(community), place[edges][:, order]
    moved[place] = community
    strength = community_strength(edges, community)
    torch.testing.assert_close(community_strength(renamed, moved), strength)
    weight = communal_edge_weight(edges, community, strength)
    torch.testing.assert_close(communal_edge_weight(renamed, moved, strength), weight[order])


@pytest.mark.parametrize("method", ["leiden", "louvain"])
def test_communities_are_found_and_repeat(method: CommunityMethod) -> None:
    edges = both_ways(TRIANGLES)
    found = detect_communities(edges, 7, method=method, seed=3)
    assert found.tolist() == [0, 0, 0, 1, 1, 1, 2]
    karate = torch.tensor(list(nx.karate_club_graph().edges)).T
    first, again = (detect_communities(karate, 34, method=method, seed=5) for _ in range(2))
    assert torch.equal(first, again)
    assert float(community_strength(karate, first).sum()) > 0.39


def test_a_graph_without_edges_has_a_community_a_node() -> None:
    empty = torch.zeros(2, 0, dtype=torch.long)
    assert detect_communities(empty, 3).tolist() == [0, 1, 2]
    with pytest.raises(InputError, match="a graph without edges has no communities"):
        community_strength(empty, torch.arange(3))


def test_one_way_links_count_unless_the_authors_way_is_asked_for() -> None:
    edges = torch.tensor([[0, 2], [1, 0]])
    assert simple_edges(edges, 3).tolist() == [[0, 0], [1, 2]]
    assert simple_edges(edges, 3, symmetrize=False).tolist() == [[0], [1]]
    community = torch.tensor([0, 0, 1])
    assert community_strength(edges, community).tolist() == [0.5 - (3 / 4) ** 2, -((1 / 4) ** 2)]
    assert community_strength(edges, community, symmetrize=False).tolist() == [0.0, 0.0]


def test_weak_edges_are_kept_less_and_bridges_least() -> None:
    community = torch.tensor([0, 0, 0, 1, 1, 1, 2])
    strength = community_strength(TRIANGLES, community)
    weight = communal_edge_weight(TRIANGLES, community, strength)
    assert weight.tolist() == [1.0] * 6 + [0.0]
    keep = ced_keep_probability(weight, 0.3, threshold=0.8)
    assert keep.tolist() == pytest.approx([7 / 6 * 0.7] * 6 + [0.2])


def test_a_loop_is_an_edge_inside() -> None:
    edges = torch.tensor([[0, 1], [0, 0]])
    assert communal_edge_score(edges, torch.tensor([0, 1]), torch.tensor([0.5, 0.25])).tolist() == [0.5, -0.75]


def test_one_community_is_dropped_uniformly() -> None:
    community = torch.zeros(7, dtype=torch.long)
    strength = community_strength(TRIANGLES, community)
    weight = communal_edge_weight(TRIANGLES, community, strength)
    assert weight.tolist() == [1.0] * 7
    assert ced_keep_probability(weight, 0.3).tolist() == pytest.approx([0.7] * 7)
    x = torch.rand(7, 4)
    # The only community has the strength 0: nobody votes.
    assert cav_drop_probability(x, strength[community].float(), 0.2).tolist() == pytest.approx([0.2] * 4)


def test_attributes_of_nobody_are_kept_or_not() -> None:
    x, strength = torch.diag(torch.tensor([1.0, 1.0, 0.0])), torch.tensor([0.4, 0.1, 0.2])
    assert cav_drop_probability(x, strength, 0.3, threshold=0.5).tolist() == pytest.approx([0.0, 0.5, 0.0])
    assert cav_drop_probability(x, strength, 0.3, dense=True).tolist() == pytest.approx([0.0, 0.45, 0.45])


def test_negative_votes_are_clamped_with_a_warning() -> None:
    strength = torch.tensor([0.4, 0.1, -0.2])
    with pytest.warns(UserWarning, match="1 attributes have negative votes"):
        found = cav_drop_probability(torch.eye(3), strength, 0.3)
    assert found.tolist() == pytest.approx([0.0, 0.45, 0.45])


@pytest.mark.parametrize("strength", [[0.0, 0.0], [-0.1, -0.2], [0.3, 0.3]])
def test_votes_that_say_nothing_drop_uniformly(strength: list[float]) -> None:
    assert cav_drop_probability(torch.eye(2), torch.tensor(strength), 0.3).tolist() == pytest.approx([0.3, 0.3])


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32), st.floats(0, 1), st.floats(0, 1))
def test_probabilities_are_probabilities(seed: int, rate: float, threshold: float) -> None:
    generator = torch.Generator().manual_seed(seed)
    weight = torch.rand(20, generator=generator)
    keep = ced_keep_probability(weight, rate, threshold=threshold)
    assert bool(((keep >= 1 - threshold - 1e-6) & (keep <= 1)).all())
    assert bool((keep[weight.argsort()].diff() >= 0).all())
    drop = cav_drop_probability(torch.rand(20, 6, generator=generator), weight, rate, threshold=threshold)
    assert bool(((drop >= 0) & (drop <= threshold)).all())


def test_edges_and_columns_fall_as_often_as_they_should() -> None:
    generator = torch.Generator().manual_seed(0)
    edges = torch.arange(40_000).expand(2, -1)
    keep = torch.tensor([0.9, 0.2]).repeat_interleave(20_000)
    kept = drop_edges(edges, keep, generator=generator)[0]
    assert int((kept < 20_000).sum()) == pytest.approx(18_000, rel=0.02)
    assert int((kept >= 20_000).sum()) == pytest.approx(4_000, rel=0.05)
    x = torch.ones(3, 10_000)
    dropped = drop_features(x, 0.3, generator=generator)
    assert bool((dropped == dropped[0]).all()), "a column falls for all nodes"
    assert float(dropped.mean()) == pytest.approx(0.7, abs=0.02)
    assert float(x.min()) == 1, "the features themselves stay"


@pytest.mark.usefixtures("unchecked")
def test_mistakes() -> None:
    edges = torch.tensor([[0], [5]])
    with pytest.raises(InputError, match="edges name nodes from 0 to 5: expected 0 to 2"):
        detect_communities(edges, 3)
    with pytest.raises(InputError, match=r"edge_index has shape \(1, 5\)"):
        simple_edges(torch.zeros(1, 5, dtype=torch.long), 3)
    with pytest.raises(InputError, match="method is 'combo': expected one of 'leiden', 'louvain'"):
        detect_communities(edges, 6, method="combo")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="community holds -1"):
        community_strength(edges, torch.tensor([-1] * 6))
    with pytest.raises(InputError, match=r"rate is 1\.5: expected a share"):
        ced_keep_probability(torch.ones(3), 1.5)
    with pytest.raises(InputError, match="keep holds a probability outside 0 to 1"):
        drop_edges(edges, torch.tensor([1.5]))
    with pytest.raises(InputError, match="drop holds a probability outside 0 to 1"):
        drop_features(torch.ones(2, 2), float("nan"))
    with pytest.raises(InputError, match=r"node_strength has shape \(3,\)"):
        cav_drop_probability(torch.ones(2, 2), torch.ones(3), 0.1)
