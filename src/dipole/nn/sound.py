"""Sounds -> log-mel spectrograms -> features."""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.nn.encoders import ConvNet4

WINDOW, HOP = 0.025, 0.010  # seconds
FLOOR = 1e-6  # of the energies, about −60 dB of a full-scale sine


class LogMel(nn.Module):
    """The logarithm of a sound's energy in bands of equal width on the mel scale, in frames of 25 ms every 10 ms.

        log( Σ_f H_bf |STFT(x)_ft|² + 10⁻⁶ ),    mel(f) = 2595 log10(1 + f / 700)

    Args:
        rate: samples a second.
        bands: number of triangular filters H from 0 to half the rate.

    Raises:
        InputError: the rate is below 1000, or there is no band.

    Example:
        >>> LogMel(8000)(torch.zeros(2, 8000)).shape
        torch.Size([2, 40, 101])
    """

    window: Tensor
    filters: Tensor

    def __init__(self, rate: int, bands: int = 40) -> None:
        super().__init__()
        if rate < 1000 or bands < 1:
            raise InputError(f"a rate of {rate} and {bands} bands: expected 1000 or more samples a second, and a band.")
        self.hop = round(HOP * rate)
        length = round(WINDOW * rate)
        self.size = 1 << (length - 1).bit_length()
        self.register_buffer("window", torch.hann_window(length), persistent=False)
        self.register_buffer("filters", mel_filters(rate, self.size, bands), persistent=False)

    def forward(self, sounds: Float[Tensor, "n samples"]) -> Float[Tensor, "n bands frames"]:
        """Return (N, bands, frames)."""
        # Half precision has too little range for energies, and the transform does not know it.
        with torch.autocast(sounds.device.type, enabled=False):
            padded = nn.functional.pad(sounds.float(), (self.size // 2, self.size // 2))
            spectrum = torch.stft(
                padded, self.size, self.hop, len(self.window), self.window, center=False, return_complex=True
            )
            return (self.filters @ spectrum.abs().square() + FLOOR).log()


def mel_filters(rate: int, size: int, bands: int) -> Float[Tensor, "bands frequencies"]:
    """Compute triangular filters whose peaks are equally far apart on the mel scale.

    Args:
        rate: samples a second.
        size: of the Fourier transform.
        bands: number of filters.

    Example:
        >>> mel_filters(8000, 256, 10).shape
        torch.Size([10, 129])
    """
    top = 2595 * math.log10(1 + rate / 2 / 700)
    corners = 700 * (10 ** (torch.linspace(0, top, bands + 2, dtype=torch.float64) / 2595) - 1)
    frequencies = torch.linspace(0, rate / 2, size // 2 + 1, dtype=torch.float64)
    rising = (frequencies - corners[:-2, None]) / (corners[1:-1] - corners[:-2])[:, None]
    falling = (corners[2:, None] - frequencies) / (corners[2:] - corners[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp_min(0).float()


class SoundEncoder(nn.Module):
    """A log-mel spectrogram, each sound's own mean and scale taken out, through the small convolutional network.

    Args:
        rate: samples a second.
        width: channels of the first block, see `ConvNet4`.

    Example:
        >>> SoundEncoder(8000, width=4)(torch.rand(2, 4000)).shape
        torch.Size([2, 32])
    """

    def __init__(self, rate: int, width: int = 32) -> None:
        super().__init__()
        self.spectrogram = LogMel(rate)
        self.network = ConvNet4(width, channels=1)
        self.width = self.network.num_features

    def forward(self, sounds: Float[Tensor, "n samples"]) -> Float[Tensor, "n f"]:
        """Return features (N, F)."""
        levels = self.spectrogram(sounds)
        mean, std = levels.mean(dim=(1, 2), keepdim=True), levels.std(dim=(1, 2), keepdim=True)
        features: Tensor = self.network(((levels - mean) / (std + 1e-3))[:, None])
        return features


class SoundGRU(nn.Module):
    """A log-mel spectrogram through two strided convolutions along time and a recurrent network in both directions.

    Its features are the last states of both directions: unlike a mean over time they tell what came first.

    Args:
        rate: samples a second.
        width: of the states of each direction.

    Example:
        >>> SoundGRU(8000, width=4)(torch.rand(2, 4000)).shape
        torch.Size([2, 8])
    """

    def __init__(self, rate: int, width: int = 64) -> None:
        super().__init__()
        self.spectrogram = LogMel(rate)
        bands = len(self.spectrogram.filters)
        self.convolutions = nn.Sequential(
            nn.Conv1d(bands, width, 5, stride=2, padding=2),
            nn.ReLU(),
            nn.Conv1d(width, width, 5, stride=2, padding=2),
            nn.ReLU(),
        )
        self.recurrent = nn.GRU(width, width, batch_first=True, bidirectional=True)
        self.width = 2 * width

    def forward(self, sounds: Float[Tensor, "n samples"]) -> Float[Tensor, "n f"]:
        """Return features (N, F)."""
        levels = self.spectrogram(sounds)
        mean, std = levels.mean(dim=(1, 2), keepdim=True), levels.std(dim=(1, 2), keepdim=True)
        frames = self.convolutions((levels - mean) / (std + 1e-3)).mT
        last = self.recurrent(frames)[1]
        return last.transpose(0, 1).flatten(1)
