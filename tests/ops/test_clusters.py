"""Clusters and the labels that several clusterings share."""

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from dipole.errors import InputError
from dipole.ops.clusters import combine_cluster_labels, dense_labels, kmeans, merge_small_labels, nearest_centres


def test_clusters_are_found_and_found_again() -> None:
    centres = 10 * torch.eye(4)
    labels = torch.arange(80) % 4
    x = centres[labels] + torch.randn(80, 4, generator=torch.Generator().manual_seed(0))
    found, nearest = kmeans(x, 4, starts=3)
    again = kmeans(x, 4, starts=3)
    assert torch.equal(nearest, again[1])
    assert torch.equal(found, again[0])
    assert all(len(nearest[labels == label].unique()) == 1 for label in range(4))
    assert len(nearest.unique()) == 4


def test_no_more_clusters_than_samples() -> None:
    centres, nearest = kmeans(torch.eye(3), 10)
    assert centres.shape == (3, 3)
    assert sorted(nearest.tolist()) == [0, 1, 2]


def test_nearest_centres_are_those_of_the_largest_cosine() -> None:
    generator = torch.Generator().manual_seed(0)
    x, centres = torch.randn(9, 5, generator=generator), torch.randn(20, 5, generator=generator)
    labels, scores = nearest_centres(7 * x, centres / 3, 4)
    cosine = torch.nn.functional.normalize(x, dim=1) @ torch.nn.functional.normalize(centres, dim=1).T
    expected, places = cosine.sort(dim=1, descending=True)
    assert torch.equal(labels, places[:, :4])
    torch.testing.assert_close(scores, expected[:, :4])


@given(st.integers(1, 4), st.integers(2, 5), st.integers(1, 30), st.integers(0, 9))
def test_samples_share_a_label_where_they_share_all_clusters(stages: int, clusters: int, count: int, seed: int) -> None:
    table = torch.randint(0, clusters, (stages, count), generator=torch.Generator().manual_seed(seed))
    label = combine_cluster_labels(table, clusters)
    alike = (table[:, :, None] == table[:, None]).all(dim=0)
    assert torch.equal(label[:, None] == label, alike)
    last = combine_cluster_labels(table, clusters, kind="last_stage")
    assert torch.equal(last[:, None] == last, table[-1][:, None] == table[-1])
    assert torch.equal(dense_labels(label).unique(), torch.arange(len(label.unique())))


@given(st.integers(1, 3), st.integers(2, 4), st.integers(1, 40), st.integers(1, 12), st.integers(0, 9))
def test_small_labels_are_joined(stages: int, clusters: int, count: int, smallest: int, seed: int) -> None:
    table = torch.randint(0, clusters, (stages, count), generator=torch.Generator().manual_seed(seed))
    merged = merge_small_labels(table, clusters, smallest)
    sizes = merged.bincount()
    assert int((sizes < smallest).sum()) <= 1, "the samples that are left over have one label"
    whole = dense_labels(combine_cluster_labels(table, clusters))
    for label in (whole.bincount() >= smallest).nonzero().flatten():
        assert len(merged[whole == label].unique()) == 1, "labels that are large enough stay"


@pytest.mark.usefixtures("unchecked")
def test_what_is_refused() -> None:
    for message, call in (
        ("clusters is 0", lambda: kmeans(torch.eye(3), 0)),
        ("NaN", lambda: kmeans(torch.full((3, 2), torch.nan), 2)),
        ("ask for fewer", lambda: nearest_centres(torch.eye(3), torch.eye(3), 4)),
        ("K − 1", lambda: combine_cluster_labels(torch.tensor([[3]]), 3)),
        ("64 bits", lambda: combine_cluster_labels(torch.zeros(20, 2, dtype=torch.int64), 10)),
    ):
        with pytest.raises(InputError, match=message):
            call()
