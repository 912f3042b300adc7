"""One sound, in a file or in a table -> one row of samples, and the quick question whether that will work."""

import os
from collections.abc import Callable
from math import gcd
from typing import Any, Literal

import numpy as np
from jaxtyping import Float32, Shaped

from dipole.data.source import Source, open_source
from dipole.errors import InputError

EXTENSIONS = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".w64"})
ORDERS: dict[bytes, Literal["little", "big"]] = {b"RIFF": "little", b"FORM": "big"}  # of the bytes of their lengths
UNKNOWN_LENGTH = 2**31 - 256  # what programs that write to a pipe say is about 2³¹ or 2³²
_MISSING = "sounds need soundfile and scipy: pip install 'dipole[audio]'."


class UnreadableSoundError(Exception):
    """A file that is no sound, or a damaged one; the message is the reason without the path."""


def decode_sound(
    source: Source, rate: int, samples: int, start: float | Callable[[float], float] = 0.0
) -> Float32[np.ndarray, " samples"]:
    """Decode a part of a sound as one channel at `rate` samples a second, cut or filled with silence.

    Nothing before or behind the part is decoded, however long the file is. Channels are averaged. Another rate is
    changed by SciPy's polyphase filter.

    Args:
        source: a file that libsndfile reads: WAV, FLAC, Ogg, MP3 and others.
        rate: samples a second of the result.
        samples: of the result.
        start: where the part begins, in seconds; or a function that chooses it, given how many seconds of the file are
            left over, which is asked only if there are some.

    Raises:
        UnreadableSoundError: the file cannot be decoded.
        InputError: soundfile is not installed.
    """
    soundfile = _soundfile()
    try:
        with open_source(source) as file, soundfile.SoundFile(file) as sound:
            needed = -(-samples * sound.samplerate // rate) + 1
            if callable(start):
                left = (sound.frames - needed) / sound.samplerate
                start = start(left) if left > 0 else 0.0
            sound.seek(min(round(start * sound.samplerate), sound.frames))
            channels = sound.read(needed, dtype="float32", always_2d=True)
            found = sound.samplerate
    except (soundfile.SoundFileError, OSError, RuntimeError) as error:
        raise UnreadableSoundError(_reason(source, error)) from error
    if not len(channels) or not np.isfinite(channels).all():
        raise UnreadableSoundError("it holds no sample" if not len(channels) else "it holds values that are no number")
    return fit_sound(resampled(channels.mean(axis=1), found, rate), samples)


def sound_seconds(source: Source) -> float:
    """Return how long a sound is; reads its header.

    Raises:
        UnreadableSoundError: the file cannot be read.
        InputError: soundfile is not installed.
    """
    soundfile = _soundfile()
    try:
        with open_source(source) as file:
            return float(soundfile.info(file).duration)
    except (soundfile.SoundFileError, OSError, RuntimeError) as error:
        raise UnreadableSoundError(_reason(source, error)) from error


def check_sound_file(source: Source) -> str | None:
    """Say why a sound will not decode, or `None`; reads its header.

    A WAV or AIFF file whose header tells of more bytes than there are broke off in a download or a copy.

    Example:
        >>> from pathlib import Path
        >>> check_sound_file(Path("missing.wav"))
        'No such file or directory'
    """
    soundfile = _soundfile()
    try:
        with open_source(source) as file:
            if file.seek(0, os.SEEK_END) == 0:
                return "the file is empty"
            length = file.tell()
            file.seek(0)
            head = file.read(8)
            told = int.from_bytes(head[4:], ORDERS[head[:4]]) if head[:4] in ORDERS else 0
            if length < told < UNKNOWN_LENGTH:
                return f"the file is cut short: it has {length} of {told + 8} bytes"
            file.seek(0)
            return None if soundfile.info(file).frames else "it holds no sample"
    except (soundfile.SoundFileError, OSError, RuntimeError) as error:
        return _reason(source, error)


def resampled(sound: Float32[np.ndarray, " n"], rate: int, wanted: int) -> Float32[np.ndarray, " m"]:
    """Return a sound at another number of samples a second.

    Example:
        >>> len(resampled(np.zeros(80, np.float32), 8000, 16000))
        160
    """
    if rate == wanted:
        return sound
    from scipy.signal import resample_poly

    common = gcd(rate, wanted)
    return resample_poly(sound, wanted // common, rate // common).astype(np.float32)


def fit_sound(sound: Shaped[np.ndarray, " n"], samples: int) -> Float32[np.ndarray, " samples"]:
    """Cut a sound at its end, or fill it with silence.

    Example:
        >>> fit_sound(np.ones(2), 3)
        array([1., 1., 0.], dtype=float32)
    """
    result = np.zeros(samples, np.float32)
    kept = sound[:samples]
    result[: len(kept)] = kept
    return result


def _soundfile() -> Any:
    """The module soundfile."""
    try:
        import soundfile
    except (ImportError, OSError) as error:  # OSError: the library that it wraps is not there
        raise InputError(_MISSING) from error
    return soundfile


def _reason(source: Source, error: Exception) -> str:
    """What libsndfile or the file system says, without the path."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = str(getattr(error, "error_string", "") or error).splitlines()[0].rstrip(".")
    return text.replace(str(source), source.name) or type(error).__name__
