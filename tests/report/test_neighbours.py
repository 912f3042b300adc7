import torch

from dipole.report.neighbours import find_neighbours


def test_neighbours_are_the_most_similar_others() -> None:
    x = torch.randn(30, 4, generator=torch.Generator().manual_seed(0))
    found = find_neighbours(x, None, samples=5, count=3, seed=0)
    similarity = torch.nn.functional.cosine_similarity(x[:, None], x, dim=2).fill_diagonal_(-1)
    for query, nearest, scores in zip(found.queries, found.nearest, found.similarity, strict=True):
        torch.testing.assert_close(scores, similarity[query].sort(descending=True).values[:3])
        torch.testing.assert_close(scores, similarity[query, nearest])
        assert query not in nearest


def test_samples_are_spread_over_the_classes() -> None:
    labels = torch.tensor([0] * 20 + [1, 2, 3])
    queries = find_neighbours(torch.randn(23, 4), labels, samples=6, count=2, seed=0).queries
    assert labels[queries].tolist() == [0, 0, 0, 1, 2, 3]


def test_fewer_samples_than_asked_for() -> None:
    found = find_neighbours(torch.eye(3), None, samples=8, count=8, seed=0)
    assert found.nearest.shape == (3, 2)
