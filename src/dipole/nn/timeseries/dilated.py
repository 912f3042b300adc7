"""The dilated convolution encoder of TS2Vec with the causal multi-scale layer of CoST."""

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.losses.common import accumulate
from dipole.ops.checks import check_at_least

Features = Literal["trend", "convolutions"]
LONGEST_DIRECT = 16  # taps


class DilatedBlock(nn.Module):
    """`y = conv(gelu(conv(gelu(x)))) + shortcut(x)`, with kernels of three taps that lie `dilation` steps apart.

    Args:
        inputs: channels of x.
        outputs: channels of y.
        dilation: of both convolutions.
        project: whether the shortcut is a convolution of one tap even if the widths are equal.

    Example:
        >>> DilatedBlock(2, 4, dilation=2)(torch.zeros(1, 2, 7)).shape
        torch.Size([1, 4, 7])
    """

    def __init__(self, inputs: int, outputs: int, *, dilation: int, project: bool = False) -> None:
        super().__init__()
        self.conv1 = nn.Conv1d(inputs, outputs, 3, padding=dilation, dilation=dilation)
        self.conv2 = nn.Conv1d(outputs, outputs, 3, padding=dilation, dilation=dilation)
        self.shortcut = nn.Conv1d(inputs, outputs, 1) if project or inputs != outputs else nn.Identity()

    def forward(self, x: Float[Tensor, "n c t"]) -> Float[Tensor, "n d t"]:
        """Return y."""
        return self.conv2(F.gelu(self.conv1(F.gelu(x)))) + self.shortcut(x)


class DilatedConvEncoder(nn.Module):
    """Represent every step of a time series by convolutions whose dilation doubles from block to block.

        h = input(x), 0 at missing steps;   block i = 0 … depth: dilation 2^i, the last one to D features
        z_t = mean over kernels k of a causal convolution of k taps            ("trend")

    A step is missing if one of its channels is NaN. The blocks look 2 (2^(depth + 1) − 1) steps back and as many ahead;
    only the last layer is causal.

    Yue et al.: *TS2Vec* (AAAI 2022); Woo et al.: *CoST* (ICLR 2022); as in Zheng et al.: *Parametric Augmentation for
    Time Series Contrastive Learning* (ICLR 2024).

    Args:
        channels: C.
        hidden: width of the blocks.
        depth: number of blocks before the last one.
        features: D.
        kernels: k of the last layer.

    Raises:
        InputError: a size is below 1, or there is no kernel.

    Example:
        >>> encoder = DilatedConvEncoder(1, hidden=8, depth=2, features=16, kernels=(1, 2, 4))
        >>> encoder(torch.zeros(3, 50, 1)).shape
        torch.Size([3, 50, 16])
    """

    def __init__(
        self,
        channels: int,
        *,
        hidden: int = 64,
        depth: int = 10,
        features: int = 320,
        kernels: Sequence[int] = (1, 2, 4, 8, 16, 32, 64, 128),
    ) -> None:
        super().__init__()
        sizes = {"channels": channels, "hidden": hidden, "depth": depth, "features": features}
        for name, size in sizes.items():
            check_at_least(size, 1, name)
        if not kernels or min(kernels) < 1:
            raise InputError(f"kernels are {list(kernels)}: expected one or more numbers of taps, e.g. 1, 2, 4.")
        self.channels, self.features = channels, features
        self.input = nn.Linear(channels, hidden)
        self.blocks = nn.Sequential(
            *(DilatedBlock(hidden, hidden, dilation=2**i) for i in range(depth)),
            DilatedBlock(hidden, features, dilation=2**depth, project=True),
        )
        self.trend = nn.ModuleList(nn.Conv1d(features, features, taps) for taps in kernels)

    @property
    def reach(self) -> int:
        """Steps on either side that the blocks look at."""
        return 2 * (2 ** len(self.blocks) - 1)

    def forward(
        self, x: Float[Tensor, "n t c"], *, output: Features = "trend", last: bool = False
    ) -> Float[Tensor, "n s d"]:
        """Return the representation of every step.

        Args:
            x: (N, T, C), NaN where a value is missing.
            output: of the last layer, or of the blocks before it.
            last: of the last step alone, (N, 1, D).

        Raises:
            InputError: another rank or number of channels.
        """
        if x.ndim != 3 or x.shape[2] != self.channels:
            raise InputError(f"x has shape {tuple(x.shape)}: expected (N, T, {self.channels}).")
        missing = x.isnan().any(dim=2, keepdim=True)
        hidden = self.input(x.masked_fill(missing, 0)).masked_fill(missing, 0)
        hidden = self.blocks(hidden.transpose(1, 2))
        if output == "trend":
            hidden = self._trend(hidden, last)
        return (hidden[:, :, -1:] if last else hidden).transpose(1, 2)

    def _trend(self, hidden: Float[Tensor, "n d t"], last: bool) -> Float[Tensor, "n d s"]:
        """The mean of causal convolutions is one with the mean of their filters, aligned at the last tap."""
        layers = [layer for layer in self.trend if isinstance(layer, nn.Conv1d)]
        taps = max(layer.kernel_size[0] for layer in layers)
        weight = torch.stack([F.pad(layer.weight, (taps - layer.kernel_size[0], 0)) for layer in layers]).mean(dim=0)
        bias = torch.stack([layer.bias for layer in layers if layer.bias is not None]).mean(dim=0)
        if last:
            return F.conv1d(F.pad(hidden[:, :, -taps:], (max(0, taps - hidden.shape[2]), 0)), weight, bias)
        return causal_convolution(hidden, weight) + bias[:, None]


def causal_convolution(x: Float[Tensor, "n c t"], weight: Float[Tensor, "d c k"]) -> Float[Tensor, "n d t"]:
    """Compute `y_t = Σ_i weight_i x_{t − k + 1 + i}`, with zeros before the beginning.

    Long filters are applied to the spectrum, at a cost that hardly grows with their length.

    Args:
        x: (N, C, T).
        weight: (D, C, K), the last tap for the present step.

    Example:
        >>> causal_convolution(torch.tensor([[[1.0, 2.0, 3.0]]]), torch.tensor([[[10.0, 1.0]]]))
        tensor([[[ 1., 12., 23.]]])
    """
    steps = x.shape[2]
    weight = weight[:, :, -steps:]
    taps = weight.shape[2]
    if taps <= LONGEST_DIRECT:
        return F.conv1d(F.pad(x, (taps - 1, 0)), weight)
    from scipy.fft import next_fast_len

    with torch.autocast(x.device.type, enabled=False):
        x, weight = accumulate(x), accumulate(weight)
        length = next_fast_len(steps + taps - 1, real=True)
        spectrum = torch.fft.rfft(x, length).permute(2, 0, 1)
        response = torch.fft.rfft(weight.flip(2), length).permute(2, 1, 0)
        return torch.fft.irfft((spectrum @ response).permute(1, 2, 0), length)[:, :, :steps]
