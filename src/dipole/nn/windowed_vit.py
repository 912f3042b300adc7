"""A vision transformer with window attention, run a second time on shifted windows (DITO)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dipole.errors import InputError

EPSILON = 1e-6


def window_partition(tokens: Float[Tensor, "b h w d"], windows: int) -> Float[Tensor, "m t d"]:
    """Split a grid of tokens into `windows × windows` parts, (windows² · B, tokens of a window, D).

    The first window of every image comes first, as in the authors' code.

    Raises:
        InputError: the sides do not divide.

    Example:
        >>> window_partition(torch.zeros(2, 8, 8, 3), 4).shape
        torch.Size([32, 4, 3])
    """
    batch, height, width, dim = tokens.shape
    if windows < 1 or height % windows or width % windows:
        raise InputError(f"{height} × {width} tokens are not divided into {windows} windows a side: choose a divisor.")
    parts = tokens.view(batch, windows, height // windows, windows, width // windows, dim)
    return parts.permute(1, 3, 0, 2, 4, 5).reshape(windows**2 * batch, -1, dim)


def window_merge(parts: Float[Tensor, "m t d"], windows: int, height: int, width: int) -> Float[Tensor, "b h w d"]:
    """Put the windows of `window_partition` together.

    Example:
        >>> tokens = torch.randn(2, 4, 8, 3)
        >>> bool((window_merge(window_partition(tokens, 2), 2, 4, 8) == tokens).all())
        True
    """
    grid = parts.view(windows, windows, -1, height // windows, width // windows, parts.shape[-1])
    return grid.permute(2, 0, 3, 1, 4, 5).reshape(-1, height, width, parts.shape[-1])


class WindowBlock(nn.Module):
    """A transformer block, normalised first, that attends within windows, or everywhere.

    Args:
        dim: D.
        heads: of the attention.
        windows: a side; None for attention to all tokens.
        ratio: of the hidden width to D.

    Example:
        >>> WindowBlock(8, 2, windows=2)(torch.zeros(1, 4, 4, 8)).shape
        torch.Size([1, 4, 4, 8])
    """

    def __init__(self, dim: int, heads: int, windows: int | None = None, ratio: int = 4) -> None:
        super().__init__()
        if dim % heads:
            raise InputError(f"{dim} numbers do not divide into {heads} heads.")
        self.heads, self.windows = heads, windows
        self.attention_norm, self.hidden_norm = nn.LayerNorm(dim, EPSILON), nn.LayerNorm(dim, EPSILON)
        self.query, self.key, self.value, self.out = (nn.Linear(dim, dim) for _ in range(4))
        self.hidden = nn.Sequential(nn.Linear(dim, ratio * dim), nn.GELU("tanh"), nn.Linear(ratio * dim, dim))

    def forward(self, tokens: Float[Tensor, "b h w d"]) -> Float[Tensor, "b h w d"]:
        """Return tokens (B, H, W, D)."""
        height, width = tokens.shape[1:3]
        count = self.windows or 1
        rows = window_partition(self.attention_norm(tokens), count)
        heads = [
            part(rows).unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        ]
        attended = F.scaled_dot_product_attention(*heads).transpose(1, 2).flatten(-2)
        tokens = tokens + window_merge(self.out(attended), count, height, width)
        return tokens + self.hidden(self.hidden_norm(tokens))


class ShiftedWindowViT(nn.Module):
    """A vision transformer with window attention; with a shift, the mean of two passes (shifted-window learning).

        1. patches ← convolution of the image
        2. x₁ ← blocks(patches + positions)
        3. x₂ ← unroll(blocks(roll(patches) + positions)), rolled by (−s, +s) tokens
        4. LayerNorm((x₁ + x₂) / 2)

    In the second pass content lies elsewhere in the windows, and in relation to the positions; tokens that wrap around
    do attend. There is no class token. Where the image has another size than the positions, those are interpolated.

    Kim, Angelova, Kuo: *Region-centric Image-Language Pretraining for Open-Vocabulary Detection* (ECCV 2024), sec. 3.

    Args:
        dim: D.
        heads: of the attention.
        windows: of each block a side, None for attention to all tokens; as many blocks as entries.
        patch_size: pixels of a patch.
        grid: tokens a side that the learned positions are for.
        shift: s tokens; 0 for one pass.
        channels: of the image.

    Example:
        >>> vit = ShiftedWindowViT(8, 2, windows=[2, None], patch_size=4, grid=4, shift=1)
        >>> vit(torch.zeros(1, 3, 16, 16)).shape
        torch.Size([1, 8, 4, 4])
    """

    def __init__(
        self,
        dim: int = 64,
        heads: int = 4,
        *,
        windows: Sequence[int | None] = (2, None, 2, None),
        patch_size: int = 4,
        grid: int = 8,
        shift: int = 0,
        channels: int = 3,
    ) -> None:
        super().__init__()
        if shift < 0:
            raise InputError(f"shift is {shift}: expected 0 tokens or more; half a window is usual.")
        self.dim, self.shift, self.grid, self.patch_size = dim, shift, grid, patch_size
        self.patches = nn.Conv2d(channels, dim, patch_size, stride=patch_size)
        self.positions = nn.Parameter(torch.randn(grid * grid, dim) * 0.02)
        self.blocks = nn.Sequential(*(WindowBlock(dim, heads, number) for number in windows))
        self.norm = nn.LayerNorm(dim, EPSILON)

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d y x"]:
        """Return a map (B, D, H / patch, W / patch)."""
        return self.encode(self.patches(images).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)

    def feature_map(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d y x"]:
        """Return the map of images in [0, 1]."""
        found: Tensor = ShiftedWindowViT.forward(self, 2 * images - 1)
        return found

    def encode(self, patches: Float[Tensor, "b h w d"]) -> Float[Tensor, "b h w d"]:
        """Return tokens of patches, after the mean of the passes and the last normalisation."""
        tokens = self.passed(patches)
        if self.shift:
            tokens = (tokens + self.passed(patches, self.shift)) / 2
        found: Tensor = self.norm(tokens)
        return found

    def passed(self, patches: Float[Tensor, "b h w d"], shift: int = 0) -> Float[Tensor, "b h w d"]:
        """Return tokens of one pass, before the last normalisation."""
        rolled = patches.roll((-shift, shift), dims=(1, 2))
        tokens: Tensor = self.blocks(rolled + self._positions(patches))
        return tokens.roll((shift, -shift), dims=(1, 2))

    def _positions(self, patches: Tensor) -> Tensor:
        """Positions of a grid of tokens."""
        height, width = patches.shape[1:3]
        square = self.positions.unflatten(0, (self.grid, self.grid))
        if (height, width) == (self.grid, self.grid):
            return square
        return F.interpolate(
            square.permute(2, 0, 1)[None], (height, width), mode="bilinear", antialias=False, align_corners=False
        )[0].permute(1, 2, 0)


class WindowedImageEncoder(ShiftedWindowViT):
    """Features of images in [0, 1]: the mean over the map of a `ShiftedWindowViT`, whose arguments it takes.

    Example:
        >>> WindowedImageEncoder(8, 2, windows=[None], patch_size=4, grid=2)(torch.zeros(1, 3, 8, 8)).shape
        torch.Size([1, 8])
    """

    @property
    def width(self) -> int:
        """Features of an image."""
        return self.dim

    def forward(self, images: Float[Tensor, "b c h w"]) -> Float[Tensor, "b d"]:
        """Return features (B, D)."""
        return self.feature_map(images).mean(dim=(2, 3))
