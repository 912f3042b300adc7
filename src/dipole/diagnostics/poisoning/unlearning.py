"""I-BAU: an encoder and its probe unlearn the perturbation that would fool them most."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

INNER_STEP, FIXED_POINTS = 0.1, 5  # of the implicit gradient
SIZE_PENALTY = 1e-3


def _fooled(logits: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor, perturbation: Tensor) -> Tensor:
    """What the perturbation minimises: minus the cross entropy, plus its squared size."""
    loss = nn.functional.cross_entropy(logits((images + perturbation).clamp(0, 1)), labels)
    return -loss + SIZE_PENALTY * perturbation.square().sum()


def worst_perturbation(
    logits: Callable[[Tensor], Tensor], images: Float[Tensor, "n c h w"], *, batch_size: int = 128, rate: float = 10.0
) -> Float[Tensor, "c h w"]:
    """Find one perturbation of all images that changes what a classifier says of them, by a pass of SGD.

    Args:
        logits: images in [0, 1] to logits (n, K).
        images: (N, C, H, W) clean ones.
        batch_size: images in a step.
        rate: of SGD.

    Example:
        >>> worst_perturbation(lambda x: x.flatten(1)[:, :2], torch.rand(4, 1, 2, 2)).shape
        torch.Size([1, 2, 2])
    """
    perturbation = torch.zeros_like(images[0]).requires_grad_()
    optimizer = torch.optim.SGD([perturbation], lr=rate)
    for batch in images.split(batch_size):
        with torch.no_grad():
            said = logits(batch).argmax(dim=1)
        optimizer.zero_grad()
        _fooled(logits, batch, said, perturbation).backward(inputs=[perturbation])
        optimizer.step()
    return perturbation.detach()


def implicit_gradient(
    weights: Sequence[Tensor], perturbation: Tensor, outer: Tensor, inner: Callable[[], Tensor]
) -> list[Tensor]:
    """Compute the gradient of an outer loss that also depends on the weights through the perturbation.

    The perturbation is the fixed point of `δ ↦ δ − 0.1 ∂inner/∂δ`; the linear system of its derivative is solved by
    five iterations.

    Args:
        weights: θ.
        perturbation: δ, which `outer` and `inner` depend on.
        outer: loss.
        inner: returns the loss that δ minimises.
    """
    direct = torch.autograd.grad(outer, [perturbation, *weights], allow_unused=True, materialize_grads=True)
    (slope,) = torch.autograd.grad(inner(), perturbation, create_graph=True)
    mapped = perturbation - INNER_STEP * slope
    vector = direct[0]
    for _ in range(FIXED_POINTS):
        (turned,) = torch.autograd.grad(mapped, perturbation, vector, retain_graph=True)
        vector = turned + direct[0]
    through = torch.autograd.grad(mapped, weights, vector, allow_unused=True, materialize_grads=True)
    return [own + other for own, other in zip(direct[1:], through, strict=True)]


def unlearn(
    model: nn.Module,
    images: Float[Tensor, "n c h w"],
    labels: Int64[Tensor, "n"],
    *,
    rounds: int = 3,
    batch_size: int = 128,
    share: float = 0.01,
    learning_rate: float = 1e-3,
) -> None:
    """Fine-tune a classifier so that its worst perturbation no longer changes what it says. Changes the model.

    A round finds the worst perturbation of all clean images, then makes a pass of Adam over them in which it is added
    to a share of each batch; the gradient also follows how the perturbation moves with the weights.

    Zeng et al.: *Adversarial Unlearning of Backdoors via Implicit Hypergradient* (ICLR 2022).

    Args:
        model: images in [0, 1] to logits (n, K); in evaluation mode, so that batch statistics stay.
        images: (N, C, H, W) clean ones.
        labels: (N,) of them.
        rounds: 3 to 5.
        batch_size: images in a step.
        share: of a batch that is perturbed, at least one image.
        learning_rate: of Adam.

    Example:
        >>> model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
        >>> unlearn(model, torch.rand(8, 1, 2, 2), torch.arange(8) % 2, rounds=1)
    """
    weights = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(weights, lr=learning_rate)
    for _ in range(rounds):
        perturbation = worst_perturbation(model, images, batch_size=batch_size).requires_grad_()
        for batch, own in zip(images.split(batch_size), labels.split(batch_size), strict=True):
            changed = max(1, int(share * len(batch)))
            mixed = torch.cat([(batch[:changed] + perturbation).clamp(0, 1), batch[changed:]])
            outer = nn.functional.cross_entropy(model(mixed), own)

            def inner(batch: Tensor = batch, own: Tensor = own, perturbation: Tensor = perturbation) -> Tensor:
                return _fooled(model, batch, own, perturbation)

            gradients = implicit_gradient(weights, perturbation, outer, inner)
            for weight, gradient in zip(weights, gradients, strict=True):
                weight.grad = gradient
            optimizer.step()
