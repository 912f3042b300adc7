import pytest
import torch
import torch.nn.functional as F

from dipole.diagnostics import local_separation
from dipole.diagnostics import rows as tiles
from dipole.errors import InputError


def views(rows: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(rows, 4, generator=generator, dtype=torch.float64)
    return x, x + 0.3 * torch.randn(rows, 4, generator=generator, dtype=torch.float64)


def test_tiles_do_not_change_the_ranks(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = views(30)
    similarity = F.normalize(x, dim=1) @ F.normalize(y, dim=1).T
    negatives = similarity[~torch.eye(30, dtype=torch.bool)].view(30, 29)
    monkeypatch.setattr(tiles, "TILE_ENTRIES", 7 * 30)
    found = local_separation(x, y, k=5)
    torch.testing.assert_close(found.positive_similarity, similarity.diagonal().mean())
    torch.testing.assert_close(found.top_negative_similarity, negatives.sort(descending=True).values[:, :5].mean(0))
    torch.testing.assert_close(found.gap, found.positive_similarity - found.top_negative_similarity[0])


def test_there_are_at_most_as_many_ranks_as_negatives() -> None:
    assert local_separation(*views(4), k=10).top_negative_similarity.shape == (3,)


def test_wrong_input_is_refused() -> None:
    with pytest.raises(InputError, match="k is 0"):
        local_separation(*views(4), k=0)
    with pytest.raises(InputError, match="local separation compares different samples, and 1 came"):
        local_separation(*views(1))
