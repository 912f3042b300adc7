"""CLP: channels that react too strongly to a change of the image are switched off; no data are needed."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.ops.checks import check_at_least


@dataclass(frozen=True)
class PrunedLayer:
    """A batch normalisation and what was switched off in it.

    Attributes:
        name: of the module.
        lipschitz: (C,) bound of each channel.
        pruned: channels that were switched off.
    """

    name: str
    lipschitz: Tensor
    pruned: Tensor


def channel_lipschitz(convolution: nn.Conv2d, norm: nn.BatchNorm2d) -> Float[Tensor, "c"]:
    """Compute `σ_c = ‖W_c‖₂ |γ_c / √var_c|`, W_c the filter of a channel as a matrix (inputs, height · width).

    Zheng et al.: *Data-free Backdoor Removal based on Channel Lipschitzness* (ECCV 2022).

    Example:
        >>> channel_lipschitz(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2)).shape
        torch.Size([2])
    """
    matrices = convolution.weight.detach().flatten(2)
    assert norm.running_var is not None
    return torch.linalg.matrix_norm(matrices, ord=2) * (norm.weight.detach() / norm.running_var.sqrt()).abs()


@torch.no_grad()
def prune_channels(model: nn.Module, threshold: float = 3.0) -> list[PrunedLayer]:
    """Switch off channels whose σ_c is above `mean + u · deviation` of their layer: γ_c = β_c = 0. Changes the model.

    A batch normalisation belongs to the last convolution before it in the order of the modules.

    Args:
        model: of convolutions with batch normalisation.
        threshold: u; 3 in the paper.

    Raises:
        InputError: there is no convolution with a batch normalisation behind it.

    Example:
        >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4))
        >>> [len(layer.pruned) for layer in prune_channels(model)]
        [0]
    """
    check_at_least(threshold, 0, "threshold")
    layers, convolution = [], None
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            convolution = module
        if not isinstance(module, nn.BatchNorm2d) or convolution is None or not module.affine:
            continue
        if convolution.out_channels != module.num_features or module.running_var is None:
            continue
        bound = channel_lipschitz(convolution, module)
        high = bound > bound.mean() + threshold * bound.std() if len(bound) > 1 else torch.zeros_like(bound).bool()
        module.weight[high] = 0
        module.bias[high] = 0
        layers.append(PrunedLayer(name, bound, high.nonzero().flatten()))
    if not layers:
        raise InputError("the encoder has no convolution with batch normalisation behind it: CLP is not applicable.")
    return layers
