"""A cosine classifier on frozen features, for classes that differ in size."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dipole.errors import InputError
from dipole.losses.long_tail import cosine_logits, effective_number_weights, ldam_loss, ldam_margins
from dipole.ops.checks import check_at_least
from dipole.ops.door import public

MANY, FEW = 100, 20  # training images of a class (Liu et al., Large-Scale Long-Tailed Recognition, CVPR 2019)


@public
def ldam_predictions(
    train: Float[Tensor, "n d"],
    labels: Int[Tensor, "n"],
    test: Float[Tensor, "m d"],
    *,
    epochs: int = 200,
    batch_size: int = 128,
    learning_rate: float = 0.1,
    scale: float = 30.0,
    seed: int = 0,
) -> Int[Tensor, "m"]:
    """Classify by a cosine classifier, learned with LDAM's margins and weights by effective numbers.

    SGD with momentum 0.9 and no weight decay; the rate falls to a tenth at 70 % of the epochs and again at 90 %.
    Classes without training samples are never named.

    Hou et al.: *Subclass-balancing Contrastive Learning* (ICCV 2023), second stage.

    Args:
        train: (N, D) features.
        labels: (N,) classes.
        test: (M, D).
        epochs: passes over the training features.
        batch_size: rows of a step.
        learning_rate: at the start.
        scale: s of the logits.
        seed: of the weights and the order.

    Returns:
        Classes (M,).

    Raises:
        InputError: fewer than two classes, or a setting out of range.

    Example:
        >>> rows, labels = torch.eye(2).repeat(20, 1), torch.arange(2).repeat(20)
        >>> ldam_predictions(rows, labels, torch.eye(2), epochs=20)
        tensor([0, 1])
    """
    check_at_least(epochs, 1, "epochs")
    classes, places = torch.unique(labels, return_inverse=True)
    if len(classes) < 2 or labels.shape != train.shape[:1]:
        raise InputError(f"{len(labels)} labels of {len(classes)} classes came for {len(train)} rows: expected two.")
    counts = torch.bincount(places)
    margins, weights = ldam_margins(counts), effective_number_weights(counts)
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(train.shape[1], len(classes), generator=generator).to(train.dtype).requires_grad_()
    optimizer = torch.optim.SGD([weight], lr=learning_rate, momentum=0.9)
    drops = [int(0.7 * epochs), int(0.9 * epochs)]
    for epoch in range(epochs):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate * 0.1 ** sum(epoch >= drop for drop in drops)
        for rows in torch.randperm(len(train), generator=generator).split(batch_size):
            with torch.enable_grad():
                logits = cosine_logits(train[rows], weight)
                loss = ldam_loss(logits, places[rows], margins, scale=scale, class_weights=weights)
            (weight.grad,) = torch.autograd.grad(loss, weight)
            optimizer.step()
    return classes[cosine_logits(test, weight.detach()).argmax(dim=1)]


@public
def shot_groups(counts: Int[Tensor, "c"]) -> dict[str, Int[Tensor, "g"]]:
    """Return the classes with many (above 100), medium and few (below 20) training samples; those groups that occur.

    Args:
        counts: (C,) training samples of each class.

    Example:
        >>> {name: group.tolist() for name, group in shot_groups(torch.tensor([500, 40, 3])).items()}
        {'many': [0], 'medium': [1], 'few': [2]}
    """
    masks = {"many": counts > MANY, "medium": (counts >= FEW) & (counts <= MANY), "few": counts < FEW}
    return {name: mask.nonzero().flatten() for name, mask in masks.items() if bool(mask.any())}
