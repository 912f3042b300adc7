"""Images that are changed in memory, for the length of an audit; nothing here writes a file."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64, UInt8
from torch import Tensor

from dipole.data import ImageSet
from dipole.diagnostics.poisoning import project_linf
from dipole.errors import InputError

LEVELS = 255


@dataclass(frozen=True)
class Trigger:
    """A change of images.

    Args:
        name: in tables.
        change: images (N, 3, H, W) in [0, 1] to changed ones.
        budget: ε that the change is held to; None for a visible one.
    """

    name: str
    change: Callable[[Tensor], Tensor]
    budget: float | None

    @torch.no_grad()
    def __call__(self, images: UInt8[Tensor, "n 3 h w"]) -> UInt8[Tensor, "n 3 h w"]:
        """Return changed images, rounded and then held to the budget again."""
        whole = images.float() / LEVELS
        changed = torch.cat([self.change(part) for part in whole.split(256)])
        if self.budget is None:
            return (changed.clamp(0, 1) * LEVELS).round().to(torch.uint8)
        rounded = (project_linf(changed, whole, self.budget) * LEVELS).round()
        most = int(self.budget * LEVELS + 1e-6)
        return torch.minimum(torch.maximum(rounded, images.float() - most), images.float() + most).to(torch.uint8)


def visible_patch(images: Float[Tensor, "n 3 h w"]) -> Float[Tensor, "n 3 h w"]:
    """Lay a black and white checkerboard over the centre: the control, which anyone would see.

    Example:
        >>> int((visible_patch(torch.full((1, 3, 8, 8), 0.5)) != 0.5).sum()) // 3
        9
    """
    height, width = images.shape[2:]
    side = max(3, round(0.15 * min(height, width)))
    top, left = (height - side) // 2, (width - side) // 2
    board = (torch.arange(side)[:, None] + torch.arange(side)) % 2
    changed = images.clone()
    changed[:, :, top : top + side, left : left + side] = 1 - board.to(images)
    return changed


def fixed_noise(shape: tuple[int, ...], budget: float, seed: int) -> Trigger:
    """Return a trigger that adds or takes away ε at every pixel, the same for all images."""
    signs = torch.randint(0, 2, shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return Trigger("fixed noise", lambda images: images + budget * signs, budget)


class PoisonedImages(ImageSet):
    """A set of images, some of which are changed. The others, the ids and the labels are those of the set.

    Args:
        images: the clean set.
        index: (p,) which images are changed.
        trigger: how.

    Raises:
        InputError: a changed image differs from the clean one by more than the budget.

    Example:
        >>> from dipole.data import load_image_sets
        >>> clean, _ = load_image_sets("digits")
        >>> poisoned = PoisonedImages(clean, torch.tensor([3]), Trigger("patch", visible_patch, None))
        >>> indices = torch.tensor([2, 3])
        >>> (poisoned.fetch(indices) != clean.fetch(indices)).flatten(1).any(dim=1).tolist()
        [False, True]
    """

    def __init__(self, images: ImageSet, index: Int64[Tensor, "p"], trigger: Trigger) -> None:
        self.clean, self.index = images, index
        self.place = torch.full((len(images),), -1)
        self.place[index] = torch.arange(len(index))
        before = images.fetch(index) if len(index) else torch.empty(0, *images.input_shape, dtype=torch.uint8)
        self.changed = trigger(before) if len(index) else before
        self.hashes = [hashlib.sha256(image.numpy().tobytes()).hexdigest() for image in before]
        if trigger.budget is not None and len(index):
            most = int((self.changed.int() - before.int()).abs().max())
            if most > trigger.budget * LEVELS + 1e-6:
                raise InputError(f"a changed image differs by {most} of 255, more than the budget.")
        super().__init__(
            images.name, images.ids, images.input_shape[1:], images.labels, images.class_names, images.default_size
        )

    def fetch(self, indices: Int64[Tensor, " n"]) -> UInt8[Tensor, "n 3 h w"]:
        """Return the images at `indices`, changed where they are to be."""
        found = self.clean.fetch(indices)
        place = self.place[indices]
        if bool((place >= 0).any()):
            found = found.clone()
            found[place >= 0] = self.changed[place[place >= 0]]
        return found

    def select(self, indices: Int64[Tensor, " n"]) -> ImageSet:
        """Return the clean images at `indices`."""
        return self.clean.select(indices)
