"""Projection and prediction heads."""

from torch import nn

from dipole.errors import InputError


def mlp(width: int, hidden: int, out: int, layers: int = 2, *, final_norm: bool = False) -> nn.Sequential:
    """Build a projection head: `layers − 1` times linear, batch normalisation, ReLU, then a linear layer.

    One layer is a plain linear map (CACR's small networks), two are MoCo v2's head and, with `final_norm`, SimCLR's;
    three are MoCo v3's.

    Args:
        width: input features.
        hidden: features of the hidden layers.
        out: dimensions of the embedding.
        layers: 1 or more linear layers.
        final_norm: end with batch normalisation without an affine map, as the projectors of SimCLR and MoCo v3.

    Raises:
        InputError: a number of layers or features below 1.

    Example:
        >>> import torch
        >>> mlp(8, 16, 4)(torch.zeros(2, 8)).shape
        torch.Size([2, 4])
    """
    if layers < 1:
        raise InputError(f"a projector of {layers} layers: expected 1 or more.")
    if min(width, hidden, out) < 1:
        raise InputError(f"a projector from {width} over {hidden} to {out} features: expected 1 or more of each.")
    parts: list[nn.Module] = []
    for _ in range(layers - 1):
        parts += [nn.Linear(width, hidden, bias=False), nn.BatchNorm1d(hidden), nn.ReLU(inplace=True)]
        width = hidden
    parts.append(nn.Linear(width, out, bias=not final_norm))
    if final_norm:
        parts.append(nn.BatchNorm1d(out, affine=False))
    return nn.Sequential(*parts)
