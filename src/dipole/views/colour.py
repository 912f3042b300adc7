"""Colour operations on planes `(3, n, p)` of n images with p pixels, each image with its own parameters.

The formulas are those of torchvision, so results agree with it for the same parameters.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from dipole.views.parameters import HUE, ViewParameters

GREY_WEIGHTS = (0.2989, 0.587, 0.114)  # ITU-R BT.601, rounded as torchvision does


def grey(planes: Float[Tensor, "3 *p"]) -> Float[Tensor, "*p"]:
    """Luma of each pixel."""
    red, green, blue = planes
    return (red * GREY_WEIGHTS[0]).add_(green, alpha=GREY_WEIGHTS[1]).add_(blue, alpha=GREY_WEIGHTS[2])


def blend(
    planes: Float[Tensor, "3 n p"], own: Float[Tensor, " n"], luma: Float[Tensor, " n"], mean: Float[Tensor, " n"]
) -> Float[Tensor, "3 n p"]:
    """`clamp(own · x + luma · grey(x) + mean · average(grey(x)), 0, 1)`: brightness, contrast or saturation.

    A factor f of brightness is `(f, 0, 0)`, of contrast `(f, 0, 1 - f)`, of saturation `(f, 1 - f, 0)`. Overwrites
    `planes` where no gradient is recorded.
    """
    grey_planes = grey(planes)
    level = mean[:, None] * grey_planes.mean(1, keepdim=True)
    added = grey_planes.mul_(luma[:, None]).add_(level)
    if torch.is_grad_enabled() and planes.requires_grad:
        return torch.addcmul(added, planes, own[:, None]).clamp(0, 1)
    return torch.addcmul(added, planes, own[:, None], out=planes).clamp_(0, 1)


def shift_hue(planes: Float[Tensor, "3 n p"], shift: Float[Tensor, " n"]) -> Float[Tensor, "3 n p"]:
    """Turn each image around the colour circle of HSV, value and saturation staying as they are.

    Overwrites `planes` where no gradient is recorded.

    With M and m the largest and smallest of r, g, b, C = M - m and h in [-3, 3] the hue in sixths of a turn,
    `|h| = (C - m + g + b - r) / C` and h has the sign of g - b: one formula for all six sectors. The shifted
    colours are `M + C - C · clamp(| |h + c| - 3 |, 1, 2)`, where c is six times the shift plus 3, 1 and -1 for red,
    green and blue, brought into [-3, 3].

    Args:
        planes: red, green and blue in [0, 1].
        shift: of each image in turns, in [-0.5, 0.5].
    """
    red, green, blue = planes
    largest = torch.maximum(torch.maximum(green, blue), red)
    smallest = torch.minimum(torch.minimum(green, blue), red)
    chroma = largest - smallest
    hue = (chroma - smallest).add_(green).add_(blue).sub_(red)
    # Grey pixels have no hue: whatever comes out for them is multiplied by a chroma of zero.
    hue = torch.copysign(hue.div_(chroma.clamp(min=1e-12)), green - blue)
    base = torch.tensor([3.0, 1.0, -1.0], dtype=shift.dtype, device=shift.device)
    turn = base[:, None] + 6 * shift
    turn = turn - 6 * (turn / 6).round()
    distance = (hue + turn[:, :, None]).abs_().sub_(3).abs_().clamp_(1, 2)
    overwritten = None if torch.is_grad_enabled() and planes.requires_grad else planes
    return torch.addcmul(largest.add_(chroma), distance, chroma, value=-1, out=overwritten)


def solarized(planes: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Values of 0.5 and more inverted."""
    return torch.where(planes >= 0.5, 1 - planes, planes)


def blend_coefficients(parameters: ViewParameters) -> Float[Tensor, "3 3 n"]:
    """Coefficients (own, luma, mean) of the three blends, in the order in which each sample applies them."""
    one, zero = torch.ones_like(parameters.brightness), torch.zeros_like(parameters.brightness)
    brightness, contrast, saturation = parameters.brightness, parameters.contrast, parameters.saturation
    table = torch.stack(  # rows: brightness, contrast, saturation
        [
            torch.stack([brightness, zero, zero]),
            torch.stack([contrast, zero, one - contrast]),
            torch.stack([saturation, one - saturation, zero]),
        ]
    )
    operations = parameters.order[parameters.order != HUE].view(-1, 3)  # (n, 3)
    return table.gather(0, operations.t()[:, None, :].expand(3, 3, -1))


def hue_slots(order: Int[Tensor, "n 4"]) -> Int[Tensor, " n"]:
    """How many blends each sample applies before its hue is shifted, 0 to 3."""
    return (order == HUE).to(torch.uint8).argmax(1)
