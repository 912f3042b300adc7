"""The neck and the head of a detector by names: a pyramid from one map, and embeddings of regions (DITO)."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dipole.errors import InputError

EPSILON = 1e-6
SHORTEST = 1e-12  # added to squared lengths


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of a map (N, C, H, W).

    Example:
        >>> ChannelNorm(3)(torch.ones(1, 3, 2, 2)).abs().max().item()
        0.0
    """

    def __init__(self, channels: int) -> None:
        super().__init__(channels, EPSILON)

    def forward(self, feature: Float[Tensor, "n c h w"]) -> Float[Tensor, "n c h w"]:
        """Return the normalised map."""
        return super().forward(feature.movedim(1, -1)).movedim(-1, 1)


class SimpleFeaturePyramid(nn.Module):
    """Levels of a pyramid from one map of a vision transformer, as ViTDet makes them; no convolution has a bias.

        level l − 2: up by 2, norm, GELU, up by 2   level l − 1: up by 2   level l: the map   level l + 1: max-pool
        each: 1 × 1 convolution, norm, 3 × 3 convolution, norm; further levels are every second pixel of the last

    Args:
        in_channels: C of the map.
        channels: of every level.
        input_level: l, the map's stride is 2ˡ.
        levels: which to make, from l − 2 on.

    Raises:
        InputError: a level is more than two below the map's.

    Example:
        >>> pyramid = SimpleFeaturePyramid(8, 4, input_level=4)
        >>> {level: tuple(feature.shape[2:]) for level, feature in pyramid(torch.zeros(1, 8, 6, 8)).items()}
        {2: (24, 32), 3: (12, 16), 4: (6, 8), 5: (3, 4)}
    """

    def __init__(
        self, in_channels: int, channels: int = 256, *, input_level: int = 4, levels: tuple[int, ...] = (2, 3, 4, 5)
    ) -> None:
        super().__init__()
        if not levels or min(levels) < input_level - 2:
            raise InputError(f"levels are {levels}: expected {input_level - 2} or more, two below that of the map.")
        self.levels, self.input_level = tuple(sorted(levels)), input_level
        self.scaled, self.convolved = nn.ModuleDict(), nn.ModuleDict()
        for level in self.levels:
            if level <= input_level + 1:
                scale, width = self._scale(in_channels, level - input_level)
                self.scaled[str(level)] = scale
                self.convolved[str(level)] = nn.Sequential(
                    nn.Conv2d(width, channels, 1, bias=False),
                    ChannelNorm(channels),
                    nn.Conv2d(channels, channels, 3, padding=1, bias=False),
                    ChannelNorm(channels),
                )

    @staticmethod
    def _scale(width: int, steps: int) -> tuple[nn.Module, int]:
        """What brings the map to another level, and how many channels it leaves."""
        if steps == 0:
            return nn.Identity(), width
        if steps == 1:
            return nn.MaxPool2d(2), width
        half = nn.ConvTranspose2d(width, width // 2, 2, stride=2, bias=False)
        if steps == -1:
            return half, width // 2
        quarter = nn.ConvTranspose2d(width // 2, width // 4, 2, stride=2, bias=False)
        return nn.Sequential(half, ChannelNorm(width // 2), nn.GELU(), quarter), width // 4

    def forward(self, feature: Float[Tensor, "n c h w"]) -> dict[int, Tensor]:
        """Return maps (N, channels, H_l, W_l) by level."""
        found: dict[int, Tensor] = {}
        for level in self.levels:
            key = str(level)
            made = key in self.scaled
            found[level] = self.convolved[key](self.scaled[key](feature)) if made else found[level - 1][..., ::2, ::2]
        return found


class NormalizedLinear(nn.Module):
    """`s · x̂ ŵ`: rows of the input and the weights of every output are of unit length; no bias.

    Args:
        in_features: of the input.
        out_features: of the result.
        scale: s.

    Example:
        >>> layer = NormalizedLinear(2, 2)
        >>> _ = layer.weight.data.copy_(3 * torch.eye(2))
        >>> layer(torch.tensor([[5.0, 0.0]])).tolist()
        [[20.0, 0.0]]
    """

    def __init__(self, in_features: int, out_features: int, scale: float = 20.0) -> None:
        super().__init__()
        self.scale = scale
        self.weight = nn.Parameter(torch.randn(out_features, in_features) * 0.01)

    def forward(self, inputs: Float[Tensor, "*n d"]) -> Float[Tensor, "*n e"]:
        """Return (…, out_features)."""

        def unit(x: Tensor) -> Tensor:
            return x * (x.square().sum(dim=-1, keepdim=True) + SHORTEST).rsqrt()

        return self.scale * unit(inputs) @ unit(self.weight).T


class RegionHead(nn.Module):
    """Embeddings and box corrections of crops: convolutions, one hidden layer, two outputs.

    Args:
        channels: of the crops.
        embedding_dim: D, that of the texts.
        size: cells of a crop a side.
        convolutions: of 3 × 3, with norm and ReLU.
        convolution_channels: of each of them.
        hidden: width of the hidden layer.

    Example:
        >>> head = RegionHead(4, 8, size=3, convolutions=1, convolution_channels=4, hidden=16)
        >>> embeddings, codes = head(torch.zeros(2, 5, 4, 3, 3))
        >>> embeddings.shape, codes.shape
        (torch.Size([2, 5, 8]), torch.Size([2, 5, 4]))
    """

    def __init__(
        self,
        channels: int,
        embedding_dim: int,
        *,
        size: int = 7,
        convolutions: int = 4,
        convolution_channels: int = 256,
        hidden: int = 1024,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(convolutions):
            layers += [
                nn.Conv2d(channels, convolution_channels, 3, padding=1, bias=False),
                ChannelNorm(convolution_channels),
                nn.ReLU(),
            ]
            channels = convolution_channels
        layers += [nn.Flatten(), nn.Linear(channels * size**2, hidden), nn.LayerNorm(hidden, EPSILON), nn.ReLU()]
        self.body = nn.Sequential(*layers)
        self.embedding, self.codes = NormalizedLinear(hidden, embedding_dim), nn.Linear(hidden, 4)

    def forward(self, crops: Float[Tensor, "*b c s s"]) -> tuple[Any, Any]:
        """Return embeddings (…, D) and codes of boxes (…, 4), see `dipole.ops.decode_boxes`."""
        hidden = self.body(crops.flatten(0, -4)).unflatten(0, crops.shape[:-3])
        return self.embedding(hidden), self.codes(hidden)
