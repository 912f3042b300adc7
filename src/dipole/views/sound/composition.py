"""Two sounds as one: one after the other with fades, or over each other at equal loudness."""

import torch
from jaxtyping import Float
from torch import Tensor

from dipole.errors import InputError

PEAK = 0.5
FRAME, HOP = 2048, 1024  # samples of the frames whose loudness is measured
FLOOR = -80.0  # dB


def peak_normalised(sound: Float[Tensor, "n"], centred: bool = False) -> Float[Tensor, "n"]:
    """Scale a sound so that its largest sample is 1/2 in absolute value; silence stays.

    Args:
        sound: samples.
        centred: take out the mean before.

    Raises:
        InputError: the sound is empty or not finite.

    Example:
        >>> peak_normalised(torch.tensor([1.0, -4.0]))
        tensor([ 0.1250, -0.5000])
    """
    _check(sound)
    if centred:
        sound = sound - sound.mean()
        sound = sound / (sound.abs().max() + 1e-8) * PEAK
    peak = sound.abs().max()
    return sound / torch.where(peak > 0, peak, 1) * PEAK


def loudness(sound: Float[Tensor, "n"], rate: int) -> float:
    """Measure the loudest frame of a sound, in dB of A-weighted energy, −80 at least.

    Frames of 2048 samples every 1024, Hann window, power spectrum weighted by A(f); a shorter sound is one frame,
    filled with silence.

    Args:
        sound: samples.
        rate: samples a second.

    Raises:
        InputError: the sound is empty or not finite, or the rate is not positive.

    Example:
        >>> t = torch.arange(4096) / 16000
        >>> loudness(torch.sin(2 * torch.pi * 1000 * t), 16000) > loudness(torch.sin(2 * torch.pi * 50 * t), 16000)
        True
    """
    _check(sound)
    if rate < 1:
        raise InputError(f"rate is {rate}: expected samples a second, 1 or more.")
    if len(sound) < FRAME:
        sound = torch.nn.functional.pad(sound, (0, FRAME - len(sound)))
    window = torch.hann_window(FRAME, dtype=sound.dtype)
    power = torch.fft.rfft(sound.unfold(0, FRAME, HOP) * window).abs().square()
    weighted = (power * 10 ** (_a_weighting(rate).to(sound.dtype) / 10)).sum(dim=1)
    return float((10 * weighted.clamp_min(10 ** (FLOOR / 10)).log10()).max())


def _a_weighting(rate: int) -> Float[Tensor, "frequencies"]:
    """A(f) in dB of the frequencies of a frame, −80 at least."""
    square = torch.linspace(0, rate / 2, FRAME // 2 + 1, dtype=torch.float64).square()
    square[0] = 1
    rolled = sum(share * (square + corner**2).log10() for corner, share in _CORNERS)
    top = torch.tensor(12194.0, dtype=torch.float64).log10()
    return (2 + 20 * (2 * top + 2 * square.log10() - rolled)).clamp_min(FLOOR)


_CORNERS = ((12194.0, 1.0), (20.6, 1.0), (107.7, 0.5), (737.9, 0.5))  # Hz, power


def overlaid(x: Float[Tensor, "n"], y: Float[Tensor, "m"], rate: int, share: float = 0.5) -> Float[Tensor, "k"]:
    """Lay two sounds over each other, x with the share r of the loudness:

        t = 1 / (1 + 10^((G_x − G_y) / 20) (1 − r) / r),    (t x + (1 − t) y) / √(t² + (1 − t)²)

    with the loudnesses G, see `loudness`. Both are centred and scaled to a peak of 1/2 before. The shorter one is
    repeated as often as it fits into the longer one, which is cut to that length.

    Tokozume, Ushiku, Harada: *Learning from Between-class Examples for Deep Sound Recognition* (ICLR 2018).

    Args:
        x: samples.
        y: samples.
        rate: samples a second of both.
        share: r, above 0 and below 1.

    Raises:
        InputError: a sound is empty or not finite, or an argument is out of range.

    Example:
        >>> len(overlaid(torch.rand(5000), torch.rand(2000), 16000))
        4000
    """
    if not 0 < share < 1:
        raise InputError(f"share is {share}: expected a number between 0 and 1.")
    x, y = peak_normalised(x, centred=True), peak_normalised(y, centred=True)
    length = max(len(x), len(y)) // min(len(x), len(y)) * min(len(x), len(y))
    x, y = (sound.repeat(max(1, length // len(sound)))[:length] for sound in (x, y))
    ratio = 10 ** ((loudness(x, rate) - loudness(y, rate)) / 20) * (1 - share) / share
    of_x = 1 / (1 + ratio)
    return (x * of_x + y * (1 - of_x)) / (of_x**2 + (1 - of_x) ** 2) ** 0.5


def concatenated(x: Float[Tensor, "n"], y: Float[Tensor, "m"], fade: float = 0.1) -> Float[Tensor, "k"]:
    """Put one sound after the other, with a linear fade at the joint, and scale the peak to 1/2.

    The end of x fades out and the beginning of y fades in, over `fade` times the shorter one's length each, so that no
    click tells where the joint is. Nothing overlaps: the length is the sum of the lengths.

    Args:
        x: samples.
        y: samples.
        fade: share of the shorter sound, from 0 to 1.

    Raises:
        InputError: a sound is empty or not finite, or the share is out of range.

    Example:
        >>> concatenated(torch.ones(10), torch.ones(20), fade=0.3)[7:13]
        tensor([0.5000, 0.2500, 0.0000, 0.0000, 0.2500, 0.5000])
    """
    if not 0 <= fade <= 1:
        raise InputError(f"fade is {fade}: expected a share from 0 to 1.")
    _check(x)
    _check(y)
    faded = int(min(fade * len(x), fade * len(y)))
    ramp = torch.linspace(1, 0, faded, dtype=x.dtype)
    first = torch.cat([x[: len(x) - faded], x[len(x) - faded :] * ramp])
    second = torch.cat([y[:faded] * ramp.flip(0).to(y.dtype), y[faded:]])
    return peak_normalised(torch.cat([first, second.to(first.dtype)]))


def level(sound: Float[Tensor, "n"], rms: float = 0.1) -> Float[Tensor, "n"]:
    """Scale a sound to a root mean square, less where a sample would pass 1; silence stays.

    Args:
        sound: samples.
        rms: above 0.

    Raises:
        InputError: the sound is empty or not finite, or `rms` is not positive.

    Example:
        >>> level(torch.tensor([0.2, -0.2]))
        tensor([ 0.1000, -0.1000])
    """
    _check(sound)
    if not rms > 0:
        raise InputError(f"rms is {rms}: expected a number above 0.")
    strength = sound.square().mean().sqrt()
    scaled = sound * (rms / torch.where(strength > 0, strength, 1))
    return scaled / scaled.abs().max().clamp_min(1)


def _check(sound: Tensor) -> None:
    """Require finite samples of one channel."""
    if sound.ndim != 1 or not len(sound) or not sound.is_floating_point():
        raise InputError(
            f"a sound is {sound.dtype} {tuple(sound.shape)}: expected floating-point samples (n,) of one channel."
        )
    if not bool(sound.isfinite().all()):
        raise InputError("a sound holds values that are no number: read it anew.")
