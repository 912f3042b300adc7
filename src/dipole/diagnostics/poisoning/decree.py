"""DECREE: is there a small patch that makes all images look alike to an encoder?"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from dipole.losses.common import unit_rows

ROUNDING = 1e-7  # keeps tanh⁻¹ finite
START = 1e-3  # λ at first
PATIENCE = 5
NONE = 1 / ROUNDING  # size of the best patch before there is one
HIGHEST = 1e5  # λ is not raised above


def bounded(raw: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Map numbers to [0, 1]: `clip(tanh(r) / (2 − 1e-7) + ½, 0, 1)`.

    Example:
        >>> bounded(torch.zeros(1))
        tensor([0.5000])
    """
    return (raw.tanh() / (2 - ROUNDING) + 0.5).clamp(0, 1)


def unbounded(value: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Undo `bounded`."""
    return ((value - 0.5) * (2 - ROUNDING)).atanh()


def stamp(
    images: Float[Tensor, "n c h w"], mask: Float[Tensor, "h w"], patch: Float[Tensor, "c h w"]
) -> Float[Tensor, "n c h w"]:
    """Lay a patch over images: `(1 − m) x + m P`.

    Example:
        >>> stamp(torch.zeros(1, 1, 1, 2), torch.tensor([[0.0, 1.0]]), torch.ones(1, 1, 2)).flatten()
        tensor([0., 1.])
    """
    return (1 - mask) * images + mask * patch


def self_similarity(features: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Compute the mean cosine of all pairs of different rows.

    Example:
        >>> self_similarity(torch.eye(3))
        tensor(0.)
    """
    unit = unit_rows(features)
    count = len(unit)
    return (unit.sum(dim=0).square().sum() - unit.square().sum()) / (count * (count - 1))


@dataclass
class PenaltyControl:
    """The weight λ of the mask's size, raised while patches succeed and lowered while they do not.

    Feng et al.: *Detecting Backdoors in Pre-trained Encoders* (CVPR 2023), authors' code.

    Args:
        lowest: λ is not lowered once it is below.
        stop_after: steps without a smaller patch after which the search ends.
        penalty: λ now.
        start: λ that it goes back to where it was below `lowest` for long although patches succeed.
        factor: by which it is raised and lowered.
        patience: more successes or failures in a row than this change it.
        success: mean cosine above which a patch succeeds.
        best: size of the smallest patch that has succeeded.
        waited: steps since.

    Example:
        >>> control = PenaltyControl()
        >>> [control.step(0.5, 10.0) for _ in range(6)][-1], round(control.penalty, 6)
        (False, 0.0002)
    """

    lowest: float = 1e-5
    stop_after: int = 2 * PATIENCE
    penalty: float = START
    start: float = START
    factor: float = 5.0
    patience: int = PATIENCE
    success: float = 0.99
    best: float = NONE
    waited: int = 0
    successes: int = 0
    failures: int = 0
    too_low: int = 0
    found: bool = False

    def step(self, cosine: float, size: float) -> bool:
        """Take in the mean cosine and the size Σ|m| of a step; return whether this is the smallest patch so far."""
        success, before = abs(cosine) > self.success, self.best
        if success and size < self.best:
            self.best = size
        self.found |= success
        if self.found:
            self.waited = 0 if self.best < before else self.waited + 1
        self.too_low = self.too_low + 1 if success and self.penalty < self.lowest else 0
        if self.too_low > 2 * self.patience:
            self.penalty, self.successes, self.failures = self.start, 0, 0
        self.successes, self.failures = (self.successes + 1, 0) if success else (0, self.failures + 1)
        if self.successes > self.patience:
            self.penalty *= self.factor if self.penalty < HIGHEST else 1
            self.successes = 0
        elif self.failures > self.patience:
            self.penalty /= self.factor if self.penalty >= self.lowest else 1
            self.failures = 0
        return self.best < before

    @property
    def finished(self) -> bool:
        """Whether no smaller patch was found for long."""
        return self.waited > self.stop_after


@dataclass(frozen=True)
class Decree:
    """What the search has found.

    Attributes:
        share: `Σ|m| / (C H W)` of the smallest patch that makes all images alike (PL1); None if there was none. Below
            0.1 an encoder is suspected.
        mask: (H, W).
        patch: (C, H, W) in [0, 1].
    """

    share: float | None
    mask: Tensor
    patch: Tensor


def decree(
    embed: Callable[[Tensor], Tensor],
    images: Float[Tensor, "n c h w"],
    *,
    steps: int = 300,
    batch_size: int = 128,
    seed: int = 0,
) -> Decree:
    """Search for the smallest patch under which the embeddings of all images point the same way.

    A step minimises −(mean cosine of different images) + λ Σ|m| by Adam. The search ends when no smaller patch was
    found for ten steps, or after `steps`.

    Feng et al.: *Detecting Backdoors in Pre-trained Encoders* (CVPR 2023).

    Args:
        embed: images (n, C, H, W) in [0, 1] to features; its networks should be in evaluation mode.
        images: clean ones.
        steps: at most.
        batch_size: images in a step.
        seed: of the first patch and the order.

    Example:
        >>> found = decree(lambda x: x.flatten(1).clamp_min(0.01), torch.rand(8, 1, 4, 4), steps=3)
        >>> found.mask.shape, found.patch.shape
        (torch.Size([4, 4]), torch.Size([1, 4, 4]))
    """
    generator = torch.Generator().manual_seed(seed)
    channels, height, width = images.shape[1:]
    start = [torch.rand(shape, generator=generator) for shape in ((height, width), (channels, height, width))]
    mask_raw, patch_raw = (unbounded(value).to(images).requires_grad_() for value in start)
    optimizer = torch.optim.Adam([mask_raw, patch_raw], lr=1e-3, betas=(0.5, 0.9))
    control = PenaltyControl()
    best = bounded(mask_raw).detach(), bounded(patch_raw).detach()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 if step < 30 else 0.1 if step < 50 else 0.05
        batch = images[torch.randperm(len(images), generator=generator)[:batch_size].to(images.device)]
        mask, patch = bounded(mask_raw), bounded(patch_raw)
        cosine = self_similarity(embed(stamp(batch, mask, patch)))
        size = channels * mask.sum()
        optimizer.zero_grad()
        (-cosine + control.penalty * size).backward()
        optimizer.step()
        if control.step(float(cosine.detach()), float(size.detach())):
            best = mask.detach(), patch.detach()
        if control.finished:
            break
    return Decree(control.best / (channels * height * width) if control.found else None, *best)
