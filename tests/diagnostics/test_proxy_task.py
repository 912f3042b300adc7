import pytest
import torch
import torch.nn.functional as F

from dipole.diagnostics import false_negative_share, proxy_accuracy
from dipole.errors import InputError


def rows(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_proxy_accuracy_is_that_of_a_loop() -> None:
    queries, positives, negatives, own = rows(300, 0), rows(300, 1), rows(3, 2), rows(600, 3).view(300, 2, 4)
    exclude = rows(300, 4)[:, :3] > 0
    valid = rows(300, 5)[:, :2] > 0
    right = 0
    for i, query in enumerate(queries):
        others = [*negatives[~exclude[i]], *own[i][valid[i]]]
        scores = [float(F.cosine_similarity(query, other, dim=0)) for other in others]
        right += float(F.cosine_similarity(query, positives[i], dim=0)) >= max(scores, default=-2)
    accuracy = proxy_accuracy(queries, positives, negatives, own, exclude=exclude, valid=valid)
    assert float(accuracy) == pytest.approx(right / 300)
    assert 0.1 < accuracy < 0.9


def test_more_negatives_make_the_task_harder() -> None:
    queries, positives, negatives = rows(100, 0), rows(100, 1), rows(5, 2)
    alone = proxy_accuracy(queries, positives, negatives)
    assert proxy_accuracy(queries, positives, negatives, queries[:, None]) == 0
    assert proxy_accuracy(queries, positives, negatives, rows(100, 3)[:, None]) < alone
    assert proxy_accuracy(queries, positives, negatives, torch.zeros(100, 0, 4).double()) == alone


def test_false_negatives_are_counted_among_the_hardest() -> None:
    queries, negatives = rows(6, 0), rows(20, 1)
    labels, other = torch.arange(6) % 2, torch.arange(20) % 2
    hardest = (F.normalize(queries, dim=1) @ F.normalize(negatives, dim=1).T).topk(5, dim=1).indices
    expected = (other[hardest] == labels[:, None]).double().mean()
    assert false_negative_share(queries, negatives, labels, other, 5) == expected
    assert false_negative_share(queries, negatives, labels, other + 2, 5) == 0


@pytest.mark.usefixtures("unchecked")
def test_what_does_not_fit_is_refused() -> None:
    queries, negatives = rows(6, 0), rows(20, 1)
    labels, other = torch.arange(6) % 2, torch.arange(20) % 2
    with pytest.raises(InputError, match="labels has shape"):
        false_negative_share(queries, negatives, labels, labels, 5)
    with pytest.raises(InputError, match="num_hard is 21"):
        false_negative_share(queries, negatives, labels, other, 21)
    with pytest.raises(InputError, match="shapes differ"):
        proxy_accuracy(queries, queries[:3], negatives)
