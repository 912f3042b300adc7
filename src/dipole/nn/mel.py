"""Log-mel spectrograms as pretrained sound encoders expect them: the conventions of CLAP and of Whisper."""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from dipole.errors import InputError
from dipole.ops.checks import check_choice

Scale = Literal["htk", "slaney"]
SMALLEST = 1e-10  # energy
LINEAR_TOP, LINEAR_STEP = 1000.0, 200 / 3  # Slaney's scale: linear up to 1 kHz, then logarithmic


class MelSpectrogram(nn.Module):
    """The logarithm of a sound's energy in mel bands.

        CLAP     10 log10 max(Σ_f H_bf |STFT(x)_ft|², 10⁻¹⁰)                       (N, frames, bands)
        Whisper  L = log10 max(Σ_f H_bf |STFT(x)_ft|², 10⁻¹⁰) without the last frame;
                 (max(L, max L − 8) + 4) / 4

    Frames are centred, a sound is mirrored at its ends, the window is a periodic Hann window of the length of the
    transform, filters H are triangles.

    Args:
        rate: samples a second.
        size: of the Fourier transform and of the window.
        hop: samples from frame to frame.
        bands: number of filters.
        lowest: frequency in Hz at which the first filter begins.
        highest: at which the last one ends; half the rate if None.
        scale: `"htk"`, 2595 log10(1 + f / 700), or `"slaney"`, linear up to 1 kHz.
        equal_area: scale filters to the same area (Slaney) rather than to the same height.
        convention: `"clap"` or `"whisper"`, see above.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> MelSpectrogram.clap()(torch.zeros(1, 48000)).shape, MelSpectrogram.whisper()(torch.zeros(1, 16000)).shape
        (torch.Size([1, 101, 64]), torch.Size([1, 100, 80]))
    """

    window: Tensor
    filters: Tensor

    def __init__(
        self,
        rate: int,
        *,
        size: int,
        hop: int,
        bands: int,
        lowest: float = 0.0,
        highest: float | None = None,
        scale: Scale = "htk",
        equal_area: bool = False,
        convention: Literal["clap", "whisper"] = "clap",
    ) -> None:
        super().__init__()
        check_choice(scale, ("htk", "slaney"), "scale")
        check_choice(convention, ("clap", "whisper"), "convention")
        top = rate / 2 if highest is None else highest
        if min(size, hop, bands) < 1 or not 0 <= lowest < top <= rate / 2:
            raise InputError(
                f"a spectrogram of size {size}, hop {hop}, {bands} bands from {lowest} to {top} Hz at {rate} samples a "
                "second: expected positive sizes and frequencies in ascending order up to half the rate."
            )
        self.size, self.hop, self.convention = size, hop, convention
        self.register_buffer("window", torch.hann_window(size, dtype=torch.float64), persistent=False)
        filters = mel_bank(rate, size, bands, lowest=lowest, highest=top, scale=scale, equal_area=equal_area)
        self.register_buffer("filters", filters, persistent=False)

    @classmethod
    def clap(
        cls, fusion: bool = False, bands: int = 64, lowest: float = 50, highest: float = 14000
    ) -> "MelSpectrogram":
        """Return CLAP's for HTSAT: 48 kHz, frames of 1024 every 480, 50 to 14 000 Hz.

        Args:
            fusion: of checkpoints with feature fusion: HTK scale, filters of the same height; of the others Slaney
                scale and area.
            bands: 64 in all published checkpoints.
            lowest: 50 Hz in all of them.
            highest: 14 kHz in all of them.
        """
        scale: Scale = "htk" if fusion else "slaney"
        return cls(48000, size=1024, hop=480, bands=bands, lowest=50, highest=14000, scale=scale, equal_area=not fusion)

    @classmethod
    def whisper(cls, bands: int = 80) -> "MelSpectrogram":
        """Return Whisper's: 16 kHz, frames of 400 every 160, 80 bands (128 of its third large model)."""
        return cls(16000, size=400, hop=160, bands=bands, scale="slaney", equal_area=True, convention="whisper")

    def forward(self, sounds: Float[Tensor, "n samples"]) -> Float[Tensor, "n frames bands"]:
        """Return (N, frames, bands).

        Raises:
            InputError: a sound is too short to be mirrored at its ends.
        """
        if sounds.shape[-1] <= self.size // 2:
            raise InputError(
                f"a sound of {sounds.shape[-1]} samples: expected more than {self.size // 2}; fill it with silence."
            )
        # Half precision has too little range for energies, and the transform does not know it.
        with torch.autocast(sounds.device.type, enabled=False):
            sounds = sounds.to(torch.promote_types(sounds.dtype, torch.float32))
            spectrum = torch.stft(
                sounds, self.size, self.hop, window=self.window.to(sounds.dtype), center=True, return_complex=True
            )
            energy = self.filters.to(sounds.dtype) @ spectrum.abs().square()
            levels = energy.clamp_min(SMALLEST).log10().mT
            if self.convention == "clap":
                return 10 * levels
            levels = levels[:, :-1]
            return (torch.maximum(levels, levels.amax(dim=(1, 2), keepdim=True) - 8) + 4) / 4


