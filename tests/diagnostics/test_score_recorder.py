from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from dipole.diagnostics import (
    ScoreRecorder,
    gradient_landscape,
    score_gradients,
    score_statistics,
)
from dipole.errors import InputError
from dipole.losses import info_nce_loss


def rows(count: int, seed: int) -> torch.Tensor:
    return torch.randn(count, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("normalize", [True, False])
def test_statistics_are_those_of_all_scores(normalize: bool) -> None:
    queries, positives, negatives = rows(5, 0), rows(5, 1), rows(30, 2)
    found = score_statistics(queries, positives, negatives, temperature=0.5, normalize=normalize)
    if normalize:
        queries, positives, negatives = (F.normalize(part, dim=1) for part in (queries, positives, negatives))
    scores, positive = queries @ negatives.T, (queries * positives).sum(dim=1)
    columns = (scores.mean(1), scores.var(1), positive, (scores / 0.5).exp().mean(1), (positive / 0.5).exp())
    torch.testing.assert_close(found, torch.stack(columns, dim=1))


def test_equal_negatives_have_no_variance() -> None:
    found = score_statistics(rows(3, 0), rows(3, 1), rows(1, 2).expand(9, 4).float().double(), temperature=0.1)
    assert (found[:, 1] >= 0).all()
    assert found[:, 1].max() < 1e-15
    half = score_statistics(rows(3, 0).half(), rows(3, 1).half(), rows(9, 2).half(), temperature=0.05)
    assert half.dtype == torch.float32
    assert half.isfinite().all()


def test_a_recorder_keeps_every_nth_batch_and_writes_an_epoch(tmp_path: Path) -> None:
    recorder = ScoreRecorder(every=2)
    for seed in range(5):
        recorder.update(rows(3, seed), rows(3, seed + 9), rows(7, seed), temperature=0.2)
    curves = recorder.curves()
    assert all(len(curve) == 3 for curve in curves)
    records = recorder.records
    recorder.save_epoch(tmp_path / "epoch0.safetensors")
    stored = load_file(tmp_path / "epoch0.safetensors")
    assert all(torch.equal(stored[f"iteration_{index}"], record) for index, record in enumerate(records))
    assert len(stored) == 3
    for empty in (recorder.curves, lambda: recorder.save_epoch(tmp_path / "epoch1.safetensors")):
        with pytest.raises(InputError, match="nothing has been recorded"):
            empty()
    assert [path.name for path in tmp_path.iterdir()] == ["epoch0.safetensors"]


def test_gradients_are_those_of_the_loss() -> None:
    positives, negatives = rows(4, 0)[:, 0].requires_grad_(), rows(4, 1).requires_grad_()
    logits = torch.cat([positives[:, None], negatives], dim=1) / 0.3
    loss = F.cross_entropy(logits, torch.zeros(4, dtype=torch.long), reduction="sum")
    found = score_gradients(positives, negatives, temperature=0.3)
    for ours, expected in zip(found, torch.autograd.grad(loss, (positives, negatives)), strict=True):
        torch.testing.assert_close(ours, expected)


def test_the_landscape_falls_where_the_positive_is_found() -> None:
    grid = torch.linspace(-1, 1, 9)
    landscape = gradient_landscape(grid, torch.tensor([0.0, 0.2]), num_negatives=50, temperature=0.1)
    assert landscape.shape == (9, 2)
    assert (landscape.diff(dim=0) <= 0).all()
    assert (landscape > 0).all()
    assert landscape.max() <= 10
    # With variance 0 all negatives score 0: the gradient of InfoNCE on orthogonal rows.
    query = torch.tensor([[1.0, 0.0]], requires_grad=True)
    loss = info_nce_loss(query, query.detach(), torch.tensor([[0.0, 1.0]]).expand(50, 2), normalize=False)
    along = torch.autograd.grad(loss, query)[0][0, 0]
    torch.testing.assert_close(-along, landscape[-1, 0])


@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_recorded_is_refused() -> None:
    with pytest.raises(InputError, match="two or more negatives"):
        score_statistics(rows(2, 0), rows(2, 1), rows(1, 2), temperature=0.1)
    with pytest.raises(InputError, match="temperature is 0"):
        score_gradients(torch.zeros(2), torch.zeros(2, 2), temperature=0.0)
    with pytest.raises(InputError, match="2 positive scores and 3 rows"):
        score_gradients(torch.zeros(2), torch.zeros(3, 2), temperature=1.0)
    with pytest.raises(InputError, match="every is 0"):
        ScoreRecorder(every=0)
    with pytest.raises(InputError, match="a variance of negative scores is -1"):
        gradient_landscape(torch.zeros(1), torch.tensor([-1.0]))
