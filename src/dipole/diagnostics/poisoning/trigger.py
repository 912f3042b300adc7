"""A change of images within a budget that an audit optimises; it lives in memory, for the length of an audit."""

from collections import OrderedDict

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.losses.common import unit_rows
from dipole.ops.checks import check_at_least, check_same_rows


class TriggerGenerator(nn.Module):
    """A residual network from images to images in [0, 1], as the paper's audit uses it.

    The state has the names of the network that the paper took over (Naseer et al., NeurIPS 2019). Images whose height
    or width is no multiple of 4 are padded by reflection, and cut back.

    Sun et al.: *Backdoor Contrastive Learning via Bi-level Trigger Optimization* (ICLR 2024).

    Args:
        channels: of the images.
        width: channels of the first layer.
        blocks: residual blocks.

    Example:
        >>> TriggerGenerator(width=4, blocks=1).eval()(torch.rand(2, 3, 10, 8)).shape
        torch.Size([2, 3, 10, 8])
    """

    def __init__(self, channels: int = 3, width: int = 64, blocks: int = 6) -> None:
        super().__init__()
        for name, value in (("channels", channels), ("width", width), ("blocks", blocks)):
            check_at_least(value, 1, name)
        self.block1 = nn.Sequential(
            nn.ReflectionPad2d(3), nn.Conv2d(channels, width, 7, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.block2 = _down(width, 2 * width)
        self.block3 = _down(2 * width, 4 * width)
        self.names = [f"resblock{number}" for number in range(1, blocks + 1)]
        for name in self.names:
            self.add_module(name, _Residual(4 * width))
        self.upsampl1 = _up(4 * width, 2 * width)
        self.upsampl2 = _up(2 * width, width)
        self.blockf = nn.Sequential(nn.ReflectionPad2d(3), nn.Conv2d(width, channels, 7))

    def forward(self, images: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Return images in [0, 1] that are not yet held to a budget."""
        height, width = images.shape[2:]
        padded = nn.functional.pad(images, (0, -width % 4, 0, -height % 4), mode="reflect")
        x = self.block3(self.block2(self.block1(padded)))
        for name in self.names:
            x = self.get_submodule(name)(x)
        x = self.blockf(self.upsampl2(self.upsampl1(x)))
        return ((x.tanh() + 1) / 2)[..., :height, :width]


class _Residual(nn.Module):
    """Two convolutions, plus the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.ReflectionPad2d(1),
            nn.Conv2d(width, width, 3, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = self.block(x)
        return x + changed


def _down(before: int, after: int) -> nn.Sequential:
    """Half the size."""
    return nn.Sequential(
        OrderedDict(
            {
                "0": nn.Conv2d(before, after, 3, stride=2, padding=1, bias=False),
                "1": nn.BatchNorm2d(after),
                "2": nn.ReLU(),
            }
        )
    )


def _up(before: int, after: int) -> nn.Sequential:
    """Twice the size."""
    turned = nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=1, bias=False)
    return nn.Sequential(OrderedDict({"0": turned, "1": nn.BatchNorm2d(after), "2": nn.ReLU()}))


def project_linf(
    changed: Float[Tensor, "n c h w"], images: Float[Tensor, "n c h w"], budget: float
) -> Float[Tensor, "n c h w"]:
    """Hold a change to a budget: `clamp(min(max(x', x − ε), x + ε), 0, 1)`. No gradient where a bound is active.

    Args:
        changed: x'.
        images: x in [0, 1].
        budget: ε, in the same units; 8/255 is usual.

    Raises:
        InputError: the budget is negative or shapes differ.

    Example:
        >>> x = torch.full((1, 1, 1, 1), 0.5)
        >>> float(project_linf(x + 0.3, x, 0.1))
        0.6000000238418579
    """
    check_at_least(budget, 0, "budget")
    if changed.shape != images.shape:
        raise InputError(
            f"changed images are {tuple(changed.shape)}, images {tuple(images.shape)}: expected one shape."
        )
    return torch.minimum(torch.maximum(changed, images - budget), images + budget).clamp(0, 1)


def trigger_loss(triggered: Float[Tensor, "n d"], reference: Float[Tensor, "n d"]) -> Float[Tensor, ""]:
    """Compute `−mean_i cos(f(x'_i), stop_gradient(f(x_r,i)))`, what an optimised change makes small.

    Sun et al. (ICLR 2024), the outer objective.

    Example:
        >>> trigger_loss(torch.eye(2), torch.eye(2))
        tensor(-1.)
    """
    check_same_rows(triggered=triggered, reference=reference)
    return -(unit_rows(triggered) * unit_rows(reference.detach())).sum(dim=1).mean()