def mel_bank(
    rate: int, size: int, bands: int, *, lowest: float, highest: float, scale: Scale, equal_area: bool
) -> Float[Tensor, "bands frequencies"]:
    """Compute triangular filters whose corners are equally far apart on a mel scale, in float64.

    Args:
        rate: samples a second.
        size: of the Fourier transform.
        bands: number of filters.
        lowest: Hz at which the first begins.
        highest: Hz at which the last ends.
        scale: see `MelSpectrogram`.
        equal_area: divide each by half its width in Hz.

    Example:
        >>> mel_bank(8000, 256, 10, lowest=0, highest=4000, scale="htk", equal_area=False).shape
        torch.Size([10, 129])
    """
    first, last = (_to_mel(frequency, scale) for frequency in (lowest, highest))
    corners = _to_hertz(torch.linspace(first, last, bands + 2, dtype=torch.float64), scale)
    frequencies = torch.linspace(0, rate / 2, size // 2 + 1, dtype=torch.float64)
    rising = (frequencies - corners[:-2, None]) / (corners[1:-1] - corners[:-2])[:, None]
    falling = (corners[2:, None] - frequencies) / (corners[2:] - corners[1:-1])[:, None]
    filters = torch.minimum(rising, falling).clamp_min(0)
    return filters * (2 / (corners[2:] - corners[:-2]))[:, None] if equal_area else filters


def _to_mel(frequency: float, scale: Scale) -> float:
    """The place of a frequency in Hz on the mel scale."""
    if scale == "htk":
        return 2595 * math.log10(1 + frequency / 700)
    if frequency < LINEAR_TOP:
        return frequency / LINEAR_STEP
    return LINEAR_TOP / LINEAR_STEP + 27 * math.log(frequency / LINEAR_TOP) / math.log(6.4)


def _to_hertz(mel: Tensor, scale: Scale) -> Tensor:
    """The inverse of `_to_mel`."""
    if scale == "htk":
        return 700 * (10 ** (mel / 2595) - 1)
    corner = LINEAR_TOP / LINEAR_STEP
    return torch.where(mel < corner, mel * LINEAR_STEP, LINEAR_TOP * torch.exp((mel - corner) * math.log(6.4) / 27))


def mel_to_square(mel: Float[Tensor, "n c frames bands"], side: int = 256) -> Float[Tensor, "n c side side"]:
    """Fold a spectrogram into the square image that HTSAT looks at.

    Time is stretched to `side` · (side / bands) by bicubic interpolation with aligned corners, cut into side / bands
    pieces, and the pieces are stacked: row = piece · bands + band, column = time within the piece.

    Args:
        mel: (N, C, frames, bands), no longer than the stretched one.
        side: S, a multiple of the bands.

    Returns:
        (N, C, S, S).

    Raises:
        InputError: the side is no multiple of the bands, or there are more frames than fit.

    Example:
        >>> mel_to_square(torch.rand(1, 1, 1001, 64)).shape
        torch.Size([1, 1, 256, 256])
    """
    frames, bands = mel.shape[2:]
    if side % bands:
        raise InputError(f"side is {side}: expected a multiple of the {bands} bands.")
    pieces = side // bands
    if frames > side * pieces:
        raise InputError(f"{frames} frames do not fit into {side} x {side}: cut the sound to {side * pieces} frames.")
    if frames < side * pieces:
        mel = nn.functional.interpolate(mel, (side * pieces, bands), mode="bicubic", align_corners=True)
    # (N, C, pieces, side, bands) -> (N, C, pieces, bands, side)
    return mel.unflatten(2, (pieces, side)).mT.flatten(2, 3)
