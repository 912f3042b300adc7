"""MEOW's weighted contrast: what no clustering separates is no negative, and moves nothing."""

import pytest
import torch

from dipole.losses import cluster_contrast_loss, weighted_info_nce_loss


def test_negatives_of_weight_zero_have_zero_gradient() -> None:
    generator = torch.Generator().manual_seed(0)
    anchors, candidates = (torch.randn(4, 3, generator=generator).requires_grad_() for _ in range(2))
    # Both clusterings put the nodes 0 and 1 together; 2 and 3 are alone.
    assignments = torch.tensor([[0, 0, 1, 2], [5, 5, 7, 6]])
    values = cluster_contrast_loss(anchors, candidates, assignments, reduction="none")
    (gradient,) = torch.autograd.grad(values[0], candidates, retain_graph=True)
    assert torch.equal(gradient[1], torch.zeros(3))
    assert gradient[[0, 2, 3]].abs().sum(dim=1).min() > 0
    weight = torch.ones(4, 4)
    weight[0, 1] = 0
    values = weighted_info_nce_loss(anchors, candidates, weight, reduction="none")
    (gradient,) = torch.autograd.grad(values[0], candidates)
    assert torch.equal(gradient[1], torch.zeros(3))


def test_nodes_that_nothing_separates_learn_nothing() -> None:
    anchors = torch.eye(3).requires_grad_()
    together = torch.zeros(2, 3, dtype=torch.long)
    with pytest.warns(UserWarning, match="no negative"):
        loss = cluster_contrast_loss(anchors, torch.eye(3), together, reduction="sum")
    (gradient,) = torch.autograd.grad(loss, anchors)
    assert torch.equal(gradient, torch.zeros(3, 3))
